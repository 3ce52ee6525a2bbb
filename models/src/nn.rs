//! Layers shared by the three models: weights and the kernels that read them.
//!
//! Names and weight layouts are PyTorch's, so that checkpoints load without renaming. Everything keeps its batch
//! dimension and works in f32 and bf16; statistics and softmax are computed in f32 whatever the tensor's type.
//! Image features are (B, C, H, W) by their dimensions; what a layer returns may be a strided view that lies in
//! memory as (B, H, W, C). Pass it on as it is: `contiguous()` would only copy it.
//!
//! Which kernel computes on which device is the kernels' business ([`dragunov_kernels`]).

mod conv;
mod linear;
mod norm;
mod pieces;

use candle_core::{Result, Tensor};
use dragunov_kernels as kernels;
pub use dragunov_kernels::{
    Activation, AttentionMask, CachedSequence, GatedWeight, Products, Segments, activation, add, attention,
    attention_ragged, attention_ragged_behind, join_rows, linear_gated, relative_positions, rotary,
    take_rows, with_tf32,
};

pub use conv::{Conv2d, Conv2dConfig, ConvTranspose2d};
pub use linear::{Linear, load_gated};
pub use norm::{LayerNorm, RmsNorm};
pub use pieces::{in_pieces, in_strips};

/// `x * Phi(x)` with the exact normal distribution, `torch.nn.GELU()`; any shape.
///
/// Not candle's `Tensor::gelu`, which is the tanh approximation and up to 5e-4 away.
pub fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    activation(x, Activation::Gelu)
}

/// `max(x, 0)`; any shape.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    activation(x, Activation::Relu)
}

/// `torch.nn.functional.interpolate(x, (h, w), mode="bilinear")` without antialiasing: (B, C, H, W) to (B, C, h, w).
///
/// # Errors
/// Sizes of 0.
pub fn upsample_bilinear(x: &Tensor, h: usize, w: usize, align_corners: bool) -> Result<Tensor> {
    let x = x.permute((0, 2, 3, 1))?;
    kernels::upsample_bilinear(&x, h, w, align_corners)?.permute((0, 3, 1, 2))
}
