//! Element-wise activations.

use candle_core::{Result, Tensor};

/// `x * Phi(x)` with the exact normal distribution, `torch.nn.GELU()`; any shape.
///
/// Not candle's `Tensor::gelu`, which is the tanh approximation and up to 5e-4 away.
pub fn gelu_erf(x: &Tensor) -> Result<Tensor> {
    x.gelu_erf()
}
