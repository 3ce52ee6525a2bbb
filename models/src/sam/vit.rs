//! SAM's image encoder: a plain ViT with windowed and global attention and decomposed relative positions
//! (Segment Anything, arXiv 2304.02643; relative positions from MViTv2, arXiv 2112.01526).

use candle_core::{Module, Tensor};
use candle_nn::VarBuilder;

use super::config::{Activation, VitConfig};
use super::neck::Neck;
use super::window::{Windows, with_zero_row};
use crate::Result;
use crate::nn::{self, AttentionMask, LayerNorm, Linear};
use crate::observer::{Observer, Stage};

#[derive(Debug, Clone)]
pub(super) struct Vit {
    /// A convolution whose stride is its kernel, as a matrix product over patches.
    patch: Linear,
    patch_size: usize,
    grid: usize,
    /// (1, N, C)
    position: Option<Tensor>,
    blocks: Vec<Block>,
    neck: Neck,
}

impl Vit {
    pub(super) fn load(config: &VitConfig, vb: VarBuilder<'_>) -> candle_core::Result<Self> {
        let (width, p, grid) = (config.hidden_size, config.patch_size, config.grid());
        let projection = vb.pp("patch_embed.projection");
        let weight = projection.get((width, config.num_channels, p, p), "weight")?;
        let weight = weight.reshape((width, config.num_channels * p * p))?;
        let position = if config.use_abs_pos {
            Some(
                vb.get((1, grid, grid, width), "pos_embed")?
                    .reshape((1, grid * grid, width))?,
            )
        } else {
            None
        };
        Ok(Self {
            patch: Linear::new(weight, Some(projection.get(width, "bias")?)),
            patch_size: p,
            grid,
            position,
            blocks: (0..config.num_hidden_layers)
                .map(|i| Block::load(config, config.window(i), vb.pp("layers").pp(i)))
                .collect::<candle_core::Result<_>>()?,
            neck: Neck::load(width, config.output_channels, grid, vb.pp("neck"))?,
        })
    }

    /// (B, 3, side, side) to (B, N, output channels).
    pub(super) fn forward(&self, pixels: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let mut x = self.patch.forward(&self.patches(pixels)?)?;
        if let Some(position) = &self.position {
            x = x.broadcast_add(position)?;
        }
        x = observer.stage(Stage::of("vision.patch"), x)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let mixed = block.attend(&x)?;
            x = if i == 0 {
                let attended = block.proj.forward(&mixed)?;
                let attended = observer.stage(Stage::nth("vision.attention", i), attended)?;
                nn::add(&x, &attended)?
            } else {
                block.proj.forward_onto(&mixed, &x)?
            };
            x = observer.stage(Stage::nth("vision.block", i), block.rest(&x)?)?;
        }
        observer.stage(Stage::of("vision.embedding"), self.neck.forward(&x)?)
    }

    /// (B, C, H, W) to (B, N, C * p * p), each row in the order of a convolution weight.
    fn patches(&self, pixels: &Tensor) -> candle_core::Result<Tensor> {
        let (b, c, _, _) = pixels.dims4()?;
        let (g, p) = (self.grid, self.patch_size);
        pixels
            .narrow(2, 0, g * p)?
            .narrow(3, 0, g * p)?
            .reshape((b, c, g, p, g, p))?
            .permute((0, 2, 4, 1, 3, 5))?
            .reshape((b, g * g, c * p * p))
    }
}

#[derive(Debug, Clone)]
struct Block {
    norm1: LayerNorm,
    qkv: Linear,
    proj: Linear,
    heads: usize,
    /// Relative position tables for rows and columns.
    relative: Option<(Tensor, Tensor)>,
    /// `None`: attention over the whole map.
    windows: Option<Windows>,
    norm2: LayerNorm,
    lin1: Linear,
    act: Activation,
    lin2: Linear,
    mlp_dim: usize,
}

impl Block {
    fn load(config: &VitConfig, window: usize, vb: VarBuilder<'_>) -> candle_core::Result<Self> {
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        let attn = vb.pp("attn");
        let side = if window == 0 { config.grid() } else { window };
        let head_dim = width / config.num_attention_heads;
        let relative = if config.use_rel_pos {
            let table = |name| by_distance(side, head_dim, &attn, name);
            Some((table("rel_pos_h")?, table("rel_pos_w")?))
        } else {
            None
        };
        Ok(Self {
            norm1: LayerNorm::load(width, eps, vb.pp("layer_norm1"))?,
            qkv: Linear::load(width, 3 * width, config.qkv_bias, attn.pp("qkv"))?,
            proj: Linear::load(width, width, true, attn.pp("proj"))?,
            heads: config.num_attention_heads,
            relative,
            windows: (window > 0).then(|| Windows::new(config.grid(), window)),
            norm2: LayerNorm::load(width, eps, vb.pp("layer_norm2"))?,
            lin1: Linear::load(width, config.mlp_dim(), true, vb.pp("mlp.lin1"))?,
            act: config.hidden_act,
            lin2: Linear::load(config.mlp_dim(), width, true, vb.pp("mlp.lin2"))?,
            mlp_dim: config.mlp_dim(),
        })
    }

    /// Attention of the normed input, before the output projection. Padding enters after the norm as zeros and is
    /// attended to, so that one row of zeros through the projection stands for all of it.
    fn attend(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        let normed = self.norm1.forward(x)?;
        match &self.windows {
            None => self.mix(&self.qkv.forward(&normed)?),
            Some(windows) => {
                let rows = self.qkv.forward(&with_zero_row(&normed)?)?;
                windows.join(&self.mix(&windows.split(&rows)?)?)
            }
        }
    }

    /// (B, N, 3C) of fused queries, keys and values to (B, N, C).
    fn mix(&self, qkv: &Tensor) -> candle_core::Result<Tensor> {
        let (b, n, c3) = qkv.dims3()?;
        let head_dim = c3 / 3 / self.heads;
        let qkv = qkv.reshape((b, n, 3, self.heads, head_dim))?;
        let part = |i: usize| qkv.narrow(2, i, 1)?.squeeze(2)?.transpose(1, 2);
        let (q, k, v) = (part(0)?, part(1)?, part(2)?);
        let scale = (head_dim as f64).powf(-0.5) as f32;
        let out = match &self.relative {
            None => nn::attention(&q, &k, &v, scale, AttentionMask::None)?,
            Some((rows, columns)) => {
                // The unscaled query, as in the reference.
                let (rel_h, rel_w) = nn::relative_positions(&q, rows, columns)?;
                let mask = AttentionMask::RelPos {
                    rel_h: &rel_h,
                    rel_w: &rel_w,
                };
                nn::attention(&q, &k, &v, scale, mask)?
            }
        };
        out.reshape((b, n, c3 / 3))
    }

    fn rest(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        nn::in_pieces(x, self.mlp_dim, |x| {
            let hidden = self.act.after(&self.lin1, &self.norm2.forward(x)?)?;
            self.lin2.forward_onto(&hidden, x)
        })
    }
}

/// Entries `q - k + side - 1` of a table by distance: (side q, head dim, side k).
fn by_distance(side: usize, head_dim: usize, vb: &VarBuilder<'_>, name: &str) -> candle_core::Result<Tensor> {
    let table = vb.get((2 * side - 1, head_dim), name)?;
    let index: Vec<u32> = (0..side)
        .flat_map(|q| (0..side).map(move |k| (q + side - 1 - k) as u32))
        .collect();
    let index = Tensor::from_vec(index, side * side, table.device())?;
    table
        .index_select(&index, 0)?
        .reshape((side, side, head_dim))?
        .transpose(1, 2)?
        .contiguous()
}
