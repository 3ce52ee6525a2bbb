//! Depth Anything V2 (Yang et al. 2024): a DINOv2 backbone and a DPT decoder, any size, relative or metric.
//!
//! Loads the layout of the Hugging Face Hub, that of transformers 5 and that of the original repository. Two
//! [`Policy`]s reproduce the two official ways of preparing a photo, which differ in size, kernel and position
//! embedding.
//!
//! Stages that an [`Observer`] sees: `patch_embed`, `position`, `embeddings`, `block.{i}` (`.attention`, `.mlp.act`),
//! `tap.{k}`, `reassemble.{k}`, `rn.{k}`, `fusion.{k}` (`.fused`, `.up`), `head.conv1`, `head.up`, `head.conv3` and
//! `depth`.

mod backbone;
pub mod config;
mod dpt;
mod layout;
mod prepare;

use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use crate::checkpoint::Checkpoint;
use crate::nn::with_tf32;
use crate::observer::Observer;
use crate::resample::{TorchResize, resize_on_host};
use crate::{MetricDepth, ModelError, RelativeDisparity, Result, RgbImage};
use backbone::Backbone;
use config::{Config, Kind};
use dpt::Decoder;

pub use prepare::{Policy, Preprocessor};

/// Upper bound on the patches of one photo (518 x 3108 pixels at patch 14): beyond it the aspect ratio is absurd
/// and the activations would not fit.
pub const MAX_PATCHES: usize = 37 * 222;

/// A depth raster at the photo's size; which of the two depends on the checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub enum Depth {
    Relative(RelativeDisparity),
    Metric(MetricDepth),
}

impl Depth {
    /// Row-major values: unitless disparity (larger is nearer) or metres (larger is farther).
    pub fn values(&self) -> &[f32] {
        match self {
            Self::Relative(raster) => raster.values(),
            Self::Metric(raster) => raster.values(),
        }
    }

    /// (width, height) in pixels.
    pub fn size(&self) -> (usize, usize) {
        match self {
            Self::Relative(raster) => (raster.width(), raster.height()),
            Self::Metric(raster) => (raster.width(), raster.height()),
        }
    }
}

/// A loaded Depth Anything V2.
#[derive(Debug)]
pub struct DepthAnything {
    config: Config,
    preprocessor: Preprocessor,
    backbone: Backbone,
    decoder: Decoder,
    device: Device,
}

impl DepthAnything {
    /// Reads `config.json`, `preprocessor_config.json` (optional) and the weights. The backbone computes in
    /// `dtype`, the decoder in f32; behind a backbone of bf16 a GPU multiplies in its convolutions as TF32.
    ///
    /// # Errors
    /// [`ModelError::Precision`] for anything but f32 and bf16 (users report outliers in f16), a config that cannot
    /// be built, and every missing, mis-shaped or unknown tensor.
    pub fn load(checkpoint: &Checkpoint, dtype: DType, device: &Device) -> Result<Self> {
        if !matches!(dtype, DType::F32 | DType::BF16) {
            return Err(ModelError::Precision {
                model: "Depth Anything V2",
                dtype,
                reason: "use f32 or bf16",
            });
        }
        let config = Config::read(checkpoint)?;
        let preprocessor = Preprocessor::read(checkpoint)?;
        checkpoint.load(&layout::names, dtype, device, |vb| {
            Self::load_weights(config, preprocessor, vb)
        })
    }

    /// Builds the model from weights under the names of the Hugging Face layout.
    ///
    /// # Errors
    /// Missing and mis-shaped tensors.
    pub fn load_weights(
        config: Config,
        preprocessor: Preprocessor,
        vb: VarBuilder<'_>,
    ) -> candle_core::Result<Self> {
        let device = vb.device().clone();
        let backbone = Backbone::load(&config.backbone, vb.pp("backbone"))?;
        let decoder = Decoder::load(&config, vb.to_dtype(DType::F32))?;
        Ok(Self {
            config,
            preprocessor,
            backbone,
            decoder,
            device,
        })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The network's input (1, 3, H, W) in f32, made on its device from the bytes of the photo.
    ///
    /// # Errors
    /// [`ModelError::Image`] if the photo's aspect ratio leaves no patches, or too many.
    pub fn prepare(&self, photo: &RgbImage, policy: Policy) -> Result<Tensor> {
        let patch = self.config.backbone.patch_size;
        let side = self.config.backbone.image_size.0;
        let pixels = match policy {
            Policy::Hf => self.preprocessor.apply(photo, patch, &self.device)?,
            Policy::Original => prepare::original(photo, side, patch, &self.device)?,
        };
        let (_, _, height, width) = pixels.dims4()?;
        self.patches(height, width).map_err(|reason| ModelError::Image {
            width: photo.width(),
            height: photo.height(),
            reason,
        })?;
        Ok(pixels)
    }

    /// Rows and columns of patches of an input, or why it cannot be one.
    fn patches(&self, height: usize, width: usize) -> std::result::Result<(usize, usize), String> {
        let patch = self.config.backbone.patch_size;
        let (rows, columns) = (height / patch, width / patch);
        match rows.checked_mul(columns) {
            Some(0) | None => Err(format!(
                "prepared as {height} x {width}, which is less than one {patch} x {patch} patch"
            )),
            Some(n) if n > MAX_PATCHES => Err(format!(
                "prepared as {height} x {width}: {n} patches, at most {MAX_PATCHES} are allowed"
            )),
            Some(_) => Ok((rows, columns)),
        }
    }

    /// Normalised pixels (B, 3, H, W) to depth (B, h, w) in f32, `h` and `w` being H and W cut to whole patches.
    ///
    /// Relative checkpoints give disparity, metric ones metres.
    ///
    /// # Errors
    /// [`ModelError::Image`] if there is not one whole patch or there are more than [`MAX_PATCHES`], and what
    /// `observer` answers.
    pub fn forward(&self, pixels: &Tensor, policy: Policy, observer: &mut dyn Observer) -> Result<Tensor> {
        let (_, channels, height, width) = pixels.dims4()?;
        let refuse = |reason| ModelError::Image {
            width,
            height,
            reason,
        };
        if channels != 3 {
            return Err(refuse(format!("{channels} channels in place of 3")));
        }
        let grid = self.patches(height, width).map_err(refuse)?;
        let square = height == width;
        let taps = self.backbone.forward(pixels, grid, square, policy, observer)?;
        // What the backbone rounds to 8 bits need not be multiplied with 24.
        let rounded = taps.iter().any(|tap| tap.dtype() != DType::F32);
        with_tf32(rounded, || self.decoder.forward(&taps, grid, observer))
    }

    /// Prepares the photo, runs the network and resizes to the photo's size, each step as `policy` says.
    ///
    /// The `hf` resize is bicubic and may overshoot: values slightly below 0 occur, as in the reference.
    ///
    /// # Errors
    /// Those of [`Self::prepare`] and [`Self::forward`].
    pub fn infer(&self, photo: &RgbImage, policy: Policy, observer: &mut dyn Observer) -> Result<Depth> {
        let pixels = self.prepare(photo, policy)?;
        let depth = self.forward(&pixels, policy, observer)?;
        self.finish(&depth, photo, policy)
    }

    /// Several photos, in order: those that are prepared to the same size go through the network as one batch.
    ///
    /// # Errors
    /// As [`Self::infer`], if one of the photos cannot be done.
    pub fn infer_batch(
        &self,
        photos: &[&RgbImage],
        policy: Policy,
        observer: &mut dyn Observer,
    ) -> Result<Vec<Depth>> {
        let mut by_size: BTreeMap<(usize, usize), Vec<(usize, Tensor)>> = BTreeMap::new();
        for (i, photo) in photos.iter().enumerate() {
            let pixels = self.prepare(photo, policy)?;
            let (_, _, height, width) = pixels.dims4()?;
            by_size.entry((height, width)).or_default().push((i, pixels));
        }
        let mut done = Vec::with_capacity(photos.len());
        for group in by_size.into_values() {
            let (places, pixels): (Vec<usize>, Vec<Tensor>) = group.into_iter().unzip();
            let depth = self.forward(&Tensor::cat(&pixels, 0)?, policy, observer)?;
            for (row, place) in places.into_iter().enumerate() {
                done.push((
                    place,
                    self.finish(&depth.narrow(0, row, 1)?, photos[place], policy)?,
                ));
            }
        }
        done.sort_by_key(|(place, _)| *place);
        Ok(done.into_iter().map(|(_, depth)| depth).collect())
    }

    /// The network's answer (1, h, w) to one photo, at that photo's size.
    fn finish(&self, depth: &Tensor, photo: &RgbImage, policy: Policy) -> Result<Depth> {
        let depth = self.to_photo(depth, photo, policy)?;
        let (width, height) = (photo.width(), photo.height());
        let values = depth.flatten_all()?.to_vec1::<f32>()?;
        Ok(match self.config.kind {
            Kind::Relative => Depth::Relative(RelativeDisparity::new(width, height, values)?),
            Kind::Metric => Depth::Metric(MetricDepth::new(width, height, values)?),
        })
    }

    /// Depth (B, h, w) on the device to (B, H, W) on the host, at the photo's size.
    ///
    /// # Errors
    /// [`ModelError::Compute`] if the tensor has another rank.
    pub fn to_photo(&self, depth: &Tensor, photo: &RgbImage, policy: Policy) -> Result<Tensor> {
        let resize = match policy {
            Policy::Hf => TorchResize::bicubic(),
            Policy::Original => TorchResize::bilinear().align_corners(true),
        };
        resize_on_host(depth, photo.height(), photo.width(), &resize)
    }
}
