//! What the CUDA side of several ops shares.
//!
//! No op has a CUDA kernel of its own yet; each is composed of candle's ops in its `cuda.rs`. Loading and launching
//! compiled kernels belongs here once the first one exists (README, "Adding a CUDA kernel").

pub(crate) mod compose;
