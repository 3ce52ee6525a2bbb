//! What the CUDA side of several ops shares.
//!
//! `compose` puts ops together of candle's; with feature `cuda`, `launch` runs the kernels of `cu/`, and `epilogue` is the
//! one that follows every product.

pub(crate) mod compose;
#[cfg(feature = "cuda")]
mod epilogue;
#[cfg(feature = "cuda")]
pub(crate) mod launch;
