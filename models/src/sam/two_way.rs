//! The decoder's transformer: tokens attend to themselves and to the image, the image attends to the tokens.

use candle_core::{Module, Result as Candle, Tensor};
use candle_nn::VarBuilder;

use super::config::{Activation, MaskDecoderConfig};
use crate::Result;
use crate::nn::{self, AttentionMask, LayerNorm, Linear};
use crate::observer::{Observer, Stage};

#[derive(Debug, Clone)]
pub(super) struct TwoWay {
    layers: Vec<Layer>,
    final_attention: TokenToImage,
    final_norm: LayerNorm,
}

/// Image cells with the projections that the first layer needs of them, (1 or P, N, ...).
#[derive(Debug, Clone)]
pub(super) struct ImageSide {
    cells: Tensor,
    projected: Tensor,
}

impl ImageSide {
    pub(super) fn tensors(&self) -> [&Tensor; 2] {
        [&self.cells, &self.projected]
    }

    /// Memory of its own, of the same shapes.
    pub(super) fn blank(&self) -> Candle<Self> {
        Ok(Self {
            cells: self.cells.zeros_like()?,
            projected: self.projected.zeros_like()?,
        })
    }
}

impl TwoWay {
    pub(super) fn load(config: &MaskDecoderConfig, positions: &Tensor, vb: VarBuilder<'_>) -> Candle<Self> {
        // in the original code and in `transformers` alike, whatever the config says of the other norms
        const FINAL_EPS: f64 = 1e-5;
        let width = config.hidden_size;
        let inner = width / config.attention_downsample_rate;
        let heads = config.num_attention_heads;
        let last = vb.pp("final_attn_token_to_image");
        Ok(Self {
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(config, positions, vb.pp("layers").pp(i)))
                .collect::<Candle<_>>()?,
            final_attention: TokenToImage {
                ends: Ends::load(width, inner, heads, last.clone())?,
                image: OnImage::load(
                    width,
                    inner,
                    &[(&last, "k_proj", true), (&last, "v_proj", false)],
                    positions,
                )?,
            },
            final_norm: LayerNorm::load(width, FINAL_EPS, vb.pp("layer_norm_final_attn"))?,
        })
    }

    pub(super) fn image_side(&self, cells: &Tensor) -> Candle<ImageSide> {
        let projected = match self.layers.first() {
            Some(layer) => layer.image.forward(cells)?,
            None => self.final_attention.image.forward(cells)?,
        };
        Ok(ImageSide {
            cells: cells.clone(),
            projected,
        })
    }

    /// `tokens` (P, T, C) to queries (P, T, C) and keys (P, N, C).
    pub(super) fn forward(
        &self,
        image: &ImageSide,
        tokens: &Tensor,
        observer: &mut dyn Observer,
    ) -> Result<(Tensor, Tensor)> {
        let mut queries = tokens.clone();
        let mut keys = image.cells.clone();
        let mut projected = image.projected.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            (queries, keys) = layer.forward(i == 0, &queries, &keys, &projected, tokens)?;
            queries = observer.stage(Stage::nth("decoder.queries", i), queries)?;
            keys = observer.stage(Stage::nth("decoder.keys", i), keys)?;
            projected = match self.layers.get(i + 1) {
                Some(next) => next.image.forward(&keys)?,
                None => self.final_attention.image.forward(&keys)?,
            };
        }
        let attended = self
            .final_attention
            .forward(&(&queries + tokens)?, &projected, &queries)?;
        let queries = self.final_norm.forward(&attended)?;
        let queries = observer.stage(Stage::of("decoder.queries.final"), queries)?;
        Ok((queries, keys))
    }
}

#[derive(Debug, Clone)]
struct Layer {
    self_attention: SelfAttention,
    norm1: LayerNorm,
    token_to_image: Ends,
    norm2: LayerNorm,
    lin1: Linear,
    act: Activation,
    lin2: Linear,
    norm3: LayerNorm,
    image_to_token: TokenSide,
    norm4: LayerNorm,
    /// Keys and values of token-to-image attention, then the queries of image-to-token attention.
    image: OnImage,
    heads: usize,
}

impl Layer {
    fn load(config: &MaskDecoderConfig, positions: &Tensor, vb: VarBuilder<'_>) -> Candle<Self> {
        let (width, heads) = (config.hidden_size, config.num_attention_heads);
        let inner = width / config.attention_downsample_rate;
        let norm = |i: usize| LayerNorm::load(width, config.layer_norm_eps, vb.pp(format!("layer_norm{i}")));
        let (to_image, to_token) = (
            vb.pp("cross_attn_token_to_image"),
            vb.pp("cross_attn_image_to_token"),
        );
        let on_image = [
            (&to_image, "k_proj", true),
            (&to_image, "v_proj", false),
            (&to_token, "q_proj", true),
        ];
        Ok(Self {
            self_attention: SelfAttention::load(width, heads, vb.pp("self_attn"))?,
            norm1: norm(1)?,
            token_to_image: Ends::load(width, inner, heads, to_image.clone())?,
            norm2: norm(2)?,
            lin1: Linear::load(width, config.mlp_dim, true, vb.pp("mlp.lin1"))?,
            act: config.hidden_act,
            lin2: Linear::load(config.mlp_dim, width, true, vb.pp("mlp.lin2"))?,
            norm3: norm(3)?,
            image_to_token: TokenSide::load(width, inner, heads, to_token.clone())?,
            norm4: norm(4)?,
            image: OnImage::load(width, inner, &on_image, positions)?,
            heads,
        })
    }

    fn forward(
        &self,
        first: bool,
        queries: &Tensor,
        keys: &Tensor,
        projected: &Tensor,
        positions: &Tensor,
    ) -> Candle<(Tensor, Tensor)> {
        // The first layer has neither positions nor a residual here.
        let queries = if first {
            self.self_attention.forward(queries, queries, None)?
        } else {
            let placed = (queries + positions)?;
            self.self_attention.forward(&placed, queries, Some(queries))?
        };
        let queries = self.norm1.forward(&queries)?;

        let part = |i: usize| self.image.part(projected, i, self.heads);
        let placed = (&queries + positions)?;
        let attended = self
            .token_to_image
            .forward(&placed, &part(0)?, &part(1)?, &queries)?;
        let queries = self.norm2.forward(&attended)?;

        let hidden = self.act.after(&self.lin1, &queries)?;
        let queries = self.norm3.forward(&self.lin2.forward_onto(&hidden, &queries)?)?;

        let placed = (&queries + positions)?;
        let attended = self.image_to_token.forward(&part(2)?, &placed, &queries, keys)?;
        Ok((queries, self.norm4.forward(&attended)?))
    }
}

/// Several projections of the image's cells in one product. Those "with positions" see `cells + positions`: as that
/// is linear, `W positions` is computed once when the model is loaded and added in place of the bias.
#[derive(Debug, Clone)]
struct OnImage {
    weight: Linear,
    /// (1, N, sum of widths)
    offset: Tensor,
    parts: usize,
}

impl OnImage {
    fn load(
        width: usize,
        inner: usize,
        parts: &[(&VarBuilder<'_>, &str, bool)],
        positions: &Tensor,
    ) -> Candle<Self> {
        let (mut weights, mut offsets) = (Vec::new(), Vec::new());
        for (vb, name, with_positions) in parts {
            let vb = vb.pp(name);
            let (weight, bias) = (vb.get((inner, width), "weight")?, vb.get(inner, "bias")?);
            let n = positions.dim(1)?;
            offsets.push(if *with_positions {
                Linear::new(weight.clone(), Some(bias)).forward(positions)?
            } else {
                bias.reshape((1, 1, inner))?
                    .broadcast_as((1, n, inner))?
                    .contiguous()?
            });
            weights.push(weight);
        }
        Ok(Self {
            weight: Linear::new(Tensor::cat(&weights, 0)?, None),
            offset: Tensor::cat(&offsets, 2)?,
            parts: parts.len(),
        })
    }

    fn forward(&self, cells: &Tensor) -> Candle<Tensor> {
        self.weight.forward_onto(cells, &self.offset)
    }

    /// One projection out of [`OnImage::forward`]'s, as heads: (B, heads, N, d), without a copy.
    fn part(&self, projected: &Tensor, i: usize, heads: usize) -> Candle<Tensor> {
        let (b, n, c) = projected.dims3()?;
        projected
            .reshape((b, n, self.parts, heads, c / self.parts / heads))?
            .narrow(2, i, 1)?
            .squeeze(2)?
            .transpose(1, 2)
    }
}

/// (B, N, C) as (B, heads, N, C / heads), without a copy.
fn split_heads(x: &Tensor, heads: usize) -> Candle<Tensor> {
    let (b, n, c) = x.dims3()?;
    x.reshape((b, n, heads, c / heads))?.transpose(1, 2)
}

fn scale(inner: usize, heads: usize) -> f32 {
    ((inner / heads) as f64).powf(-0.5) as f32
}

/// The query and output projections of token-to-image attention; keys and values come from [`OnImage`].
#[derive(Debug, Clone)]
struct Ends {
    q: Linear,
    out: Linear,
    heads: usize,
    scale: f32,
}

impl Ends {
    fn load(width: usize, inner: usize, heads: usize, vb: VarBuilder<'_>) -> Candle<Self> {
        Ok(Self {
            q: Linear::load(width, inner, true, vb.pp("q_proj"))?,
            out: Linear::load(inner, width, true, vb.pp("out_proj"))?,
            heads,
            scale: scale(inner, heads),
        })
    }

    /// `tokens` and `residual` (P, T, C), `k` and `v` (1 or P, heads, N, d) to (P, T, C).
    fn forward(&self, tokens: &Tensor, k: &Tensor, v: &Tensor, residual: &Tensor) -> Candle<Tensor> {
        let (p, t, _) = tokens.dims3()?;
        let q = self.q.forward(tokens)?;
        let inner = q.dim(2)?;
        let shared = k.dim(0)? == 1 && p > 1;
        // Tokens of all prompts are queries of one attention where they share keys and values.
        let q = if shared { q.reshape((1, p * t, inner))? } else { q };
        let q = split_heads(&q, self.heads)?;
        let out = nn::attention(&q, k, v, self.scale, AttentionMask::None)?;
        let out = out.reshape((p, t, inner))?;
        self.out.forward_onto(&out, residual)
    }
}

/// Token-to-image attention with its own projections of the image.
#[derive(Debug, Clone)]
struct TokenToImage {
    ends: Ends,
    image: OnImage,
}

impl TokenToImage {
    fn forward(&self, tokens: &Tensor, projected: &Tensor, residual: &Tensor) -> Candle<Tensor> {
        let part = |i: usize| self.image.part(projected, i, self.ends.heads);
        self.ends.forward(tokens, &part(0)?, &part(1)?, residual)
    }
}

/// The key, value and output projections of image-to-token attention; queries come from [`OnImage`].
#[derive(Debug, Clone)]
struct TokenSide {
    k: Linear,
    v: Linear,
    out: Linear,
    scale: f32,
}

impl TokenSide {
    fn load(width: usize, inner: usize, heads: usize, vb: VarBuilder<'_>) -> Candle<Self> {
        Ok(Self {
            k: Linear::load(width, inner, true, vb.pp("k_proj"))?,
            v: Linear::load(width, inner, true, vb.pp("v_proj"))?,
            out: Linear::load(inner, width, true, vb.pp("out_proj"))?,
            scale: scale(inner, heads),
        })
    }

    /// `q` (1 or P, heads, N, d), tokens (P, T, C), `residual` (1 or P, N, C) to (P, N, C).
    fn forward(&self, q: &Tensor, placed: &Tensor, tokens: &Tensor, residual: &Tensor) -> Candle<Tensor> {
        let (_, heads, n, d) = q.dims4()?;
        let p = tokens.dim(0)?;
        let q = q.broadcast_as((p, heads, n, d))?;
        let k = split_heads(&self.k.forward(placed)?, heads)?;
        let v = split_heads(&self.v.forward(tokens)?, heads)?;
        let out = nn::attention(&q, &k, &v, self.scale, AttentionMask::None)?;
        let out = out.reshape((p, n, heads * d))?;
        self.out.forward_onto(&out, residual)
    }
}

#[derive(Debug, Clone)]
struct SelfAttention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: usize,
    scale: f32,
}

impl SelfAttention {
    fn load(width: usize, heads: usize, vb: VarBuilder<'_>) -> Candle<Self> {
        let linear = |name| Linear::load(width, width, true, vb.pp(name));
        Ok(Self {
            q: linear("q_proj")?,
            k: linear("k_proj")?,
            v: linear("v_proj")?,
            out: linear("out_proj")?,
            heads,
            scale: scale(width, heads),
        })
    }

    /// Queries and keys from `placed`, values from `values`; all (P, T, C).
    fn forward(&self, placed: &Tensor, values: &Tensor, residual: Option<&Tensor>) -> Candle<Tensor> {
        let heads = |x: &Tensor| split_heads(x, self.heads);
        let (q, k, v) = (
            self.q.forward(placed)?,
            self.k.forward(placed)?,
            self.v.forward(values)?,
        );
        let out = nn::attention(
            &heads(&q)?,
            &heads(&k)?,
            &heads(&v)?,
            self.scale,
            AttentionMask::None,
        )?;
        let out = out.reshape(values.shape())?;
        match residual {
            Some(residual) => self.out.forward_onto(&out, residual),
            None => self.out.forward(&out),
        }
    }
}
