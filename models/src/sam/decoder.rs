//! The mask decoder: a two-way transformer between prompt tokens and image cells, then upscaling and the heads.
//!
//! Everything that does not depend on the prompt is computed once for an image ([`ImageSide`]), and the upscaled
//! features keep the order of cells until the last product, so that only finished logits are moved.

use candle_core::{Module, Result as Candle, Tensor};
use candle_nn::VarBuilder;
use dragunov_kernels::works_in_pieces;

use super::config::MaskDecoderConfig;
use super::two_way::{ImageSide, TwoWay};
use crate::Result;
use crate::nn::{self, LayerNorm, Linear};
use crate::observer::{Observer, Stage};

#[derive(Debug, Clone)]
pub(super) struct MaskDecoder {
    /// (1, 1 + masks, C): the quality token and the mask tokens.
    output_tokens: Tensor,
    transformer: TwoWay,
    upscale1: Linear,
    upscale_norm: LayerNorm,
    upscale2: Linear,
    hyper: Vec<Head>,
    quality: Head,
    masks: usize,
    grid: usize,
}

/// Logits (P, M, 4 grid, 4 grid) and predicted IoU (P, M).
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) logits: Tensor,
    pub(super) iou: Tensor,
}

impl MaskDecoder {
    /// `positions` is the encoding of the image's cells, (1, N, C).
    pub(super) fn load(
        config: &MaskDecoderConfig,
        grid: usize,
        positions: &Tensor,
        vb: VarBuilder<'_>,
    ) -> Candle<Self> {
        // fixed in the original code and in `transformers`; the config's epsilon is for the two-way blocks only
        const UPSCALE_EPS: f64 = 1e-6;
        let width = config.hidden_size;
        let masks = config.num_multimask_outputs + 1;
        let tokens = [
            vb.get((1, width), "iou_token.weight")?,
            vb.get((masks, width), "mask_tokens.weight")?,
        ];
        let hyper = vb.pp("output_hypernetworks_mlps");
        Ok(Self {
            output_tokens: Tensor::cat(&tokens, 0)?.reshape((1, 1 + masks, width))?,
            transformer: TwoWay::load(config, positions, vb.pp("transformer"))?,
            upscale1: double(width, width / 4, vb.pp("upscale_conv1"))?,
            upscale_norm: LayerNorm::load(width / 4, UPSCALE_EPS, vb.pp("upscale_layer_norm"))?,
            upscale2: double(width / 4, width / 8, vb.pp("upscale_conv2"))?,
            hyper: (0..masks)
                .map(|i| Head::load(width, width, width / 8, 3, hyper.pp(i)))
                .collect::<Candle<_>>()?,
            quality: Head::load(
                width,
                config.iou_head_hidden_dim,
                masks,
                config.iou_head_depth,
                vb.pp("iou_prediction_head"),
            )?,
            masks,
            grid,
        })
    }

    /// The part of the first block that only depends on the image (and on its dense map, (1, N, C) or per prompt).
    pub(super) fn image_side(&self, cells: &Tensor) -> Candle<ImageSide> {
        self.transformer.image_side(cells)
    }

    /// Memory for what [`Self::forward`] answers, of zeros.
    pub(super) fn blank(&self, prompts: usize, multimask: bool) -> Candle<Decoded> {
        let (masks, side) = (self.wanted(multimask).len(), 4 * self.grid);
        let of = &self.output_tokens;
        Ok(Decoded {
            logits: Tensor::zeros((prompts, masks, side, side), of.dtype(), of.device())?,
            iou: Tensor::zeros((prompts, masks), of.dtype(), of.device())?,
        })
    }

    /// Which of the mask tokens answer.
    fn wanted(&self, multimask: bool) -> std::ops::Range<usize> {
        if multimask { 1..self.masks } else { 0..1 }
    }

    /// `sparse` (P, T, C); `image` made from cells of batch 1 or P.
    ///
    /// With `multimask` the outputs of mask tokens 1.., without it that of token 0 alone.
    pub(super) fn forward(
        &self,
        image: &ImageSide,
        sparse: &Tensor,
        multimask: bool,
        observer: &mut dyn Observer,
    ) -> Result<Decoded> {
        let (prompts, _, width) = sparse.dims3()?;
        let outputs = self
            .output_tokens
            .broadcast_as((prompts, 1 + self.masks, width))?;
        let tokens = match sparse.dim(1)? {
            0 => outputs.contiguous()?,
            _ => Tensor::cat(&[&outputs, sparse], 1)?,
        };
        let (queries, keys) = self.transformer.forward(image, &tokens, observer)?;
        let wanted = self.wanted(multimask);
        let hyper = wanted
            .clone()
            .map(|i| self.hyper[i].forward(&queries.narrow(1, 1 + i, 1)?.squeeze(1)?))
            .collect::<Candle<Vec<_>>>()?;
        let hyper = Tensor::stack(&hyper, 1)?;
        let iou = self.quality.forward(&queries.narrow(1, 0, 1)?.squeeze(1)?)?;
        // The upscaled features of a prompt are 16 N rows, which stay in a CPU's cache.
        let together = match works_in_pieces(keys.device()) {
            true => 1,
            false => prompts.max(1),
        };
        let logits = (0..prompts)
            .step_by(together)
            .map(|p| {
                let n = together.min(prompts - p);
                self.masks(&keys.narrow(0, p, n)?, &hyper.narrow(0, p, n)?, observer)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Decoded {
            logits: Tensor::cat(&logits, 0)?,
            iou: iou.narrow(1, wanted.start, wanted.len())?,
        })
    }

    /// `keys` (P, N, C) and `hyper` (P, M, C / 8) to (P, M, 4 grid, 4 grid).
    fn masks(&self, keys: &Tensor, hyper: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let (p, n, c) = keys.dims3()?;
        let (g, m) = (self.grid, hyper.dim(1)?);
        let x = self.upscale1.forward(keys)?.reshape((p, n * 4, c / 4))?;
        let x = nn::gelu_erf(&self.upscale_norm.forward(&x)?)?;
        let x = self.upscale2.forward_activated(&x, nn::Activation::Gelu)?;
        let x = x.reshape((p, n * 16, c / 8))?;
        let x = observer.stage(Stage::of("decoder.upscaled"), x)?;
        let logits = x.matmul(&hyper.transpose(1, 2)?.contiguous()?)?;
        // (row, column, half row, half column, quarter row, quarter column) to rows and columns
        let logits = logits
            .reshape(vec![p, g, g, 2, 2, 2, 2, m])?
            .permute(vec![0, 7, 1, 3, 5, 2, 4, 6])?
            .reshape((p, m, 4 * g, 4 * g))?;
        Ok(logits)
    }
}

/// A transposed 2 x 2 convolution of stride 2: each input row gives four output rows, (row, column) of the square.
fn double(from: usize, to: usize, vb: VarBuilder<'_>) -> Candle<Linear> {
    let weight = vb.get((from, to, 2, 2), "weight")?;
    let weight = weight.permute((2, 3, 1, 0))?.reshape((4 * to, from))?;
    let bias = vb.get(to, "bias")?;
    let bias = bias.reshape((1, to))?.broadcast_as((4, to))?.reshape(4 * to)?;
    Ok(Linear::new(weight, Some(bias)))
}

/// An MLP with ReLU between its layers.
#[derive(Debug, Clone)]
struct Head(Vec<Linear>);

impl Head {
    fn load(from: usize, hidden: usize, to: usize, depth: usize, vb: VarBuilder<'_>) -> Candle<Self> {
        let mut layers = vec![Linear::load(from, hidden, true, vb.pp("proj_in"))?];
        for i in 0..depth - 2 {
            layers.push(Linear::load(hidden, hidden, true, vb.pp("layers").pp(i))?);
        }
        layers.push(Linear::load(hidden, to, true, vb.pp("proj_out"))?);
        Ok(Self(layers))
    }

    fn forward(&self, x: &Tensor) -> Candle<Tensor> {
        let mut x = x.clone();
        for (i, layer) in self.0.iter().enumerate() {
            let last = i + 1 == self.0.len();
            let f = if last {
                nn::Activation::Identity
            } else {
                nn::Activation::Relu
            };
            x = layer.forward_activated(&x, f)?;
        }
        Ok(x)
    }
}
