//! Layer norms with two-pass f32 statistics and biased variance, as in PyTorch.

use candle_core::{D, DType, Module, Result, Tensor};
use candle_nn::VarBuilder;
use dragunov_kernels as kernels;

/// `(x - mean) / sqrt(var + eps) * weight + bias` over the last dimension.
#[derive(Debug, Clone)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

/// Reads `weight` (n) and `bias` (n).
pub fn layer_norm(n: usize, eps: f64, vb: VarBuilder<'_>) -> Result<LayerNorm> {
    Ok(LayerNorm::new(vb.get(n, "weight")?, vb.get(n, "bias")?, eps))
}

impl LayerNorm {
    pub fn new(weight: Tensor, bias: Tensor, eps: f64) -> Self {
        Self { weight, bias, eps }
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() {
            return kernels::layer_norm(x, &self.weight, &self.bias, self.eps);
        }
        let f = x.to_dtype(DType::F32)?;
        let centred = f.broadcast_sub(&f.mean_keepdim(D::Minus1)?)?;
        let var = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let unit = centred.broadcast_div(&(var + self.eps)?.sqrt()?)?;
        let w = self.weight.to_dtype(DType::F32)?;
        let b = self.bias.to_dtype(DType::F32)?;
        unit.broadcast_mul(&w)?.broadcast_add(&b)?.to_dtype(x.dtype())
    }
}

/// [`LayerNorm`] over the channels of a (B, C, H, W) tensor, each pixel on its own.
#[derive(Debug, Clone)]
pub struct LayerNorm2d(LayerNorm);

/// Reads `weight` (channels) and `bias` (channels).
pub fn layer_norm2d(channels: usize, eps: f64, vb: VarBuilder<'_>) -> Result<LayerNorm2d> {
    Ok(LayerNorm2d(layer_norm(channels, eps, vb)?))
}

impl LayerNorm2d {
    pub fn new(weight: Tensor, bias: Tensor, eps: f64) -> Self {
        Self(LayerNorm::new(weight, bias, eps))
    }
}

impl Module for LayerNorm2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.0.forward(&x.permute((0, 2, 3, 1))?)?.permute((0, 3, 1, 2))
    }
}

/// `x / sqrt(mean(x^2) + eps)`, cast back to the type of `x`, then times `weight` (the order of Qwen2).
#[derive(Debug, Clone)]
pub struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

/// Reads `weight` (n).
pub fn rms_norm(n: usize, eps: f64, vb: VarBuilder<'_>) -> Result<RmsNorm> {
    Ok(RmsNorm::new(vb.get(n, "weight")?, eps))
}

impl RmsNorm {
    pub fn new(weight: Tensor, eps: f64) -> Self {
        Self { weight, eps }
    }
}

impl Module for RmsNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() {
            return kernels::rms_norm(x, &self.weight, self.eps);
        }
        let f = x.to_dtype(DType::F32)?;
        let mean_sq = f.sqr()?.mean_keepdim(D::Minus1)?;
        let unit = f.broadcast_div(&(mean_sq + self.eps)?.sqrt()?)?;
        unit.to_dtype(x.dtype())?.broadcast_mul(&self.weight)
    }
}
