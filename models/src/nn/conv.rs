//! 2-D convolutions on (B, C, H, W). What they return may be a view that lies in memory as (B, H, W, C).

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use dragunov_kernels::{self as kernels, ConvWeight, Epilogue};

use super::Activation;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Conv2dConfig {
    pub stride: usize,
    pub padding: usize,
    pub groups: usize,
}

impl Default for Conv2dConfig {
    fn default() -> Self {
        Self {
            stride: 1,
            padding: 0,
            groups: 1,
        }
    }
}

/// Cross-correlation with zero padding: (B, in, H, W) to (B, out, H', W').
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: ConvWeight,
    bias: Option<Tensor>,
    config: Conv2dConfig,
}

impl Conv2d {
    /// Reads `weight` (out, in / groups, k, k) and, if `bias`, `bias` (out).
    ///
    /// # Errors
    /// Missing and mis-shaped tensors, channels that the groups do not divide, a stride of 0.
    pub fn load(
        in_channels: usize,
        out_channels: usize,
        kernel: usize,
        config: Conv2dConfig,
        bias: bool,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        if config.groups == 0 || !in_channels.is_multiple_of(config.groups) {
            candle_core::bail!("conv2d: {in_channels} channels cannot be convolved with {config:?}")
        }
        let shape = (out_channels, in_channels / config.groups, kernel, kernel);
        let weight = vb.get(shape, "weight")?;
        let bias = bias.then(|| vb.get(out_channels, "bias")).transpose()?;
        Self::new(&weight, bias, config)
    }

    /// `weight` (out, in / groups, kh, kw) and `bias` (out).
    ///
    /// # Errors
    /// A weight of another rank, channels that the groups do not divide, a stride of 0.
    pub fn new(weight: &Tensor, bias: Option<Tensor>, config: Conv2dConfig) -> Result<Self> {
        if config.stride == 0 {
            candle_core::bail!("conv2d: a stride of 0")
        }
        let weight = ConvWeight::new(weight, config.groups)?;
        Ok(Self { weight, bias, config })
    }

    /// `f(conv(x) + bias)`.
    pub fn forward_activated(&self, x: &Tensor, f: Activation) -> Result<Tensor> {
        self.fused(x, f, None)
    }

    /// `residual + conv(x) + bias`.
    pub fn forward_onto(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.fused(x, Activation::Identity, Some(residual))
    }

    fn fused(&self, x: &Tensor, activation: Activation, residual: Option<&Tensor>) -> Result<Tensor> {
        let pixels = |t: &Tensor| t.permute((0, 2, 3, 1));
        let epilogue = Epilogue {
            bias: self.bias.clone(),
            activation,
            residual: residual.map(pixels).transpose()?,
        };
        let Conv2dConfig { stride, padding, .. } = self.config;
        kernels::conv2d(&pixels(x)?, &self.weight, stride, padding, epilogue)?.permute((0, 3, 1, 2))
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fused(x, Activation::Identity, None)
    }
}

/// A transposed convolution whose stride is its kernel, without padding: (B, in, H, W) to (B, out, H kh, W kw).
#[derive(Debug, Clone)]
pub struct ConvTranspose2d {
    /// (kh, kw, out, in)
    weight: Tensor,
    bias: Option<Tensor>,
}

impl ConvTranspose2d {
    /// Reads `weight` (in, out, k, k) and `bias` (out); the stride is `kernel`.
    ///
    /// # Errors
    /// Missing and mis-shaped tensors.
    pub fn load(in_channels: usize, out_channels: usize, kernel: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get((in_channels, out_channels, kernel, kernel), "weight")?;
        Self::new(&weight, Some(vb.get(out_channels, "bias")?))
    }

    /// `weight` (in, out, kh, kw) and `bias` (out); the stride is (kh, kw).
    ///
    /// # Errors
    /// A weight of another rank.
    pub fn new(weight: &Tensor, bias: Option<Tensor>) -> Result<Self> {
        let weight = weight.permute((2, 3, 1, 0))?.contiguous()?;
        Ok(Self { weight, bias })
    }

    /// `f(conv(x) + bias)`.
    pub fn forward_activated(&self, x: &Tensor, f: Activation) -> Result<Tensor> {
        let x = x.permute((0, 2, 3, 1))?;
        kernels::conv_transpose2d(&x, &self.weight, self.bias.as_ref(), f)?.permute((0, 3, 1, 2))
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_activated(x, Activation::Identity)
    }
}
