//! 2-D convolutions on (B, C, H, W).
//!
//! On the CPU they run on (B, H, W, C) and hand on a view of that (see [`super::channels_last`]); a contiguous
//! (B, C, H, W) input, an image for instance, is reordered once.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;
use dragunov_kernels as kernels;

use super::activation::{Activation, activate};
use super::channels_last;

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

/// How the weight is kept, by device and grouping.
#[derive(Debug, Clone)]
enum Weight {
    /// (out, in / groups, kh, kw), for candle's own convolution.
    Plain(Tensor),
    /// (out, kh, kw, in)
    ChannelsLast(Tensor),
    /// (kh, kw, channels)
    Depthwise(Tensor),
}

impl Weight {
    fn arrange(weight: &Tensor, groups: usize) -> Result<Self> {
        let (out, per_group, kh, kw) = weight.dims4()?;
        Ok(match (weight.device().is_cpu(), groups) {
            (true, 1) => Self::ChannelsLast(weight.permute((0, 2, 3, 1))?.contiguous()?),
            (true, groups) if groups == out && per_group == 1 => {
                let taps = weight.reshape((out, kh, kw))?;
                Self::Depthwise(taps.permute((1, 2, 0))?.contiguous()?)
            }
            _ => Self::Plain(weight.clone()),
        })
    }
}

/// Cross-correlation with zero padding: (B, in, H, W) to (B, out, H', W').
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Weight,
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
    Ok(Conv2d::new(weight, bias, config))
}

impl Conv2d {
    /// `weight` (out, in / groups, kh, kw) and `bias` (out).
    pub fn new(weight: Tensor, bias: Option<Tensor>, config: Conv2dConfig) -> Self {
        // A weight of another rank stays as it is, and is refused by `forward`.
        let weight = Weight::arrange(&weight, config.groups).unwrap_or(Weight::Plain(weight));
        Self { weight, bias, config }
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
        let Conv2dConfig {
            stride,
            padding,
            groups,
        } = self.config;
        let after = || -> Result<kernels::After> {
            Ok(kernels::After {
                bias: self.bias.clone(),
                activation,
                residual: residual.map(channels_last::convert).transpose()?,
            })
        };
        let y = match &self.weight {
            Weight::ChannelsLast(w) => {
                kernels::conv2d(&channels_last::convert(x)?, w, stride, padding, after()?)?
            }
            Weight::Depthwise(w) => {
                kernels::depthwise(&channels_last::convert(x)?, w, stride, padding, after()?)?
            }
            Weight::Plain(w) => {
                let y = if groups > 1 && w.dim(0)? == groups && w.dim(1)? == 1 {
                    depthwise_by_taps(x, w, stride, padding)?
                } else {
                    x.contiguous()?.conv2d(w, padding, stride, 1, groups)?
                };
                let y = match &self.bias {
                    Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?)?,
                    None => y,
                };
                let y = activate(&y, activation)?;
                return match residual {
                    Some(residual) => residual + y,
                    None => Ok(y),
                };
            }
        };
        channels_last::restore(&y)
    }
}

/// A depthwise convolution out of element-wise ops, one tap of the kernel after the other: candle's own runs one
/// product per channel.
pub(super) fn depthwise_by_taps(
    x: &Tensor,
    weight: &Tensor,
    stride: usize,
    padding: usize,
) -> Result<Tensor> {
    let (_, c, h, w) = x.dims4()?;
    let (out, _, kh, kw) = weight.dims4()?;
    let along = |size: usize, kernel: usize| {
        (size + 2 * padding)
            .checked_sub(kernel)
            .map(|room| room / stride + 1)
    };
    let (Some(oh), Some(ow), true) = (along(h, kh), along(w, kw), out == c) else {
        candle_core::bail!(
            "conv2d: input {:?} against a depthwise weight {:?}",
            x.shape(),
            weight.shape()
        )
    };
    // Zeros behind the last window too, so that every tap's rows and columns are whole strides.
    let after =
        |out: usize, kernel: usize, size: usize| (out * stride + kernel - 1).saturating_sub(size + padding);
    let x = x
        .contiguous()?
        .pad_with_zeros(2, padding, after(oh, kh, h))?
        .pad_with_zeros(3, padding, after(ow, kw, w))?;
    let mut sum: Option<Tensor> = None;
    for i in 0..kh {
        let rows = every(&x.narrow(2, i, oh * stride)?, 2, stride)?;
        for j in 0..kw {
            let seen = every(&rows.narrow(3, j, ow * stride)?, 3, stride)?;
            let tap = weight.narrow(2, i, 1)?.narrow(3, j, 1)?.reshape((1, c, 1, 1))?;
            let term = seen.broadcast_mul(&tap)?;
            sum = Some(match sum {
                Some(sum) => (sum + term)?,
                None => term,
            });
        }
    }
    sum.ok_or_else(|| candle_core::Error::Msg("conv2d: an empty kernel".into()))
}

/// Every `stride`-th element along `dim`, whose length is a multiple of it.
fn every(x: &Tensor, dim: usize, stride: usize) -> Result<Tensor> {
    if stride == 1 {
        return Ok(x.clone());
    }
    let mut shape = x.dims().to_vec();
    shape[dim] /= stride;
    shape.insert(dim + 1, stride);
    x.reshape(shape)?.narrow(dim + 1, 0, 1)?.squeeze(dim + 1)
}

impl Module for Conv2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fused(x, Activation::Identity, None)
    }
}

/// Transposed convolution whose stride equals its kernel: (B, in, H, W) to (B, out, H kh, W kw).
///
/// No two input pixels touch the same output pixel, so it is one matrix product and a pixel shuffle.
#[derive(Debug, Clone)]
pub struct ConvTranspose2d {
    /// (kh, kw, out, in)
    weight: Tensor,
    bias: Option<Tensor>,
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
        let weight = weight.permute((2, 3, 1, 0))?.contiguous()?;
        Ok(Self { weight, bias })
    }

    /// `f(conv(x) + bias)`.
    pub fn forward_activated(&self, x: &Tensor, f: Activation) -> Result<Tensor> {
        if x.device().is_cpu() {
            let after = kernels::After {
                bias: self.bias.clone(),
                activation: f,
                residual: None,
            };
            let y = kernels::conv_transpose2d(&channels_last::convert(x)?, &self.weight, after)?;
            return channels_last::restore(&y);
        }
        let (b, c_in, h, w) = x.dims4()?;
        let (kh, kw, c_out, _) = self.weight.dims4()?;
        let rows = x.permute((0, 2, 3, 1))?.reshape((b * h * w, c_in))?;
        let weight = self.weight.reshape((kh * kw * c_out, c_in))?;
        let y = rows.matmul(&weight.t()?)?.reshape((b, h, w, kh, kw, c_out))?;
        let y = y
            .permute((0, 5, 1, 3, 2, 4))?
            .reshape((b, c_out, h * kh, w * kw))?;
        let y = match &self.bias {
            Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?)?,
            None => y,
        };
        activate(&y, f)
    }
}

impl Module for ConvTranspose2d {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_activated(x, Activation::Identity)
    }
}
