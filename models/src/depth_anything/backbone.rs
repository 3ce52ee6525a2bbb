//! DINOv2 (Oquab et al. 2023) without registers: patch embedding, position embedding, transformer blocks, taps.

use std::sync::{Mutex, PoisonError};

use candle_core::{D, DType, Device, Module, Result as Candle, Tensor};
use candle_nn::VarBuilder;

use super::Policy;
use super::config::{Activation, BackboneConfig};
use crate::Result;
use crate::nn::{
    self, AttentionMask, Conv2d, Conv2dConfig, GatedWeight, LayerNorm, Linear, add, attention, linear_gated,
    load_gated,
};
use crate::observer::{Observer, Stage};
use crate::resample::{TorchResize, resize_on_host};

#[derive(Debug)]
pub(super) struct Backbone {
    config: BackboneConfig,
    patches: Conv2d,
    /// (1, 1, C)
    cls: Tensor,
    positions: Positions,
    blocks: Vec<Block>,
    norm: LayerNorm,
    dtype: DType,
}

impl Backbone {
    pub(super) fn load(config: &BackboneConfig, vb: VarBuilder<'_>) -> Candle<Self> {
        let (width, patch) = (config.hidden_size, config.patch_size);
        let embeddings = vb.pp("embeddings");
        let stride = Conv2dConfig {
            stride: patch,
            ..Conv2dConfig::default()
        };
        let projection = embeddings.pp("patch_embeddings.projection");
        let blocks = vb.pp("encoder.layer");
        Ok(Self {
            patches: Conv2d::load(3, width, patch, stride, true, projection)?,
            cls: embeddings.get((1, 1, width), "cls_token")?,
            positions: Positions::load(config, embeddings)?,
            blocks: (0..config.layers)
                .map(|i| Block::load(config, blocks.pp(i)))
                .collect::<Candle<_>>()?,
            norm: LayerNorm::load(width, config.layer_norm_eps, vb.pp("layernorm"))?,
            dtype: vb.dtype(),
            config: config.clone(),
        })
    }

    /// Pixels (B, 3, H, W) to the taps, each (B, rows x columns, C) without the class token.
    ///
    /// `square` says that the pixels, not only the patches, are as many in both directions.
    pub(super) fn forward(
        &self,
        pixels: &Tensor,
        (rows, columns): (usize, usize),
        square: bool,
        policy: Policy,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Tensor>> {
        let patch = self.config.patch_size;
        let whole = pixels.narrow(2, 0, rows * patch)?.narrow(3, 0, columns * patch)?;
        let x = self.patches.forward(&whole.to_dtype(self.dtype)?)?;
        let x = x.flatten_from(2)?.transpose(1, 2)?;
        let x = observer.stage(Stage::of("patch_embed"), x)?;
        let (batch, _, width) = x.dims3()?;
        let position = self.positions.get((rows, columns), square, policy)?;
        let position = observer.stage(Stage::of("position"), position)?;
        let cls = self.cls.broadcast_as((batch, 1, width))?;
        let x = Tensor::cat(&[&cls, &x], 1)?.broadcast_add(&position)?;
        let mut x = observer.stage(Stage::of("embeddings"), x)?;
        let mut taps = Vec::with_capacity(self.config.taps.len());
        for stage in 0..=self.config.layers {
            if stage > 0 {
                x = self.blocks[stage - 1].forward(&x, stage - 1, observer)?;
            }
            if self.config.taps.contains(&stage) {
                taps.push(self.tap(&x, taps.len(), observer)?);
            }
        }
        Ok(taps)
    }

    fn tap(&self, x: &Tensor, index: usize, observer: &mut dyn Observer) -> Result<Tensor> {
        let normed = if self.config.apply_layernorm {
            self.norm.forward(x)?
        } else {
            x.clone()
        };
        let tap = observer.stage(Stage::nth("tap", index), normed)?;
        Ok(tap.narrow(1, 1, tap.dim(1)? - 1)?)
    }
}

/// The learned position embeddings and their interpolations to other grids.
#[derive(Debug)]
struct Positions {
    /// (1, 1 + side^2, C) on the device, in the model's dtype.
    trained: Tensor,
    /// The same in f32 on the host, to interpolate from.
    host: Tensor,
    side: usize,
    device: Device,
    /// Most recent last.
    cache: Mutex<Vec<(PositionKey, Tensor)>>,
}

type PositionKey = (usize, usize, Policy);

impl Positions {
    const CACHED: usize = 16;

    fn load(config: &BackboneConfig, vb: VarBuilder<'_>) -> Candle<Self> {
        let shape = (
            1,
            1 + config.position_side * config.position_side,
            config.hidden_size,
        );
        let trained = vb.get(shape, "position_embeddings")?;
        let host = trained.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
        Ok(Self {
            side: config.position_side,
            device: vb.device().clone(),
            cache: Mutex::default(),
            trained,
            host,
        })
    }

    /// (1, 1 + rows x columns, C)
    fn get(&self, (rows, columns): (usize, usize), square: bool, policy: Policy) -> Result<Tensor> {
        if square && rows * columns == self.side * self.side {
            return Ok(self.trained.clone());
        }
        let key = (rows, columns, policy);
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = cache.iter().position(|(k, _)| *k == key) {
            let hit = cache.remove(found);
            let tensor = hit.1.clone();
            cache.push(hit);
            return Ok(tensor);
        }
        let made = self.interpolate(rows, columns, policy)?;
        if cache.len() >= Self::CACHED {
            cache.remove(0);
        }
        cache.push((key, made.clone()));
        Ok(made)
    }

    /// Bicubic, a = -0.75, in f32 on the host; once for each shape of photo.
    fn interpolate(&self, rows: usize, columns: usize, policy: Policy) -> Result<Tensor> {
        let side = self.side;
        let width = self.host.dim(D::Minus1)?;
        let resize = match policy {
            Policy::Hf => TorchResize::bicubic(),
            // The original passes (n + 0.1) / side as the scale factor, to guard against rounding down; the offset
            // also moves every source coordinate.
            Policy::Original => {
                let factor = |n: usize| (n as f64 + 0.1) / side as f64;
                TorchResize::bicubic().scale_factor(factor(rows), factor(columns))
            }
        };
        let grid = self.host.narrow(1, 1, side * side)?;
        let planes = grid.reshape((side, side, width))?.permute((2, 0, 1))?;
        let resized = resize_on_host(&planes, rows, columns, &resize)?;
        let grid = resized.permute((1, 2, 0))?.reshape((1, rows * columns, width))?;
        let all = Tensor::cat(&[&self.host.narrow(1, 0, 1)?, &grid], 1)?;
        Ok(all.to_dtype(self.trained.dtype())?.to_device(&self.device)?)
    }
}

/// `x + ls1 attention(norm1 x)`, then `x + ls2 mlp(norm2 x)`.
#[derive(Debug)]
struct Block {
    norm1: LayerNorm,
    /// Query, key and value in one product: (3 heads head_dim, C).
    qkv: Linear,
    /// Output projection with LayerScale folded in.
    out: Linear,
    norm2: LayerNorm,
    mlp: Mlp,
    heads: usize,
    head_dim: usize,
}

impl Block {
    fn load(config: &BackboneConfig, vb: VarBuilder<'_>) -> Candle<Self> {
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        let inner = config.heads * config.head_dim;
        let attention = vb.pp("attention");
        let heads = attention.pp("attention");
        let parts = ["query", "key", "value"].map(|name| heads.pp(name));
        let weights = parts.each_ref().map(|vb| vb.get((inner, width), "weight"));
        let weights = weights.into_iter().collect::<Candle<Vec<_>>>()?;
        let bias = match config.qkv_bias {
            true => {
                let biases = parts.each_ref().map(|vb| vb.get(inner, "bias"));
                Some(Tensor::cat(&biases.into_iter().collect::<Candle<Vec<_>>>()?, 0)?)
            }
            false => None,
        };
        Ok(Self {
            norm1: LayerNorm::load(width, eps, vb.pp("norm1"))?,
            qkv: Linear::new(Tensor::cat(&weights, 0)?, bias),
            out: scaled_linear(inner, width, attention.pp("output.dense"), vb.pp("layer_scale1"))?,
            norm2: LayerNorm::load(width, eps, vb.pp("norm2"))?,
            mlp: Mlp::load(config, vb.pp("mlp"), vb.pp("layer_scale2"))?,
            heads: config.heads,
            head_dim: config.head_dim,
        })
    }

    fn forward(&self, x: &Tensor, index: usize, observer: &mut dyn Observer) -> Result<Tensor> {
        let (batch, tokens, _) = x.dims3()?;
        let (heads, dim) = (self.heads, self.head_dim);
        let qkv = self.qkv.forward(&self.norm1.forward(x)?)?;
        let qkv = qkv
            .reshape((batch, tokens, 3, heads, dim))?
            .permute((2, 0, 3, 1, 4))?;
        let scale = (dim as f32).sqrt().recip();
        let mixed = attention(
            &qkv.get(0)?,
            &qkv.get(1)?,
            &qkv.get(2)?,
            scale,
            AttentionMask::None,
        )?;
        let mixed = self.out.forward(&mixed.reshape((batch, tokens, heads * dim))?)?;
        let mixed = observer.stage(Stage::inside("block", index, "attention"), mixed)?;
        let x = add(x, &mixed)?;
        let inner = self.mlp.inner(&self.norm2.forward(&x)?)?;
        let inner = observer.stage(Stage::inside("block", index, "mlp.act"), inner)?;
        observer.stage(
            Stage::nth("block", index),
            self.mlp.down().forward_onto(&inner, &x)?,
        )
    }
}

#[derive(Debug)]
enum Mlp {
    Plain {
        up: Linear,
        activation: Activation,
        down: Linear,
    },
    /// `down(silu(gate x) * up x)`.
    SwiGlu { inner: GatedWeight, down: Linear },
}

impl Mlp {
    fn load(config: &BackboneConfig, vb: VarBuilder<'_>, scale: VarBuilder<'_>) -> Candle<Self> {
        let (width, inner) = (config.hidden_size, config.mlp_size);
        if !config.swiglu {
            return Ok(Self::Plain {
                up: Linear::load(width, inner, true, vb.pp("fc1"))?,
                activation: config.activation,
                down: scaled_linear(inner, width, vb.pp("fc2"), scale)?,
            });
        }
        Ok(Self::SwiGlu {
            inner: load_gated(width, inner, true, &vb)?,
            down: scaled_linear(inner, width, vb.pp("down_proj"), scale)?,
        })
    }

    /// Up to the activation.
    fn inner(&self, x: &Tensor) -> Candle<Tensor> {
        match self {
            Self::Plain { up, activation, .. } => match activation {
                Activation::Gelu => up.forward_activated(x, nn::Activation::Gelu),
                Activation::GeluTanh => up.forward(x)?.gelu(),
                Activation::Relu => up.forward_activated(x, nn::Activation::Relu),
                Activation::Silu => up.forward_activated(x, nn::Activation::Silu),
            },
            Self::SwiGlu { inner, .. } => linear_gated(x, inner),
        }
    }

    fn down(&self) -> &Linear {
        let (Self::Plain { down, .. } | Self::SwiGlu { down, .. }) = self;
        down
    }
}

/// A projection followed by LayerScale: `lambda (W x + b)` as `(lambda W) x + lambda b`, folded in f32.
fn scaled_linear(from: usize, to: usize, vb: VarBuilder<'_>, scale: VarBuilder<'_>) -> Candle<Linear> {
    let dtype = vb.dtype();
    let vb = vb.to_dtype(DType::F32);
    let lambda = scale.to_dtype(DType::F32).get(to, "lambda1")?;
    let weight = vb
        .get((to, from), "weight")?
        .broadcast_mul(&lambda.unsqueeze(1)?)?;
    let bias = (vb.get(to, "bias")? * lambda)?;
    Ok(Linear::new(weight.to_dtype(dtype)?, Some(bias.to_dtype(dtype)?)))
}
