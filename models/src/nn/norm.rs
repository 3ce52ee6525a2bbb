//! Norms over the last dimension with two-pass f32 statistics and biased variance, as in PyTorch.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use dragunov_kernels as kernels;

/// `(x - mean) / sqrt(var + eps) * weight + bias`.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Reads `weight` (n) and `bias` (n).
    ///
    /// # Errors
    /// Missing and mis-shaped tensors.
    pub fn load(n: usize, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self::new(vb.get(n, "weight")?, vb.get(n, "bias")?, eps))
    }

    /// `weight` (n) and `bias` (n).
    pub fn new(weight: Tensor, bias: Tensor, eps: f64) -> Self {
        Self { weight, bias, eps }
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

/// `x / sqrt(mean(x^2) + eps)`, cast back to the type of `x`, then times `weight` (the order of Qwen2).
#[derive(Debug, Clone)]
pub struct RmsNorm {
    pub(super) weight: Tensor,
    pub(super) eps: f64,
}

impl RmsNorm {
    /// Reads `weight` (n).
    ///
    /// # Errors
    /// Missing and mis-shaped tensors.
    pub fn load(n: usize, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            weight: vb.get(n, "weight")?,
            eps,
        })
    }
}

impl Module for RmsNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        kernels::rms_norm(x, &self.weight, self.eps)
    }
}
