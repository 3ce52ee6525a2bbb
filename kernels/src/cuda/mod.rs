//! What the CUDA side of several ops shares.
//!
//! `compose` puts ops together of candle's; with feature `cuda`, `launch` runs the kernels of `cu/`, `arguments` are structures
//! that some take by value, `epilogue` is the one that follows every product, and `implicit` the product of convolutions.

#[cfg(feature = "cuda")]
pub(crate) mod arguments;
pub(crate) mod compose;
#[cfg(feature = "cuda")]
mod epilogue;
#[cfg(feature = "cuda")]
pub(crate) mod implicit;
#[cfg(feature = "cuda")]
pub(crate) mod launch;
