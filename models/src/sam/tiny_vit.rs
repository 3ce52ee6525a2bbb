//! MobileSAM's image encoder: TinyViT without its last downsampling (arXiv 2306.14289, arXiv 2207.10666).
//!
//! Batch norms are folded into their convolutions when the weights are read.

use candle_core::{DType, Module, Result as Candle, Tensor};
use candle_nn::VarBuilder;

use super::config::TinyVitConfig;
use super::neck::{Neck, to_map, to_tokens};
use super::window::{Windows, with_zero_row};
use crate::Result;
use crate::nn::{self, AttentionMask, Conv2d, Conv2dConfig, LayerNorm, Linear};
use crate::observer::{Observer, Stage};

const GELU: nn::Activation = nn::Activation::Gelu;

#[derive(Debug, Clone)]
pub(super) struct TinyVit {
    stem: [Conv2d; 2],
    levels: Vec<Level>,
    neck: Neck,
}

#[derive(Debug, Clone)]
struct Level {
    blocks: Blocks,
    merge: Option<Merge>,
}

#[derive(Debug, Clone)]
enum Blocks {
    Convolutional(Vec<Inverted>),
    Attentive(Vec<Block>),
}

impl TinyVit {
    pub(super) fn load(config: &TinyVitConfig, vb: VarBuilder<'_>) -> Candle<Self> {
        let first = config.embed_dims[0];
        let seq = vb.pp("patch_embed.seq");
        let halving = Conv2dConfig {
            stride: 2,
            padding: 1,
            groups: 1,
        };
        let levels = (0..config.depths.len())
            .map(|i| Level::load(config, i, vb.pp("layers").pp(i)))
            .collect::<Candle<_>>()?;
        let last = config.embed_dims[config.embed_dims.len() - 1];
        let grid = config.grid(config.depths.len());
        Ok(Self {
            stem: [
                conv_norm(3, first / 2, 3, halving, seq.pp(0))?,
                conv_norm(first / 2, first, 3, halving, seq.pp(2))?,
            ],
            levels,
            neck: Neck::load(last, config.output_channels, grid, vb.pp("neck"))?,
        })
    }

    /// (B, 3, side, side) to (B, N, output channels).
    pub(super) fn forward(&self, pixels: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let x = self.stem[0].forward_activated(pixels, GELU)?;
        let mut x = self.stem[1].forward(&x)?;
        let mut tokens = to_tokens(&x)?;
        for (i, level) in self.levels.iter().enumerate() {
            x = level.forward(&x)?;
            tokens = observer.stage(Stage::nth("vision.stage", i), to_tokens(&x)?)?;
        }
        observer.stage(Stage::of("vision.embedding"), self.neck.forward(&tokens)?)
    }
}

impl Level {
    fn load(config: &TinyVitConfig, i: usize, vb: VarBuilder<'_>) -> Candle<Self> {
        let width = config.embed_dims[i];
        let blocks = vb.pp("blocks");
        let blocks = if i == 0 {
            let hidden = (width as f64 * config.mbconv_expand_ratio) as usize;
            let load = |j| Inverted::load(width, hidden, blocks.pp(j));
            Blocks::Convolutional((0..config.depths[i]).map(load).collect::<Candle<_>>()?)
        } else {
            let load = |j| Block::load(config, i, blocks.pp(j));
            Blocks::Attentive((0..config.depths[i]).map(load).collect::<Candle<_>>()?)
        };
        let merge = match config.merge_strides.get(i) {
            Some(&stride) => {
                let out = config.embed_dims[i + 1];
                Some(Merge::load(width, out, stride, vb.pp("downsample"))?)
            }
            None => None,
        };
        Ok(Self { blocks, merge })
    }

    fn forward(&self, x: &Tensor) -> Candle<Tensor> {
        let mut x = x.clone();
        match &self.blocks {
            Blocks::Convolutional(blocks) => {
                for block in blocks {
                    x = block.forward(&x)?;
                }
            }
            Blocks::Attentive(blocks) => {
                for block in blocks {
                    x = block.forward(&x)?;
                }
            }
        }
        match &self.merge {
            Some(merge) => merge.forward(&x),
            None => Ok(x),
        }
    }
}

/// Reads `c.weight` and the batch norm `bn.*` behind it as one convolution with bias.
fn conv_norm(
    from: usize,
    to: usize,
    kernel: usize,
    config: Conv2dConfig,
    vb: VarBuilder<'_>,
) -> Candle<Conv2d> {
    const EPS: f64 = 1e-5;
    // folded in f32 whatever the model computes in
    let (dtype, vb) = (vb.dtype(), vb.to_dtype(DType::F32));
    let weight = vb.get((to, from / config.groups, kernel, kernel), "c.weight")?;
    let norm = vb.pp("bn");
    let deviation = (norm.get(to, "running_var")? + EPS)?.sqrt()?;
    let scale = norm.get(to, "weight")?.div(&deviation)?;
    let shift = norm.get(to, "running_mean")?.mul(&scale)?;
    let bias = norm.get(to, "bias")?.sub(&shift)?;
    let weight = weight.broadcast_mul(&scale.reshape((to, 1, 1, 1))?)?;
    Conv2d::new(&weight.to_dtype(dtype)?, Some(bias.to_dtype(dtype)?), config)
}

/// A 3 x 3 convolution of each channel on its own, keeping the size at stride 1.
fn depthwise(width: usize, stride: usize, vb: VarBuilder<'_>) -> Candle<Conv2d> {
    let config = Conv2dConfig {
        stride,
        padding: 1,
        groups: width,
    };
    conv_norm(width, width, 3, config, vb)
}

fn pointwise(from: usize, to: usize, vb: VarBuilder<'_>) -> Candle<Conv2d> {
    conv_norm(from, to, 1, Conv2dConfig::default(), vb)
}

/// MobileNetV2's inverted bottleneck; the activation comes after the residual sum.
#[derive(Debug, Clone)]
struct Inverted {
    expand: Conv2d,
    spatial: Conv2d,
    project: Conv2d,
}

impl Inverted {
    fn load(width: usize, hidden: usize, vb: VarBuilder<'_>) -> Candle<Self> {
        Ok(Self {
            expand: pointwise(width, hidden, vb.pp("conv1"))?,
            spatial: depthwise(hidden, 1, vb.pp("conv2"))?,
            project: pointwise(hidden, width, vb.pp("conv3"))?,
        })
    }

    fn forward(&self, x: &Tensor) -> Candle<Tensor> {
        nn::in_strips(x, 1, GELU, |x, rows| {
            let y = self.expand.forward_activated(x, GELU)?;
            let y = self.spatial.forward_activated(&y, GELU)?;
            let inside = |t: &Tensor| t.narrow(2, rows.start, rows.len());
            self.project.forward_onto(&inside(&y)?, &inside(x)?)
        })
    }
}

/// Between stages: to the next width, and to half the side where the stride is 2.
#[derive(Debug, Clone)]
struct Merge {
    widen: Conv2d,
    spatial: Conv2d,
    mix: Conv2d,
    stride: usize,
}

impl Merge {
    fn load(from: usize, to: usize, stride: usize, vb: VarBuilder<'_>) -> Candle<Self> {
        Ok(Self {
            widen: pointwise(from, to, vb.pp("conv1"))?,
            spatial: depthwise(to, stride, vb.pp("conv2"))?,
            mix: pointwise(to, to, vb.pp("conv3"))?,
            stride,
        })
    }

    fn forward(&self, x: &Tensor) -> Candle<Tensor> {
        nn::in_strips(x, self.stride, nn::Activation::Identity, |x, rows| {
            let y = self.widen.forward_activated(x, GELU)?;
            let y = self.spatial.forward_activated(&y, GELU)?;
            self.mix.forward(&y.narrow(2, rows.start, rows.len())?)
        })
    }
}

/// Windowed attention, a depthwise convolution without residual, MLP.
#[derive(Debug, Clone)]
struct Block {
    norm: LayerNorm,
    qkv: Linear,
    proj: Linear,
    heads: usize,
    /// (1, heads, side * side, side * side)
    bias: Tensor,
    windows: Windows,
    grid: usize,
    local: Conv2d,
    mlp_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    /// Between them.
    hidden: usize,
}

impl Block {
    fn load(config: &TinyVitConfig, stage: usize, vb: VarBuilder<'_>) -> Candle<Self> {
        let (width, heads) = (config.embed_dims[stage], config.num_heads[stage]);
        let (side, eps) = (config.window_sizes[stage], config.layer_norm_eps);
        let grid = config.grid(stage);
        let hidden = (width as f64 * config.mlp_ratio) as usize;
        let (attn, mlp) = (vb.pp("attn"), vb.pp("mlp"));
        let offsets = attn.get((heads, side * side), "attention_biases")?;
        Ok(Self {
            norm: LayerNorm::load(width, eps, attn.pp("norm"))?,
            qkv: Linear::load(width, 3 * width, true, attn.pp("qkv"))?,
            proj: Linear::load(width, width, true, attn.pp("proj"))?,
            heads,
            bias: biases_by_distance(&offsets, side)?,
            windows: Windows::new(grid, side),
            grid,
            local: depthwise(width, 1, vb.pp("local_conv"))?,
            mlp_norm: LayerNorm::load(width, eps, mlp.pp("norm"))?,
            fc1: Linear::load(width, hidden, true, mlp.pp("fc1"))?,
            fc2: Linear::load(hidden, width, true, mlp.pp("fc2"))?,
            hidden,
        })
    }

    /// (B, C, grid, grid) to the same shape.
    fn forward(&self, x: &Tensor) -> Candle<Tensor> {
        let x = to_tokens(x)?;
        let x = self.proj.forward_onto(&self.attend(&x)?, &x)?;
        let x = to_tokens(&self.local.forward(&to_map(&x, self.grid)?)?)?;
        let x = nn::in_pieces(&x, self.hidden, |x| {
            let hidden = self.fc1.forward_activated(&self.mlp_norm.forward(x)?, GELU)?;
            self.fc2.forward_onto(&hidden, x)
        })?;
        to_map(&x, self.grid)
    }

    /// Before the output projection. Padding enters before the norm here, so that padding tokens carry the norm's bias.
    fn attend(&self, x: &Tensor) -> Candle<Tensor> {
        let normed = self.norm.forward(&with_zero_row(x)?)?;
        let qkv = self.windows.split(&self.qkv.forward(&normed)?)?;
        let (b, n, c3) = qkv.dims3()?;
        let head_dim = c3 / 3 / self.heads;
        // per head: query, key, value
        let qkv = qkv.reshape((b, n, self.heads, 3, head_dim))?;
        let part = |i: usize| qkv.narrow(3, i, 1)?.squeeze(3)?.transpose(1, 2);
        let scale = (head_dim as f64).powf(-0.5) as f32;
        let mask = AttentionMask::Bias(&self.bias);
        let out = nn::attention(&part(0)?, &part(1)?, &part(2)?, scale, mask)?;
        let out = out.reshape((b, n, c3 / 3))?;
        self.windows.join(&out)
    }
}

/// One bias for each (|dy|, |dx|), numbered row by row, to the pair of tokens that it belongs to.
fn biases_by_distance(offsets: &Tensor, side: usize) -> Candle<Tensor> {
    let n = side * side;
    let distance = |a: usize, b: usize| (a / side).abs_diff(b / side) * side + (a % side).abs_diff(b % side);
    let index: Vec<u32> = (0..n)
        .flat_map(|a| (0..n).map(move |b| distance(a, b) as u32))
        .collect();
    let index = Tensor::from_vec(index, n * n, offsets.device())?;
    let heads = offsets.dim(0)?;
    offsets.index_select(&index, 1)?.reshape((1, heads, n, n))
}
