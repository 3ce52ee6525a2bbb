//! Every stage of every model against its reference implementation (golden tensors of `fixtures/generate`).
#![allow(clippy::unwrap_used, clippy::print_stdout)]

#[path = "parity/compare.rs"]
mod compare;
#[path = "parity/resample.rs"]
mod resample;
