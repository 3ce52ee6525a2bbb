//! The end of both encoders: 1 x 1 convolution, norm, 3 x 3 convolution, norm, down to the decoder's width.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use crate::nn::{Conv2d, Conv2dConfig, LayerNorm, Linear};

#[derive(Debug, Clone)]
pub(super) struct Neck {
    /// A 1 x 1 convolution.
    reduce: Linear,
    norm1: LayerNorm,
    mix: Conv2d,
    norm2: LayerNorm,
    grid: usize,
}

impl Neck {
    const EPS: f64 = 1e-6;

    pub(super) fn load(width: usize, out: usize, grid: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let reduce = vb.get((out, width, 1, 1), "conv1.weight")?;
        let same = Conv2dConfig {
            padding: 1,
            ..Conv2dConfig::default()
        };
        Ok(Self {
            reduce: Linear::new(reduce.reshape((out, width))?, None),
            norm1: LayerNorm::load(out, Self::EPS, vb.pp("layer_norm1"))?,
            mix: Conv2d::load(out, out, 3, same, false, vb.pp("conv2"))?,
            norm2: LayerNorm::load(out, Self::EPS, vb.pp("layer_norm2"))?,
            grid,
        })
    }

    /// (B, grid * grid, width) to (B, grid * grid, out).
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.norm1.forward(&self.reduce.forward(x)?)?;
        self.norm2
            .forward(&to_tokens(&self.mix.forward(&to_map(&x, self.grid)?)?)?)
    }
}

/// (B, grid * grid, C) as (B, C, grid, grid), without a copy.
pub(super) fn to_map(x: &Tensor, grid: usize) -> Result<Tensor> {
    let (b, _, c) = x.dims3()?;
    x.reshape((b, grid, grid, c))?.permute((0, 3, 1, 2))
}

/// (B, C, h, w) as (B, h * w, C), without a copy where the memory already lies so.
pub(super) fn to_tokens(x: &Tensor) -> Result<Tensor> {
    let (b, c, h, w) = x.dims4()?;
    x.permute((0, 2, 3, 1))?.reshape((b, h * w, c))
}
