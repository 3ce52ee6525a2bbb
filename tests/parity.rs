//! Every stage of every model against its reference implementation (golden tensors of `fixtures/generate`).
#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub, dead_code)]

#[path = "parity/compare.rs"]
mod compare;
#[path = "parity/depth.rs"]
mod depth;
#[path = "parity/qwen.rs"]
mod qwen;
#[path = "parity/resample.rs"]
mod resample;
