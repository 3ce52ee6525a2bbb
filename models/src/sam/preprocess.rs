//! Photo to encoder input: longest side to the input side, ImageNet normalisation, then zero padding.

use candle_core::{DType, Device, Tensor};
use dragunov_kernels::{Levels, PixelOrder, byte_pixels};
use serde::Deserialize;

use crate::checkpoint::Checkpoint;
use crate::resample::{self, Filter};
use crate::{ImagePx, ModelError, Point, Result, RgbImage};

/// Whose resize is reproduced (they differ by one level in some pixels).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resampler {
    /// The original code, and `transformers`' image processor without torchvision.
    Pillow,
    /// `transformers`' image processor as it is loaded by default.
    Torchvision,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Preprocess {
    /// Side of the padded square, and of the longest edge of the picture in it.
    side: usize,
    /// On the scale 0..=255.
    mean: [f32; 3],
    std: [f32; 3],
    filter: Filter,
    resampler: Resampler,
}

/// The parts of `preprocessor_config.json` that change the result.
#[derive(Debug, Deserialize)]
#[serde(default)]
struct ProcessorFile {
    image_processor_type: String,
    do_resize: bool,
    do_rescale: bool,
    do_normalize: bool,
    do_pad: bool,
    rescale_factor: f64,
    image_mean: [f64; 3],
    image_std: [f64; 3],
    resample: u32,
    size: Option<LongestEdge>,
    pad_size: Option<PadSize>,
}

impl Default for ProcessorFile {
    fn default() -> Self {
        Self {
            image_processor_type: "SamImageProcessor".to_owned(),
            do_resize: true,
            do_rescale: true,
            do_normalize: true,
            do_pad: true,
            rescale_factor: 1.0 / 255.0,
            image_mean: [0.485, 0.456, 0.406],
            image_std: [0.229, 0.224, 0.225],
            resample: 2,
            size: None,
            pad_size: None,
        }
    }
}

#[derive(Debug, Deserialize)]
struct LongestEdge {
    longest_edge: usize,
}

#[derive(Debug, Deserialize)]
struct PadSize {
    height: usize,
    width: usize,
}

impl Preprocess {
    /// What the original code does with a photo, for an encoder of `side` pixels.
    pub fn original(side: usize) -> Self {
        Self {
            side,
            mean: [123.675, 116.28, 103.53],
            std: [58.395, 57.12, 57.375],
            filter: Filter::Bilinear,
            resampler: Resampler::Pillow,
        }
    }

    /// The processor of a Hugging Face checkpoint, or that library's defaults at the encoder's size.
    ///
    /// # Errors
    /// [`ModelError::Config`] for options that this encoder cannot honour.
    pub(super) fn from_checkpoint(checkpoint: &Checkpoint, side: usize) -> Result<Self> {
        let (name, file) = checkpoint
            .image_processor()?
            .unwrap_or(("preprocessor_config.json", ProcessorFile::default()));
        let refuse = |field, value: String, reason: &str| {
            Err(ModelError::Config {
                path: checkpoint.path(name),
                field,
                value,
                reason: reason.to_owned(),
            })
        };
        for (field, on) in [
            ("do_resize", file.do_resize),
            ("do_rescale", file.do_rescale),
            ("do_normalize", file.do_normalize),
            ("do_pad", file.do_pad),
        ] {
            if !on {
                return refuse(field, "false".into(), "this step cannot be left out");
            }
        }
        let reason = format!("the encoder's image_size is {side}");
        if let Some(size) = &file.size
            && size.longest_edge != side
        {
            return refuse("size.longest_edge", size.longest_edge.to_string(), &reason);
        }
        if let Some(pad) = &file.pad_size
            && (pad.height, pad.width) != (side, side)
        {
            return refuse("pad_size", format!("{} x {}", pad.height, pad.width), &reason);
        }
        let filter = match file.resample {
            2 => Filter::Bilinear,
            3 => Filter::Bicubic,
            other => return refuse("resample", other.to_string(), "only 2 (bilinear) and 3 (bicubic)"),
        };
        let positive = |value: &f64| *value > 0.0;
        if !file.image_std.iter().all(positive) {
            return refuse("image_std", format!("{:?}", file.image_std), "must be positive");
        }
        if !positive(&file.rescale_factor) {
            return refuse(
                "rescale_factor",
                file.rescale_factor.to_string(),
                "must be positive",
            );
        }
        // The two steps are fused as torchvision's backend fuses them: one subtraction and one division in f32.
        let scale = (1.0 / file.rescale_factor) as f32;
        let resampler = if file.image_processor_type.ends_with("Pil") {
            Resampler::Pillow
        } else {
            Resampler::Torchvision
        };
        Ok(Self {
            side,
            mean: file.image_mean.map(|m| m as f32 * scale),
            std: file.image_std.map(|s| s as f32 * scale),
            filter,
            resampler,
        })
    }

    pub fn side(&self) -> usize {
        self.side
    }

    /// How a picture of `width` x `height` pixels lies in the encoder's input.
    ///
    /// # Errors
    /// [`ModelError::Image`] if the picture is so elongated that a side would shrink to nothing.
    pub fn fit(&self, width: usize, height: usize) -> Result<Fit> {
        let scale = self.side as f64 / width.max(height) as f64;
        let scaled = |n: usize| (n as f64 * scale + 0.5) as usize;
        let (w, h) = (scaled(width), scaled(height));
        if w == 0 || h == 0 {
            let reason = format!(
                "too elongated: scaled to {} pixels its short side vanishes",
                self.side
            );
            return Err(ModelError::Image {
                width,
                height,
                reason,
            });
        }
        Ok(Fit {
            original: (width, height),
            resized: (w, h),
        })
    }

    /// The resized picture, before normalisation and padding.
    pub fn resize(&self, image: &RgbImage) -> Result<RgbImage> {
        let (w, h) = self.fit(image.width(), image.height())?.resized;
        match self.resampler {
            Resampler::Pillow => resample::pil(image, w, h, self.filter),
            Resampler::Torchvision => resample::torchvision_u8(image, w, h, self.filter),
        }
    }

    /// Encoder input (images, 3, side, side) of `dtype`, right and bottom padded with zeros: made on the device from the bytes of the
    /// photos.
    ///
    /// # Errors
    /// [`ModelError::Image`] if a photo is too elongated; no photo.
    pub fn pixel_values(&self, images: &[&RgbImage], dtype: DType, device: &Device) -> Result<Tensor> {
        let levels: Levels =
            std::array::from_fn(|c| std::array::from_fn(|byte| (byte as f32 - self.mean[c]) / self.std[c]));
        let order = PixelOrder::Planes {
            height: self.side,
            width: self.side,
        };
        let prepared = images.iter().map(|image| {
            let size = self.fit(image.width(), image.height())?.resized;
            let passes = match self.resampler {
                Resampler::Pillow => resample::pil_passes(image, size, self.filter)?,
                Resampler::Torchvision => resample::torchvision_passes(image, size, self.filter)?,
            };
            Ok(byte_pixels(
                image.picture(),
                &passes,
                &levels,
                order,
                dtype,
                device,
            )?)
        });
        Ok(Tensor::cat(&prepared.collect::<Result<Vec<_>>>()?, 0)?)
    }
}

/// Sizes of a photo before and after the resize, (width, height).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    pub original: (usize, usize),
    pub resized: (usize, usize),
}

impl Fit {
    /// Photo pixels to input pixels, in f64 as the reference does; each axis has its own rounded ratio.
    pub(super) fn to_input(self, point: Point<ImagePx>) -> (f64, f64) {
        let ratio = |new: usize, old: usize| new as f64 / old as f64;
        (
            point.x * ratio(self.resized.0, self.original.0),
            point.y * ratio(self.resized.1, self.original.1),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_round_as_the_reference_does() {
        let p = Preprocess::original(1024);
        for ((h, w), (nh, nw)) in [
            ((480, 640), (768, 1024)),
            ((1080, 1920), (576, 1024)),
            ((427, 640), (683, 1024)),
            ((333, 500), (682, 1024)),
            ((1500, 1000), (1024, 683)),
            ((1, 1000), (1, 1024)),
            ((1, 1), (1024, 1024)),
        ] {
            assert_eq!(p.fit(w, h).unwrap().resized, (nw, nh), "{h} x {w}");
        }
    }

    #[test]
    fn a_vanishing_side_is_refused() {
        let error = Preprocess::original(1024).fit(5000, 1).unwrap_err();
        assert!(error.to_string().contains("5000 x 1"), "{error}");
        assert!(Preprocess::original(1024).fit(2000, 1).is_ok());
    }
}
