//! The vision tower: patches to tokens, windowed and full attention, 2-D rotary positions, patch merger.

use candle_core::{Module, Result, Tensor};
use candle_nn::VarBuilder;

use super::Probe;
use super::config::VisionConfig;
use super::grid::{Grid, full_segments, patch_positions, window_index};
use super::rope::{self, Rotation};
use crate::mutation::{self, Mutation};
use crate::nn::{AttentionMask, Linear, RmsNorm, attention, gelu_erf, linear, rms_norm, silu_mul};

/// Fixed in the reference; not a config field.
const NORM_EPS: f64 = 1e-6;

#[derive(Debug)]
struct Attention {
    qkv: Linear,
    proj: Linear,
    heads: usize,
}

impl Attention {
    fn new(cfg: &VisionConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let c = cfg.hidden_size;
        Ok(Self {
            qkv: linear(c, 3 * c, true, vb.pp("qkv"))?,
            proj: linear(c, c, true, vb.pp("proj"))?,
            heads: cfg.num_heads,
        })
    }

    /// `x` (N, C), before the output projection; attention stays inside `segments` (cumulative lengths).
    fn forward(&self, x: &Tensor, rotation: &Rotation, segments: &[usize]) -> Result<Tensor> {
        let (n, c) = x.dims2()?;
        let d = c / self.heads;
        let qkv = self.qkv.forward(x)?.reshape((n, 3, self.heads, d))?;
        // (N, H, d) of one third, as (1, H, N, d)
        let part = |i: usize| qkv.narrow(1, i, 1)?.squeeze(1)?.transpose(0, 1)?.unsqueeze(0);
        let q = rotation.apply_f32(&part(0)?)?;
        let k = rotation.apply_f32(&part(1)?)?;
        let scale = 1. / (d as f32).sqrt();
        let out = attention(&q, &k, &part(2)?, scale, &AttentionMask::Segments(segments))?;
        out.squeeze(0)?.transpose(0, 1)?.reshape((n, c))
    }
}

/// SwiGLU: `down(silu(gate(x)) * up(x))`.
#[derive(Debug)]
pub(super) struct GatedMlp {
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl GatedMlp {
    pub(super) fn new(width: usize, inner: usize, bias: bool, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            gate: linear(width, inner, bias, vb.pp("gate_proj"))?,
            up: linear(width, inner, bias, vb.pp("up_proj"))?,
            down: linear(inner, width, bias, vb.pp("down_proj"))?,
        })
    }
}

impl GatedMlp {
    /// `residual` plus the output.
    pub(super) fn forward_onto(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let inner = silu_mul(&self.gate.forward(x)?, &self.up.forward(x)?)?;
        self.down.forward_onto(&inner, residual)
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
    fn new(cfg: &VisionConfig, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            norm1: rms_norm(cfg.hidden_size, eps, vb.pp("norm1"))?,
            attn: Attention::new(cfg, vb.pp("attn"))?,
            norm2: rms_norm(cfg.hidden_size, eps, vb.pp("norm2"))?,
            mlp: GatedMlp::new(cfg.hidden_size, cfg.intermediate_size, true, vb.pp("mlp"))?,
        })
    }

    fn forward(&self, x: &Tensor, rotation: &Rotation, segments: &[usize]) -> Result<Tensor> {
        let mixed = self.attn.forward(&self.norm1.forward(x)?, rotation, segments)?;
        let x = self.attn.proj.forward_onto(&mixed, x)?;
        self.mlp.forward_onto(&self.norm2.forward(&x)?, &x)
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
    fn new(cfg: &VisionConfig, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let joined = cfg.hidden_size * cfg.spatial_merge_size * cfg.spatial_merge_size;
        Ok(Self {
            norm: rms_norm(cfg.hidden_size, eps, vb.pp("ln_q"))?,
            fc1: linear(joined, joined, true, vb.pp("mlp.0"))?,
            fc2: linear(joined, cfg.out_hidden_size, true, vb.pp("mlp.2"))?,
            joined,
        })
    }
}

impl Module for Merger {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = self
            .fc1
            .forward(&self.norm.forward(x)?.reshape(((), self.joined))?)?;
        let x = if mutation::is(Mutation::QwenMergerTanhGelu) {
            x.gelu()?
        } else {
            gelu_erf(&x)?
        };
        self.fc2.forward(&x)
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
    pub fn new(cfg: &VisionConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let eps = if mutation::is(Mutation::QwenEps) {
            1e-2
        } else {
            NORM_EPS
        };
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
                .map(|i| Block::new(cfg, eps, blocks.pp(i)))
                .collect::<Result<_>>()?,
            merger: Merger::new(cfg, eps, vb.pp("merger"))?,
            cfg: cfg.clone(),
        })
    }

    /// Any number of images at once: their patches one after the other, (sum of h w, patch values), to tokens
    /// (sum of h w / merge^2, out_hidden_size) in row-major order per image.
    pub fn forward(&self, patches: &Tensor, grids: &[Grid]) -> Result<Tensor> {
        self.forward_probed(patches, grids, &mut |_, _| ())
    }

    /// [`forward`](Self::forward) that shows each stage: `patch_embed`, `vision_cos`, `vision_sin` (in the order of
    /// the processor), `vision_block_{i}`, `merger_windowed` (in the order of the windows), `merger`.
    pub fn forward_probed(&self, patches: &Tensor, grids: &[Grid], probe: Probe<'_>) -> Result<Tensor> {
        let merge = self.cfg.spatial_merge_size;
        let unit = merge * merge;
        let device = patches.device();
        let x = self.patch_embed.forward(patches)?;
        probe("patch_embed", &x);
        let n = x.dim(0)?;
        if grids.iter().map(Grid::patches).sum::<usize>() != n {
            candle_core::bail!("{n} patches do not fill the grids {grids:?}")
        }
        let (window_index, windows) = window_index(grids, merge, self.cfg.window_tokens());
        let images = full_segments(grids);
        let positions = patch_positions(grids, merge);
        let in_order = rope::vision(&positions, self.cfg.head_dim(), self.cfg.rope_theta, device)?;
        probe("vision_cos", &in_order.cos);
        probe("vision_sin", &in_order.sin);
        // Patches and their rotations move together, a merge block at a time.
        let order: Vec<u32> = window_index
            .iter()
            .flat_map(|&i| i * unit..(i + 1) * unit)
            .map(|i| i as u32)
            .collect();
        let order = Tensor::from_vec(order, n, device)?;
        let mut x = x.index_select(&order, 0)?;
        let rotation = Rotation {
            cos: in_order.cos.index_select(&order, 0)?,
            sin: in_order.sin.index_select(&order, 0)?,
        };
        for (i, block) in self.blocks.iter().enumerate() {
            let full = self.cfg.fullatt_block_indexes.contains(&i);
            x = block.forward(&x, &rotation, if full { &images } else { &windows })?;
            probe(&format!("vision_block_{i}"), &x);
        }
        let merged = self.merger.forward(&x)?;
        probe("merger_windowed", &merged);
        let merged = if mutation::is(Mutation::QwenKeepWindowOrder) {
            merged
        } else {
            let mut back = vec![0u32; window_index.len()];
            for (at, &token) in window_index.iter().enumerate() {
                back[token] = at as u32;
            }
            merged.index_select(&Tensor::from_vec(back, window_index.len(), device)?, 0)?
        };
        probe("merger", &merged);
        Ok(merged)
    }
}
