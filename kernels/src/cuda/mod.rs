//! What the CUDA side of several ops shares.
//!
//! `compose` puts ops together of candle's; with feature `cuda`, `launch` runs the kernels of `cu/`, `arguments` are structures
//! that some take by value, and `epilogue` is the one that follows every product.

#[cfg(feature = "cuda")]
pub(crate) mod arguments;
pub(crate) mod compose;
#[cfg(feature = "cuda")]
mod epilogue;
#[cfg(feature = "cuda")]
pub(crate) mod launch;
