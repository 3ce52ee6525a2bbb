//! Layers shared by the three models. Each picks its kernel by device in one place.
//!
//! Names and weight layouts are PyTorch's, so that checkpoints load without renaming. Everything keeps its batch
//! dimension and works in f32 and bf16; statistics and softmax are computed in f32 whatever the tensor's type.
//! Image features are (B, C, H, W) by their dimensions; what a layer returns may be a strided view that lies in
//! memory as (B, H, W, C). Pass it on as it is: `contiguous()` would only copy it.

mod activation;
mod attention;
mod channels_last;
mod conv;
mod linear;
mod norm;
mod resize;
#[cfg(test)]
mod tests;

pub use activation::{Activation, activate, add, gelu_erf, relu, silu_mul};
pub use attention::{AttentionMask, attention};
pub use conv::{Conv2d, Conv2dConfig, ConvTranspose2d, conv_transpose2d, conv2d};
pub use linear::{Linear, linear};
pub use norm::{LayerNorm, LayerNorm2d, RmsNorm, layer_norm, layer_norm2d, rms_norm};
pub use resize::upsample_bilinear;
