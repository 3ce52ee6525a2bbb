//! What the CPU kernels share.

pub(crate) mod block;
pub(crate) mod disjoint;
pub(crate) mod element;
pub(crate) mod matmul;
pub(crate) mod memory;
pub(crate) mod packed;
pub(crate) mod panels;
pub(crate) mod parallel;
pub(crate) mod prefetch;
pub(crate) mod scratch;
pub(crate) mod simd;
pub(crate) mod storage;
pub(crate) mod strided;
pub(crate) mod tiles;
mod transpose;
pub(crate) mod view;
