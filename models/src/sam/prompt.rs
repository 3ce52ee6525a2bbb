//! Points, boxes and masks to the tokens and the dense map that the decoder attends with.

use candle_core::{DType, Device, Module, Tensor};
use candle_nn::VarBuilder;

use super::config::{Activation, PromptEncoderConfig};
use super::layout::SHARED_EMBEDDING;
use super::preprocess::Fit;
use crate::nn::{LayerNorm, Linear};
use crate::{ImagePx, ModelError, Point, Rect, Result};

/// What a point says about the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Label {
    /// On the object (1).
    Foreground,
    /// Off the object (0).
    Background,
    /// No point at all; its place is not looked at (-1).
    NotAPoint,
    /// Fills a ragged batch as `transformers` does: a zero vector that still is attended to (-10).
    Padding,
}

/// Low-resolution logits, as a prompt to refine or as a result: row-major, `side` = 4 x the embedding's grid.
#[derive(Clone, PartialEq)]
pub struct MaskLogits {
    side: usize,
    values: Vec<f32>,
}

impl MaskLogits {
    /// # Errors
    /// [`ModelError::Prompt`] if `values` is not a square of `side`.
    pub fn new(side: usize, values: Vec<f32>) -> Result<Self> {
        if side == 0 || side.checked_mul(side) != Some(values.len()) {
            let n = values.len();
            return Err(ModelError::Prompt(format!(
                "{n} logits are no mask of {side} x {side}"
            )));
        }
        Ok(Self { side, values })
    }

    pub fn side(&self) -> usize {
        self.side
    }

    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl std::fmt::Debug for MaskLogits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MaskLogits({0} x {0})", self.side)
    }
}

/// One object: points, at most one box, at most one earlier mask; all in the photo's pixels.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prompt {
    pub points: Vec<(Point<ImagePx>, Label)>,
    pub rect: Option<Rect<ImagePx>>,
    pub mask: Option<MaskLogits>,
}

impl Prompt {
    /// A single foreground point.
    pub fn point(x: f64, y: f64) -> Self {
        Self {
            points: vec![(Point::new(x, y), Label::Foreground)],
            ..Self::default()
        }
    }

    pub fn rect(rect: Rect<ImagePx>) -> Self {
        Self {
            rect: Some(rect),
            ..Self::default()
        }
    }

    /// How many tokens it becomes: without a box, points are followed by one "not a point".
    pub(super) fn tokens(&self) -> usize {
        match (&self.rect, self.points.len()) {
            (Some(_), n) => n + 2,
            (None, 0) => 0,
            (None, n) => n + 1,
        }
    }

    /// # Errors
    /// [`ModelError::Prompt`] for anything outside the photo, a box inside out, a mask of the wrong size.
    fn check(&self, fit: Fit, mask_side: usize) -> Result<()> {
        let (w, h) = (fit.original.0 as f64, fit.original.1 as f64);
        // NaN fails these comparisons too
        let inside = |x: f64, y: f64| (0.0..=w).contains(&x) && (0.0..=h).contains(&y);
        let refuse = |what: String| Err(ModelError::Prompt(what));
        for (p, label) in &self.points {
            let placed = matches!(label, Label::Foreground | Label::Background);
            if placed && !inside(p.x, p.y) {
                return refuse(format!(
                    "point {},{} lies outside the image of {w} x {h} pixels",
                    p.x, p.y
                ));
            }
        }
        if let Some(r) = &self.rect {
            let text = format!("box {},{},{},{}", r.x0, r.y0, r.x1, r.y1);
            if !inside(r.x0, r.y0) || !inside(r.x1, r.y1) {
                return refuse(format!("{text} lies outside the image of {w} x {h} pixels"));
            }
            if r.x0 > r.x1 || r.y0 > r.y1 {
                return refuse(format!("{text} has its corners swapped"));
            }
        }
        match &self.mask {
            Some(mask) if mask.side != mask_side => refuse(format!(
                "{mask:?} given, this model takes {mask_side} x {mask_side}"
            )),
            _ => Ok(()),
        }
    }
}

/// Random Fourier features of positions, computed as the reference does (see [`PositionalEncoding::push`]).
#[derive(Debug, Clone)]
struct PositionalEncoding {
    /// Two rows of frequencies, for x and y.
    x: Vec<f32>,
    y: Vec<f32>,
}

impl PositionalEncoding {
    fn load(half: usize, vb: &VarBuilder<'_>) -> candle_core::Result<Self> {
        let rows = vb.to_dtype(DType::F32).get((2, half), SHARED_EMBEDDING)?;
        let mut rows = rows.to_device(&Device::Cpu)?.to_vec2::<f32>()?;
        let y = rows.pop().unwrap_or_default();
        let x = rows.pop().unwrap_or_default();
        Ok(Self { x, y })
    }

    /// Appends sines, then cosines, of a position in -1..1.
    ///
    /// Random checkpoints have frequencies so large that one rounding more or less shows in the sine, so the order
    /// of operations is PyTorch's: the product sum with one fused multiply-add, then 2 pi, all in f32.
    fn push(&self, x: f32, y: f32, out: &mut Vec<f32>) {
        let angle = |(gx, gy): (&f32, &f32)| std::f32::consts::TAU * y.mul_add(*gy, x * gx);
        let angles = || self.x.iter().zip(&self.y).map(angle);
        out.extend(angles().map(f32::sin));
        out.extend(angles().map(f32::cos));
    }
}

#[derive(Debug, Clone)]
pub(super) struct PromptEncoder {
    encoding: PositionalEncoding,
    /// Background, foreground, first and second box corner.
    point_embed: [Vec<f32>; 4],
    not_a_point: Vec<f32>,
    /// (1, 1, C)
    no_mask: Tensor,
    mask: MaskEncoder,
    width: usize,
    image_size: usize,
    grid: usize,
    dtype: DType,
    device: Device,
}

impl PromptEncoder {
    pub(super) fn load(config: &PromptEncoderConfig, vb: VarBuilder<'_>) -> candle_core::Result<Self> {
        let width = config.hidden_size;
        let encoder = vb.pp("prompt_encoder");
        let row = |name: &str| {
            let row = encoder.to_dtype(DType::F32).get((1, width), name)?;
            row.flatten_all()?.to_device(&Device::Cpu)?.to_vec1::<f32>()
        };
        Ok(Self {
            encoding: PositionalEncoding::load(width / 2, &vb)?,
            point_embed: [
                row("point_embed.0.weight")?,
                row("point_embed.1.weight")?,
                row("point_embed.2.weight")?,
                row("point_embed.3.weight")?,
            ],
            not_a_point: row("not_a_point_embed.weight")?,
            no_mask: encoder
                .get((1, width), "no_mask_embed.weight")?
                .reshape((1, 1, width))?,
            mask: MaskEncoder::load(config, encoder.pp("mask_embed"))?,
            width,
            image_size: config.image_size,
            grid: config.grid(),
            dtype: vb.dtype(),
            device: vb.device().clone(),
        })
    }

    /// Positions of the embedding's cells, (1, N, C).
    pub(super) fn dense_positions(&self) -> candle_core::Result<Tensor> {
        let n = self.grid as f32;
        let centre = |i: usize| 2.0 * ((i as f32 + 0.5) / n) - 1.0;
        let mut data = Vec::with_capacity(self.grid * self.grid * self.width);
        for y in 0..self.grid {
            for x in 0..self.grid {
                self.encoding.push(centre(x), centre(y), &mut data);
            }
        }
        self.tensor(data, (1, self.grid * self.grid, self.width))
    }

    /// What stands for the mask of a prompt that has none, (1, 1, C).
    pub(super) fn no_mask(&self) -> &Tensor {
        &self.no_mask
    }

    pub(super) fn check(&self, prompt: &Prompt, fit: Fit) -> Result<()> {
        prompt.check(fit, 4 * self.grid)
    }

    /// Prompts of `tokens` tokens each, to (P, tokens, C).
    pub(super) fn sparse(&self, prompts: &[&Prompt], tokens: usize, fit: Fit) -> candle_core::Result<Tensor> {
        let mut data = Vec::with_capacity(prompts.len() * tokens * self.width);
        for prompt in prompts {
            for &(point, label) in &prompt.points {
                match label {
                    Label::NotAPoint => data.extend_from_slice(&self.not_a_point),
                    Label::Padding => data.extend(std::iter::repeat_n(0.0, self.width)),
                    Label::Background => self.push(point, fit, 0, &mut data),
                    Label::Foreground => self.push(point, fit, 1, &mut data),
                }
            }
            match &prompt.rect {
                Some(r) => {
                    self.push(Point::new(r.x0, r.y0), fit, 2, &mut data);
                    self.push(Point::new(r.x1, r.y1), fit, 3, &mut data);
                }
                None if !prompt.points.is_empty() => data.extend_from_slice(&self.not_a_point),
                None => {}
            }
        }
        self.tensor(data, (prompts.len(), tokens, self.width))
    }

    /// Encoding of the pixel's centre plus the embedding of its meaning.
    fn push(&self, point: Point<ImagePx>, fit: Fit, meaning: usize, out: &mut Vec<f32>) {
        let (x, y) = fit.to_input(point);
        let unit = |v: f64| (2.0 * ((v + 0.5) / self.image_size as f64) - 1.0) as f32;
        let start = out.len();
        self.encoding.push(unit(x), unit(y), out);
        for (value, add) in out[start..].iter_mut().zip(&self.point_embed[meaning]) {
            *value += add;
        }
    }

    /// Masks cell by cell, (P, 16 N, 1).
    pub(super) fn masks(&self, masks: &[&MaskLogits]) -> candle_core::Result<Tensor> {
        let side = 4 * self.grid;
        let mut data = Vec::with_capacity(masks.len() * side * side);
        for mask in masks {
            data.extend_from_slice(&mask.values);
        }
        self.tensor(data, (masks.len(), side * side, 1))
    }

    /// [`Self::masks`] to maps, (P, N, C).
    pub(super) fn dense(&self, masks: &Tensor) -> candle_core::Result<Tensor> {
        self.mask.forward(masks, self.grid)
    }

    fn tensor(&self, data: Vec<f32>, shape: (usize, usize, usize)) -> candle_core::Result<Tensor> {
        Tensor::from_vec(data, shape, &self.device)?.to_dtype(self.dtype)
    }
}

/// Two 2 x 2 convolutions of stride 2 and one of 1 x 1: matrix products over regrouped pixels.
#[derive(Debug, Clone)]
struct MaskEncoder {
    conv1: Linear,
    norm1: LayerNorm,
    conv2: Linear,
    norm2: LayerNorm,
    conv3: Linear,
    act: Activation,
}

impl MaskEncoder {
    fn load(config: &PromptEncoderConfig, vb: VarBuilder<'_>) -> candle_core::Result<Self> {
        let (out, eps) = (config.mask_input_channels, config.layer_norm_eps);
        let conv = |from: usize, to: usize, kernel: usize, name: &str| {
            let vb = vb.pp(name);
            // columns in the order (row, column, channel) of the regrouped pixels
            let weight = vb
                .get((to, from, kernel, kernel), "weight")?
                .permute((0, 2, 3, 1))?;
            let weight = weight.reshape((to, kernel * kernel * from))?;
            candle_core::Result::Ok(Linear::new(weight, Some(vb.get(to, "bias")?)))
        };
        Ok(Self {
            conv1: conv(1, out / 4, 2, "conv1")?,
            norm1: LayerNorm::load(out / 4, eps, vb.pp("layer_norm1"))?,
            conv2: conv(out / 4, out, 2, "conv2")?,
            norm2: LayerNorm::load(out, eps, vb.pp("layer_norm2"))?,
            conv3: conv(out, config.hidden_size, 1, "conv3")?,
            act: config.hidden_act,
        })
    }

    /// (P, 16 * grid * grid, 1) to (P, grid * grid, C).
    fn forward(&self, masks: &Tensor, grid: usize) -> candle_core::Result<Tensor> {
        let x = self.conv1.forward(&two_by_two(masks, 2 * grid)?)?;
        let x = self.act.apply(&self.norm1.forward(&x)?)?;
        let x = self.conv2.forward(&two_by_two(&x, grid)?)?;
        let x = self.act.apply(&self.norm2.forward(&x)?)?;
        self.conv3.forward(&x)
    }
}

/// (P, 2 * half * 2 * half, C) to (P, half * half, 4 * C): each 2 x 2 square becomes one row.
fn two_by_two(x: &Tensor, half: usize) -> candle_core::Result<Tensor> {
    let (p, _, c) = x.dims3()?;
    x.reshape((p, half, 2, half, 2, c))?
        .permute((0, 1, 3, 2, 4, 5))?
        .reshape((p, half * half, 4 * c))
}
