//! Every stage of every model against its reference implementation (golden tensors of `fixtures/generate`).
#![allow(clippy::unwrap_used, clippy::print_stdout, unreachable_pub, dead_code)]

#[path = "parity/checkpoints.rs"]
mod checkpoints;
#[path = "parity/compare.rs"]
mod compare;
#[path = "parity/depth.rs"]
mod depth;
#[path = "parity/depth_layouts.rs"]
mod depth_layouts;
#[path = "parity/golden.rs"]
mod golden;
#[path = "parity/graphs.rs"]
mod graphs;
#[path = "parity/jpeg.rs"]
mod jpeg;
#[path = "parity/products.rs"]
mod products;
#[path = "parity/qwen.rs"]
mod qwen;
#[path = "parity/resample.rs"]
mod resample;
#[path = "parity/sam.rs"]
mod sam;
#[path = "parity/sam_amg.rs"]
mod sam_amg;
#[path = "parity/sam_cli.rs"]
mod sam_cli;
#[path = "parity/sam_layouts.rs"]
mod sam_layouts;
#[path = "parity/sam_refusals.rs"]
mod sam_refusals;
#[path = "parity/torch_files.rs"]
mod torch_files;
