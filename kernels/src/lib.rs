//! CPU kernels for dragunov's models as candle custom ops: one op, one file, its plain reference in `reference`.
//!
//! Element types f32, bf16 and f16; arithmetic is always f32. Ops take CPU tensors only: `dragunov-models::nn`
//! chooses between them and candle's own ops by device, in one place.

mod activation;
mod after;
mod attention;
mod block;
mod conv;
mod depthwise;
mod linear;
mod matmul;
mod norm;
mod panels;
mod parallel;
pub mod reference;
mod scratch;
mod shared;
mod simd;
mod storage;
mod transpose;
mod transposed;
mod upsample;

pub use activation::{Activation, activation, add, silu_mul};
pub use after::After;
pub use attention::{Mask, attention};
pub use conv::conv2d;
pub use depthwise::depthwise;
pub use linear::linear;
pub use norm::{layer_norm, rms_norm};
pub use transposed::conv_transpose2d;
pub use upsample::{to_channels_last, upsample_bilinear};
