//! Segment Anything: ViT-B/L/H and MobileSAM, prompted by points, boxes and masks, or by a grid of points.
//!
//! ```no_run
//! # use dragunov_models::{checkpoint::Checkpoint, observer::Unobserved, sam::{Prompt, Sam}, RgbImage};
//! # fn f(photo: RgbImage) -> dragunov_models::Result<()> {
//! let device = candle_core::Device::Cpu;
//! let sam = Sam::load(&Checkpoint::open("sam-vit-base")?, candle_core::DType::F32, &device)?;
//! let embedding = sam.embed(&photo, &mut Unobserved)?; // the slow part, once for a photo
//! for prediction in sam.predict(&embedding, &[Prompt::point(120.0, 80.0)], true, &mut Unobserved)? {
//!     println!("{:?}", prediction.best().map(|c| c.mask.area()));
//! }
//! # Ok(()) }
//! ```
//!
//! Equal to `transformers.SamModel` stage by stage (`tests/parity/sam.rs`), with two choices of the original code
//! where the two differ: a mask prompt belongs to its prompt and not to the whole image, and automatic masks follow
//! the original generator.
//!
//! Stages that an [`Observer`] sees:
//!
//! | stage | tensor |
//! |---|---|
//! | `vision.patch` | patches with positions, (B, N, C); ViT only |
//! | `vision.attention.i` | block 0 only: attention of the normed input, (B, N, C) |
//! | `vision.block.i`, `vision.stage.i` | (B, N, C); of MobileSAM's stages only the last is read back |
//! | `vision.embedding` | after the neck, (B, N, C) |
//! | `prompt.sparse`, `prompt.dense` | (P, T, C); (P, N, C) |
//! | `decoder.queries.i`, `decoder.keys.i` | (P, T, C); (P, N, C) |
//! | `decoder.queries.final` | (P, T, C) |
//! | `decoder.upscaled` | (P, N, 2, 2, 2, 2, C / 8): cell, then row and column inside it at 1/2, then at 1/4 |
//!
//! The last five are not seen where a GPU launches the decoder as a graph (`DRAGUNOV_CUDA_GRAPHS=1`), for observers that do not
//! [look inside](Observer::looks_inside).

mod amg;
mod composite;
mod config;
mod decoder;
mod layout;
mod neck;
mod predict;
mod preprocess;
mod prompt;
mod replay;
mod tiny_vit;
mod two_way;
mod vit;
mod window;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

pub use amg::{
    AmgConfig, AutoMask, Crop, Logits, PointMask, PointPrompted, Sieve, SievedMask, crop_boxes, generate,
    point_grid,
};
pub use composite::{Composite, THRESHOLD};
pub use config::{
    Activation, MaskDecoderConfig, PromptEncoderConfig, SamConfig, TinyVitConfig, VisionConfig, VitConfig,
};
pub use predict::{Candidate, Draw, DrawnMask, Prediction};
pub use preprocess::{Fit, Preprocess, Resampler};
pub use prompt::{Label, MaskLogits, Prompt};

use crate::checkpoint::Checkpoint;
use crate::observer::Observer;
use crate::{ModelError, Result, RgbImage};
use decoder::MaskDecoder;
use prompt::PromptEncoder;
use replay::Replays;
use tiny_vit::TinyVit;
use two_way::ImageSide;
use vit::Vit;

#[derive(Debug, Clone)]
enum Encoder {
    Vit(Vit),
    TinyVit(TinyVit),
}

/// A loaded model.
#[derive(Debug, Clone)]
pub struct Sam {
    config: SamConfig,
    preprocess: Preprocess,
    encoder: Encoder,
    prompts: PromptEncoder,
    decoder: MaskDecoder,
    replays: Replays,
    dtype: DType,
    device: Device,
}

/// One photo seen by the image encoder, with the decoder work that no prompt changes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Embedding {
    /// (1, N, C)
    cells: Tensor,
    unmasked: ImageSide,
    fit: Fit,
}

impl Embedding {
    /// Sizes of the photo, before and after the resize to the encoder's input.
    pub fn fit(&self) -> Fit {
        self.fit
    }

    /// (1, N, C), row by row.
    pub fn cells(&self) -> &Tensor {
        &self.cells
    }
}

impl Sam {
    /// Reads a checkpoint in the Hugging Face or the original key layout. Without `config.json`, an original file
    /// tells its sizes by its tensors.
    ///
    /// # Errors
    /// [`ModelError::Precision`] for anything but f32 and bf16; otherwise what is wrong with the files.
    pub fn load(checkpoint: &Checkpoint, dtype: DType, device: &Device) -> Result<Self> {
        let stored = checkpoint.stored_tensors()?;
        let original = layout::is_original(&stored);
        let config: SamConfig = if !checkpoint.has("config.json") && original {
            layout::infer(checkpoint, &stored)?
        } else {
            checkpoint.expect_type(&["sam", "mobile_sam"])?;
            checkpoint.json("config.json")?
        };
        config.validate(checkpoint)?;
        check_precision(&config, dtype)?;
        let preprocess = if original && !has_processor(checkpoint) {
            Preprocess::original(config.image_size())
        } else {
            Preprocess::from_checkpoint(checkpoint, config.image_size())?
        };
        let depth = config.mask_decoder_config.iou_head_depth;
        let layout = move |key: &str, _: &[usize]| {
            let mut aliases = layout::aliases(key);
            if original {
                for alias in &mut aliases {
                    alias.name = layout::rename_heads(&alias.name, depth);
                }
            }
            aliases
        };
        checkpoint.load(&layout, dtype, device, |vb| {
            Self::load_weights(config, preprocess, vb)
        })
    }

    /// Builds the model of a valid `config` from weights under the names of the Hugging Face layout.
    ///
    /// # Errors
    /// Missing and mis-shaped tensors.
    pub fn load_weights(
        config: SamConfig,
        preprocess: Preprocess,
        vb: VarBuilder<'_>,
    ) -> candle_core::Result<Self> {
        let vision = vb.pp("vision_encoder");
        let encoder = match &config.vision_config {
            VisionConfig::Vit(c) => Encoder::Vit(Vit::load(c, vision)?),
            VisionConfig::TinyVit(c) => Encoder::TinyVit(TinyVit::load(c, vision)?),
        };
        let prompts = PromptEncoder::load(&config.prompt_encoder_config, vb.clone())?;
        let positions = prompts.dense_positions()?;
        let decoder = vb.pp("mask_decoder");
        let decoder = MaskDecoder::load(&config.mask_decoder_config, config.grid(), &positions, decoder)?;
        Ok(Self {
            config,
            preprocess,
            encoder,
            prompts,
            decoder,
            replays: Replays::default(),
            dtype: vb.dtype(),
            device: vb.device().clone(),
        })
    }

    pub fn config(&self) -> &SamConfig {
        &self.config
    }

    pub fn preprocess(&self) -> &Preprocess {
        &self.preprocess
    }

    /// Runs the image encoder on one photo.
    ///
    /// # Errors
    /// [`ModelError::Image`] if the photo is too elongated for the encoder's input, and what `observer` answers.
    pub fn embed(&self, image: &RgbImage, observer: &mut dyn Observer) -> Result<Embedding> {
        let mut all = self.embed_batch(&[image], observer)?;
        // one photo in, one embedding out
        all.pop()
            .ok_or_else(|| ModelError::Compute(candle_core::Error::Msg("an empty batch".into())))
    }

    /// Several photos in one pass of the encoder.
    ///
    /// # Errors
    /// As [`Sam::embed`].
    pub fn embed_batch(&self, images: &[&RgbImage], observer: &mut dyn Observer) -> Result<Vec<Embedding>> {
        if images.is_empty() {
            return Ok(Vec::new());
        }
        let fits = images
            .iter()
            .map(|image| self.preprocess.fit(image.width(), image.height()))
            .collect::<Result<Vec<_>>>()?;
        let pixels = self.preprocess.pixel_values(images, self.dtype, &self.device)?;
        let cells = self.encode(&pixels, observer)?;
        fits.into_iter()
            .enumerate()
            .map(|(i, fit)| {
                let cells = cells.narrow(0, i, 1)?.contiguous()?;
                let unmasked = cells.broadcast_add(self.prompts.no_mask())?;
                Ok(Embedding {
                    unmasked: self.decoder.image_side(&unmasked)?,
                    cells,
                    fit,
                })
            })
            .collect()
    }

    /// The encoder alone: normalised pixels (B, 3, side, side) to cells (B, N, C).
    ///
    /// # Errors
    /// Pixels of another size, and what `observer` answers.
    pub fn encode(&self, pixels: &Tensor, observer: &mut dyn Observer) -> Result<Tensor> {
        let side = self.config.image_size();
        let (_, c, h, w) = pixels.dims4()?;
        if (c, h, w) != (3, side, side) {
            let found = pixels.shape();
            let message = format!("encoder input {found:?}, expected (B, 3, {side}, {side})");
            return Err(ModelError::Compute(candle_core::Error::Msg(message)));
        }
        match &self.encoder {
            Encoder::Vit(vit) => vit.forward(pixels, observer),
            Encoder::TinyVit(vit) => vit.forward(pixels, observer),
        }
    }

    /// Positional encoding of the embedding's cells, (1, N, C).
    ///
    /// # Errors
    /// The device's own.
    pub fn cell_positions(&self) -> Result<Tensor> {
        Ok(self.prompts.dense_positions()?)
    }
}

fn has_processor(checkpoint: &Checkpoint) -> bool {
    checkpoint.has("preprocessor_config.json") || checkpoint.has("processor_config.json")
}

fn check_precision(config: &SamConfig, dtype: DType) -> Result<()> {
    if matches!(dtype, DType::F32 | DType::BF16) {
        return Ok(());
    }
    let (model, reason) = match (&config.vision_config, dtype) {
        (VisionConfig::TinyVit(_), DType::F16) => ("MobileSAM", "its features overflow in half precision"),
        (VisionConfig::Vit(_), DType::F16) => ("SAM", "ViT-H overflows in half precision; use bf16"),
        _ => ("SAM", "only f32 and bf16 are supported"),
    };
    Err(ModelError::Precision { model, dtype, reason })
}
