//! The vision tower: patches to tokens, windowed and full attention, 2-D rotary positions, patch merger.

use candle_core::{Module, Result as Candle, Tensor};
use candle_nn::VarBuilder;

use super::config::VisionConfig;
use super::grid::{Grid, full_segments, patch_positions, window_index};
use super::rope::{self, Rotation};
use crate::nn::{
    AttentionMask, GatedWeight, Linear, RmsNorm, Segments, attention, gelu_erf, linear_gated, load_gated,
};
use crate::observer::{Observer, Stage, stage_normed};
use crate::{ModelError, Result};

/// Fixed in the reference; not a config field.
const NORM_EPS: f64 = 1e-6;

#[derive(Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl Attention {
    fn load(cfg: &VisionConfig, vb: VarBuilder<'_>) -> Candle<Self> {
        let c = cfg.hidden_size;
        Ok(Self {
            qkv: Linear::load(c, 3 * c, true, vb.pp("qkv"))?,
            proj: Linear::load(c, c, true, vb.pp("proj"))?,
            heads: cfg.num_heads,
        })
    }

    /// `x` (N, C), before the output projection; attention stays inside `segments`.
    fn forward(&self, x: &Tensor, rotation: &Rotation, segments: &Segments) -> Candle<Tensor> {
        let (n, c) = x.dims2()?;
        let d = c / self.heads;
        let h = self.heads;
        let qkv = self.qkv.forward(x)?.reshape((n, 3 * h, d))?;
        // (1, 3 H, N, d); queries and keys turn alike.
        let qkv = qkv.transpose(0, 1)?.unsqueeze(0)?;
        let turned = rotation.apply_f32(&qkv.narrow(1, 0, 2 * h)?)?;
        let (q, k, v) = (
            turned.narrow(1, 0, h)?,
            turned.narrow(1, h, h)?,
            qkv.narrow(1, 2 * h, h)?,
        );
        let scale = 1. / (d as f32).sqrt();
        attention(&q, &k, &v, scale, AttentionMask::Segments(segments))?.reshape((n, c))
    }
}

/// SwiGLU: `down(silu(gate(x)) * up(x))`.
#[derive(Debug)]
pub(super) struct GatedMlp {
    inner: GatedWeight,
    down: Linear,
}

impl GatedMlp {
    pub(super) fn load(width: usize, inner: usize, bias: bool, vb: VarBuilder<'_>) -> Candle<Self> {
        Ok(Self {
            inner: load_gated(width, inner, bias, &vb)?,
            down: Linear::load(inner, width, bias, vb.pp("down_proj"))?,
        })
    }

    /// `residual` plus the output of `x`, and its norm by `next`.
    pub(super) fn forward_onto_normed(
        &self,
        x: &Tensor,
        residual: &Tensor,
        next: &RmsNorm,
    ) -> Candle<(Tensor, Tensor)> {
        let inner = linear_gated(x, &self.inner)?;
        self.down.forward_onto_normed(&inner, residual, next)
    }
}

#[derive(Debug)]
struct Block {
    norm1: RmsNorm,
    attn: Attention,
    norm2: RmsNorm,
    mlp: GatedMlp,
}

impl Block {
    fn load(cfg: &VisionConfig, vb: VarBuilder<'_>) -> Candle<Self> {
        Ok(Self {
            norm1: RmsNorm::load(cfg.hidden_size, NORM_EPS, vb.pp("norm1"))?,
            attn: Attention::load(cfg, vb.pp("attn"))?,
            norm2: RmsNorm::load(cfg.hidden_size, NORM_EPS, vb.pp("norm2"))?,
            mlp: GatedMlp::load(cfg.hidden_size, cfg.intermediate_size, true, vb.pp("mlp"))?,
        })
    }

    /// `normed` is `norm1` of `x` (N, C). Answers the sum and its norm by `next`.
    fn forward(
        &self,
        (x, normed): (&Tensor, &Tensor),
        rotation: &Rotation,
        segments: &Segments,
        next: &RmsNorm,
    ) -> Candle<(Tensor, Tensor)> {
        let mixed = self.attn.forward(normed, rotation, segments)?;
        let (x, normed) = self.attn.proj.forward_onto_normed(&mixed, x, &self.norm2)?;
        self.mlp.forward_onto_normed(&normed, &x, next)
    }
}

/// Joins each block of merge x merge patches into one token of the decoder's width.
#[derive(Debug)]
struct Merger {
    norm: RmsNorm,
    fc1: Linear,
    fc2: Linear,
    joined: usize,
}

impl Merger {
    fn load(cfg: &VisionConfig, vb: VarBuilder<'_>) -> Candle<Self> {
        let joined = cfg.hidden_size * cfg.spatial_merge_size * cfg.spatial_merge_size;
        Ok(Self {
            norm: RmsNorm::load(cfg.hidden_size, NORM_EPS, vb.pp("ln_q"))?,
            fc1: Linear::load(joined, joined, true, vb.pp("mlp.0"))?,
            fc2: Linear::load(joined, cfg.out_hidden_size, true, vb.pp("mlp.2"))?,
            joined,
        })
    }

    /// `normed` is `norm` of the last block's patches.
    fn forward(&self, normed: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let x = normed.reshape(((), self.joined))?;
        let x = observer.stage(Stage::of("vision.merger.hidden"), self.fc1.forward(&x)?)?;
        let x = observer.stage(Stage::of("vision.merger.act"), gelu_erf(&x)?)?;
        observer.stage(Stage::of("vision.merger.windowed"), self.fc2.forward(&x)?)
    }
}

#[derive(Debug)]
pub struct VisionTower {
    patch_embed: Linear,
    blocks: Vec<Block>,
    merger: Merger,
    cfg: VisionConfig,
}

impl VisionTower {
    /// Reads the tensors below `vb` (`patch_embed.proj.weight`, `blocks.{i}.*`, `merger.*`).
    ///
    /// # Errors
    /// Missing and mis-shaped tensors.
    pub fn load(cfg: &VisionConfig, vb: VarBuilder<'_>) -> Candle<Self> {
        let (c, p) = (cfg.hidden_size, cfg.patch_size);
        let kernel = (c, cfg.in_channels, cfg.temporal_patch_size, p, p);
        // A Conv3d whose stride is its kernel is a linear layer over the flattened patch.
        let weight = vb
            .get(kernel, "patch_embed.proj.weight")?
            .reshape((c, cfg.patch_len()))?;
        let blocks = vb.pp("blocks");
        Ok(Self {
            patch_embed: Linear::new(weight, None),
            blocks: (0..cfg.depth)
                .map(|i| Block::load(cfg, blocks.pp(i)))
                .collect::<Candle<_>>()?,
            merger: Merger::load(cfg, vb.pp("merger"))?,
            cfg: cfg.clone(),
        })
    }

    /// Any number of images at once: their patches one after the other, (sum of h w, patch values), to tokens
    /// (sum of h w / merge^2, out_hidden_size) in row-major order per image.
    ///
    /// # Errors
    /// Patches that do not fill the grids, and what `observer` answers.
    pub fn forward(&self, patches: &Tensor, grids: &[Grid], observer: &mut dyn Observer) -> Result<Tensor> {
        let merge = self.cfg.spatial_merge_size;
        let unit = merge * merge;
        let device = patches.device();
        let n = patches.dim(0)?;
        if grids.iter().map(Grid::patches).sum::<usize>() != n {
            return Err(ModelError::Prompt(format!(
                "{n} patches do not fill the grids {grids:?}"
            )));
        }
        let x = observer.stage(Stage::of("vision.patch"), self.patch_embed.forward(patches)?)?;
        let (window_index, windows) = window_index(grids, merge, self.cfg.window_tokens());
        let (windows, images) = (Segments::new(windows), Segments::new(full_segments(grids)));
        let positions = patch_positions(grids, merge);
        let in_order = rope::vision(&positions, self.cfg.head_dim(), self.cfg.rope_theta, device)?;
        let cos = observer.stage(Stage::of("vision.cos"), in_order.cos)?;
        let sin = observer.stage(Stage::of("vision.sin"), in_order.sin)?;
        // Patches and their rotations move together, a merge block at a time.
        let order: Vec<u32> = window_index
            .iter()
            .flat_map(|&i| i * unit..(i + 1) * unit)
            .map(|i| i as u32)
            .collect();
        let order = Tensor::from_vec(order, n, device)?;
        let mut x = observer.stage(Stage::of("vision.windows"), x.index_select(&order, 0)?)?;
        let rotation = Rotation {
            cos: cos.index_select(&order, 0)?,
            sin: sin.index_select(&order, 0)?,
        };
        let norm = |i: usize| self.blocks.get(i).map_or(&self.merger.norm, |block| &block.norm1);
        let mut normed = norm(0).forward(&x)?;
        for (i, block) in self.blocks.iter().enumerate() {
            let full = self.cfg.fullatt_block_indexes.contains(&i);
            let segments = if full { &images } else { &windows };
            normed = observer.stage(Stage::inside("vision.block", i, "norm1"), normed)?;
            let both = block.forward((&x, &normed), &rotation, segments, norm(i + 1))?;
            (x, normed) = stage_normed(observer, Stage::nth("vision.block", i), both, norm(i + 1))?;
        }
        let merged = self.merger.forward(&normed, observer)?;
        let mut back = vec![0u32; window_index.len()];
        for (at, &token) in window_index.iter().enumerate() {
            back[token] = at as u32;
        }
        let back = Tensor::from_vec(back, window_index.len(), device)?;
        observer.stage(Stage::of("vision.merger"), merged.index_select(&back, 0)?)
    }
}
