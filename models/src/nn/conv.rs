//! 2-D convolutions on (B, C, H, W).

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

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
    weight: Tensor,
    bias: Option<Tensor>,
    config: Conv2dConfig,
}

/// Reads `weight` (out, in / groups, k, k) and, if `bias`, `bias` (out).
pub fn conv2d(
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    config: Conv2dConfig,
    bias: bool,
    vb: VarBuilder<'_>,
) -> Result<Conv2d> {
    if config.stride == 0 || config.groups == 0 || !in_channels.is_multiple_of(config.groups) {
        candle_core::bail!("conv2d: {in_channels} channels cannot be convolved with {config:?}")
    }
    let shape = (out_channels, in_channels / config.groups, kernel, kernel);
    let weight = vb.get(shape, "weight")?;
    let bias = if bias {
        Some(vb.get(out_channels, "bias")?)
    } else {
        None
    };
    Ok(Conv2d { weight, bias, config })
}

impl Conv2d {
    /// `weight` (out, in / groups, kh, kw) and `bias` (out).
    pub fn new(weight: Tensor, bias: Option<Tensor>, config: Conv2dConfig) -> Self {
        Self { weight, bias, config }
    }
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Conv2dConfig {
            stride,
            padding,
            groups,
        } = self.config;
        let y = x.contiguous()?.conv2d(&self.weight, padding, stride, 1, groups)?;
        match &self.bias {
            Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
            None => Ok(y),
        }
    }
}

/// Transposed convolution whose stride equals its kernel: (B, in, H, W) to (B, out, H kh, W kw).
///
/// No two input pixels touch the same output pixel, so it is one matrix product and a pixel shuffle.
#[derive(Debug, Clone)]
pub struct ConvTranspose2d {
    /// (in, out kh kw)
    weight: Tensor,
    bias: Option<Tensor>,
    kernel: (usize, usize),
}

/// Reads `weight` (in, out, k, k) and `bias` (out); the stride is `kernel`.
pub fn conv_transpose2d(
    in_channels: usize,
    out_channels: usize,
    kernel: usize,
    vb: VarBuilder<'_>,
) -> Result<ConvTranspose2d> {
    let weight = vb.get((in_channels, out_channels, kernel, kernel), "weight")?;
    ConvTranspose2d::new(weight, Some(vb.get(out_channels, "bias")?))
}

impl ConvTranspose2d {
    /// `weight` (in, out, kh, kw) and `bias` (out); the stride is (kh, kw).
    pub fn new(weight: Tensor, bias: Option<Tensor>) -> Result<Self> {
        let (c_in, c_out, kh, kw) = weight.dims4()?;
        let weight = weight.reshape((c_in, c_out * kh * kw))?;
        Ok(Self {
            weight,
            bias,
            kernel: (kh, kw),
        })
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (b, c_in, h, w) = x.dims4()?;
        let (kh, kw) = self.kernel;
        let c_out = self.weight.dim(1)? / (kh * kw).max(1);
        let rows = x.permute((0, 2, 3, 1))?.reshape((b * h * w, c_in))?;
        let y = rows.matmul(&self.weight)?.reshape((b, h, w, c_out, kh, kw))?;
        let y = y
            .permute((0, 3, 1, 4, 2, 5))?
            .reshape((b, c_out, h * kh, w * kw))?;
        match &self.bias {
            Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
            None => Ok(y),
        }
    }
}
