//! The decoder: grouped-query attention with three-axis rotary positions over a preallocated cache.

use candle_core::{DType, Device, Module, Result as Candle, Tensor};
use candle_nn::VarBuilder;
use dragunov_kernels::{StepInputs, StepState};

use super::cache::KvCache;
use super::config::TextConfig;
use super::grid::Positions;
use super::layout::TEXT;
use super::rope::{Rotation, TextRope};
use super::vision::GatedMlp;
use crate::Result;
use crate::nn::{
    AttentionMask, CachedSequence, Linear, RmsNorm, attention, attention_ragged, attention_ragged_behind,
};
use crate::observer::{Observer, Stage, Unobserved, stage_normed};

/// New tokens of one sequence behind what its cache holds.
#[derive(Debug)]
pub struct Step<'c> {
    pub cache: &'c mut KvCache,
    /// One entry a token.
    pub positions: Positions,
}

/// New tokens of the rows of a cache, all of it on the device.
#[derive(Debug)]
pub(super) struct NewTokens {
    /// (N) u32, one row's after the other's.
    pub(super) tokens: Tensor,
    /// (1, N, d / 2) f32
    pub(super) angles: Tensor,
    /// (B) u32: tokens that a row's cache holds.
    pub(super) cached: Tensor,
    /// (B) u32: which of the N each row's scores are asked behind.
    pub(super) last: Tensor,
}

#[derive(Debug)]
struct Attention {
    /// Queries, keys and values of a token, head by head.
    qkv: Linear,
    o: Linear,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl Attention {
    fn load(cfg: &TextConfig, vb: VarBuilder<'_>) -> Candle<Self> {
        let (c, d) = (cfg.hidden_size, cfg.head_dim());
        let (heads, kv_heads) = (cfg.num_attention_heads, cfg.num_key_value_heads);
        let parts = [
            (heads * d, vb.pp("q_proj")),
            (kv_heads * d, vb.pp("k_proj")),
            (kv_heads * d, vb.pp("v_proj")),
        ];
        Ok(Self {
            qkv: Linear::joined(c, &parts, true)?,
            o: Linear::load(heads * d, c, false, vb.pp("o_proj"))?,
            heads,
            kv_heads,
            head_dim: d,
        })
    }

    /// Rotated queries, rotated keys and values, (B, heads, N, d) each, of `x` (B, N, C).
    fn project(&self, x: &Tensor, rotation: &Rotation) -> Candle<(Tensor, Tensor, Tensor)> {
        let (b, n, _) = x.dims3()?;
        let qkv = self.qkv.forward(x)?.reshape((b, n, (), self.head_dim))?;
        let part = |from, heads| qkv.narrow(2, from, heads)?.transpose(1, 2);
        Ok((
            rotation.apply(&part(0, self.heads)?)?,
            rotation.apply(&part(self.heads, self.kv_heads)?)?,
            part(self.heads + self.kv_heads, self.kv_heads)?,
        ))
    }

    fn scale(&self) -> f32 {
        1. / (self.head_dim as f32).sqrt()
    }

    /// `x` (B, N, C) to (B, N, heads d), before the output projection.
    fn forward(&self, x: &Tensor, rotation: &Rotation, cache: &KvCache, layer: usize) -> Candle<Tensor> {
        let (b, n, _) = x.dims3()?;
        let (q, k, v) = if b == 1 {
            let (keys, values) = cache.layer(layer);
            let alone = CachedSequence {
                keys,
                values,
                cached: cache.len,
                new: n,
            };
            let q = self.qkv.forward_rotated(x, rotation.tables(), &[alone], None)?;
            let (k, v) = cache.seen(layer, n)?;
            (q, k, v)
        } else {
            let (q, k, v) = self.project(x, rotation)?;
            let (k, v) = cache.append(layer, &k, &v)?;
            (q, k, v)
        };
        let scale = self.scale();
        let out = if cache.pads.iter().all(|&pad| pad == 0) {
            causal(&q, &k, &v, scale, cache.len)?
        } else {
            let rows = cache.pads.iter().enumerate().map(|(row, &pad)| {
                let of = |t: &Tensor| t.narrow(0, row, 1);
                causal_padded(&of(&q)?, &of(&k)?, &of(&v)?, scale, cache.len, pad)
            });
            Tensor::cat(&rows.collect::<Candle<Vec<_>>>()?, 0)?
        };
        out.reshape((b, n, self.heads * self.head_dim))
    }

    /// The same for sequences that lie one after the other in `x` (1, N, C), each with its own cache.
    fn forward_ragged(
        &self,
        x: &Tensor,
        rotation: &Rotation,
        steps: &[Step<'_>],
        layer: usize,
    ) -> Candle<Tensor> {
        let sequences: Vec<_> = steps
            .iter()
            .map(|Step { cache, positions }| {
                let (keys, values) = cache.layer(layer);
                CachedSequence {
                    keys,
                    values,
                    cached: cache.len,
                    new: positions.len(),
                }
            })
            .collect();
        let q = self.qkv.forward_rotated(x, rotation.tables(), &sequences, None)?;
        let out = attention_ragged(&q, &sequences, self.scale())?;
        out.reshape((1, x.dim(1)?, self.heads * self.head_dim))
    }

    /// The same for as many tokens of each row of `cache`, whose lengths the device knows (`cached`): nothing here depends on them.
    fn forward_behind(
        &self,
        x: &Tensor,
        rotation: &Rotation,
        (cache, cached): (&KvCache, &Tensor),
        layer: usize,
    ) -> Candle<Tensor> {
        let (rows, total) = (cache.rows(layer)?, x.dim(1)?);
        let sequences: Vec<_> = rows
            .iter()
            .map(|(keys, values)| CachedSequence {
                keys,
                values,
                cached: 0,
                new: total / rows.len(),
            })
            .collect();
        let tables = rotation.tables();
        let q = self.qkv.forward_rotated(x, tables, &sequences, Some(cached))?;
        let out = attention_ragged_behind(&q, &sequences, self.scale(), cached)?;
        out.reshape((1, total, self.heads * self.head_dim))
    }
}

/// Queries (B, H, N, d) that follow `offset` cached keys, to (B, N, H, d).
fn causal(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32, offset: usize) -> Candle<Tensor> {
    let mask = if q.dim(2)? == 1 {
        AttentionMask::None
    } else {
        AttentionMask::Causal { offset }
    };
    attention(q, k, v, scale, mask)
}

/// The same for one row whose first `pad` tokens are padding; the padding's own output is zero.
fn causal_padded(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    scale: f32,
    offset: usize,
    pad: usize,
) -> Candle<Tensor> {
    let (_, heads, n, d) = q.dims4()?;
    let skip = pad.saturating_sub(offset).min(n);
    // Never of no element: a GPU has no allocation of 0 bytes.
    let blank = |rows: usize| Tensor::zeros((1, rows, heads, d), q.dtype(), q.device());
    if skip == n {
        return blank(n);
    }
    let keys = k.dim(2)? - pad;
    let (k, v) = (k.narrow(2, pad, keys)?, v.narrow(2, pad, keys)?);
    let out = causal(
        &q.narrow(2, skip, n - skip)?,
        &k,
        &v,
        scale,
        (offset + skip) - pad,
    )?;
    if skip == 0 {
        Ok(out)
    } else {
        Tensor::cat(&[&blank(skip)?, &out], 1)
    }
}

#[derive(Debug)]
struct Layer {
    input_norm: RmsNorm,
    attn: Attention,
    post_norm: RmsNorm,
    mlp: GatedMlp,
}

impl Layer {
    fn load(cfg: &TextConfig, vb: VarBuilder<'_>) -> Candle<Self> {
        let c = cfg.hidden_size;
        Ok(Self {
            input_norm: RmsNorm::load(c, cfg.rms_norm_eps, vb.pp("input_layernorm"))?,
            attn: Attention::load(cfg, vb.pp("self_attn"))?,
            post_norm: RmsNorm::load(c, cfg.rms_norm_eps, vb.pp("post_attention_layernorm"))?,
            mlp: GatedMlp::load(c, cfg.intermediate_size, false, vb.pp("mlp"))?,
        })
    }

    /// `normed` is the input norm of `x` (B, N, C), `attend` mixes its tokens. Answers the sum and its norm by `next`.
    fn forward(
        &self,
        (x, normed): (&Tensor, &Tensor),
        attend: impl FnOnce(&Attention, &Tensor) -> Candle<Tensor>,
        next: &RmsNorm,
    ) -> Candle<(Tensor, Tensor)> {
        let mixed = attend(&self.attn, normed)?;
        let (x, normed) = self.attn.o.forward_onto_normed(&mixed, x, &self.post_norm)?;
        self.mlp.forward_onto_normed(&normed, &x, next)
    }
}

#[derive(Debug)]
pub struct Decoder {
    /// (V, C)
    embedding: Tensor,
    layers: Vec<Layer>,
    norm: RmsNorm,
    head: Linear,
    rope: TextRope,
    cfg: TextConfig,
}

impl Decoder {
    /// `vb` is the root of the checkpoint: the head stands beside the decoder. Without a head of its own
    /// (`own_head`) the output is scored against the token embedding.
    ///
    /// # Errors
    /// Missing and mis-shaped tensors.
    pub fn load(cfg: &TextConfig, own_head: bool, vb: VarBuilder<'_>) -> Candle<Self> {
        let text = vb.pp(TEXT);
        let shape = (cfg.vocab_size, cfg.hidden_size);
        let embedding = text.get(shape, "embed_tokens.weight")?;
        let head = match own_head {
            true => Linear::new(vb.get(shape, "lm_head.weight")?, None),
            false => Linear::shared(&embedding),
        };
        let layers = text.pp("layers");
        Ok(Self {
            embedding,
            layers: (0..cfg.num_hidden_layers)
                .map(|i| Layer::load(cfg, layers.pp(i)))
                .collect::<Candle<_>>()?,
            norm: RmsNorm::load(cfg.hidden_size, cfg.rms_norm_eps, text.pp("norm"))?,
            head,
            rope: TextRope::new(cfg.head_dim(), cfg.rope_theta, &cfg.mrope_section),
            cfg: cfg.clone(),
        })
    }

    pub fn config(&self) -> &TextConfig {
        &self.cfg
    }

    pub fn dtype(&self) -> DType {
        self.embedding.dtype()
    }

    pub fn device(&self) -> &Device {
        self.embedding.device()
    }

    /// Rows of the embedding: (n) ids to (n, C).
    ///
    /// # Errors
    /// An id outside the vocabulary.
    pub fn embed(&self, ids: &[u32]) -> Candle<Tensor> {
        self.embedding.index_select(&Tensor::new(ids, self.device())?, 0)
    }

    /// `x` (B, N, C) behind what the cache holds, to final hidden states (B, N, C). Grows the cache by N.
    ///
    /// # Errors
    /// Positions or a cache of other sizes, and what `observer` answers; the cache then holds what it held before.
    pub fn forward(
        &self,
        x: &Tensor,
        positions: &[Positions],
        cache: &mut KvCache,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let (b, n, _) = x.dims3()?;
        if positions.len() != b || cache.pads.len() != b || positions.iter().any(|p| p.len() != n) {
            return Err(misfit(format!(
                "{b} x {n} tokens against {} rows of positions",
                positions.len()
            )));
        }
        cache.reserve(n)?;
        let attend =
            |attn: &Attention, x: &Tensor, rotation: &Rotation, i: usize| attn.forward(x, rotation, cache, i);
        let hidden = self.layers(x, positions, attend, observer)?;
        cache.len += n;
        Ok(hidden)
    }

    /// Several sequences in one pass, whatever their lengths: `x` (1, N, C) holds their new tokens one after the other,
    /// as many of each as its step has positions. Weights are read once for all of them. Grows each cache, which must
    /// be one of a single row without padding.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_ragged(
        &self,
        x: &Tensor,
        steps: &mut [Step<'_>],
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let (b, total, _) = x.dims3()?;
        let tokens: usize = steps.iter().map(|s| s.positions.len()).sum();
        if b != 1 || tokens != total || steps.iter().any(|s| s.cache.pads != [0]) {
            let sequences = steps.len();
            return Err(misfit(format!(
                "{b} x {total} tokens against {sequences} sequences of {tokens}"
            )));
        }
        let mut positions = Positions::default();
        for step in steps.iter_mut() {
            step.cache.reserve(step.positions.len())?;
            for (all, own) in positions.axes.iter_mut().zip(&step.positions.axes) {
                all.extend(own);
            }
        }
        let attend = |attn: &Attention, x: &Tensor, rotation: &Rotation, i: usize| {
            attn.forward_ragged(x, rotation, steps, i)
        };
        let hidden = self.layers(x, &[positions], attend, observer)?;
        for step in steps {
            step.cache.len += step.positions.len();
        }
        Ok(hidden)
    }

    /// Scores (B, V) behind one more token of each row of `cache`: `tokens` and their rotation as `steps` have them on the device, as
    /// they do the lengths of the caches. There must be room; the cache's own length stays as it was.
    pub(super) fn step(
        &self,
        steps: &StepState,
        cache: &KvCache,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let StepInputs { x, cos, sin } = steps.begin(&self.embedding)?;
        let cached = steps.cached()?;
        let attend = |attn: &Attention, x: &Tensor, rotation: &Rotation, i: usize| {
            attn.forward_behind(x, rotation, (cache, &cached), i)
        };
        let hidden = self.turned_layers(&x.unsqueeze(0)?, &Rotation { cos, sin }, attend, observer)?;
        Ok(self.logits(&hidden.squeeze(0)?)?)
    }

    /// Scores (B, V) behind new tokens of each row of `cache`, as many of each. There must be room; the cache's own length stays as it was.
    pub(super) fn step_of_rows(&self, new: &NewTokens, cache: &KvCache) -> Result<Tensor> {
        let x = self.embedding.index_select(&new.tokens, 0)?.unsqueeze(0)?;
        let rotation = Rotation::of(&new.angles)?.to_dtype(self.dtype())?;
        let attend = |attn: &Attention, x: &Tensor, rotation: &Rotation, i: usize| {
            attn.forward_behind(x, rotation, (cache, &new.cached), i)
        };
        let hidden = self.turned_layers(&x, &rotation, attend, &mut Unobserved)?;
        let last = hidden.squeeze(0)?.index_select(&new.last, 0)?;
        Ok(self.logits(&last)?)
    }

    /// Angles of tokens of several sequences of one length, (B, N, d / 2).
    pub(super) fn angles(&self, positions: &[Positions]) -> Vec<f32> {
        self.rope.angles(positions)
    }

    /// Rotations of the tokens of several steps, (steps, B, d / 2), in the decoder's type.
    pub(super) fn tables(&self, positions: &[Positions]) -> Candle<(Tensor, Tensor)> {
        let table = self
            .rope
            .rotation(positions, self.device())?
            .to_dtype(self.dtype())?;
        let by_step = |t: &Tensor| t.transpose(0, 1)?.contiguous();
        Ok((by_step(&table.cos)?, by_step(&table.sin)?))
    }

    /// All layers and the final norm; `attend` mixes the normed tokens of a layer.
    fn layers(
        &self,
        x: &Tensor,
        positions: &[Positions],
        attend: impl Fn(&Attention, &Tensor, &Rotation, usize) -> Candle<Tensor>,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let table = self.rope.rotation(positions, x.device())?;
        let rotation = Rotation {
            cos: observer.stage(Stage::of("text.cos"), table.cos)?,
            sin: observer.stage(Stage::of("text.sin"), table.sin)?,
        }
        .to_dtype(x.dtype())?;
        self.turned_layers(x, &rotation, attend, observer)
    }

    fn turned_layers(
        &self,
        x: &Tensor,
        rotation: &Rotation,
        attend: impl Fn(&Attention, &Tensor, &Rotation, usize) -> Candle<Tensor>,
        observer: &mut dyn Observer,
    ) -> Result<Tensor> {
        let norm = |i: usize| self.layers.get(i).map_or(&self.norm, |layer| &layer.input_norm);
        let (mut x, mut normed) = (x.clone(), norm(0).forward(x)?);
        for (i, layer) in self.layers.iter().enumerate() {
            let attend = |attn: &Attention, x: &Tensor| attend(attn, x, rotation, i);
            let both = layer.forward((&x, &normed), attend, norm(i + 1))?;
            (x, normed) = stage_normed(observer, Stage::nth("text.layer", i), both, norm(i + 1))?;
        }
        observer.stage(Stage::of("text.hidden"), normed)
    }

    /// Scores over the vocabulary in f32: (..., C) to (..., V). Slice to the tokens of interest first.
    pub fn logits(&self, hidden: &Tensor) -> Candle<Tensor> {
        self.head.forward(hidden)?.to_dtype(DType::F32)
    }
}

fn misfit(what: String) -> crate::ModelError {
    crate::ModelError::Compute(candle_core::Error::Msg(what))
}
