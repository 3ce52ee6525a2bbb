//! From a photo to normalised pixels, in the two official ways.

use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use dragunov_kernels::{ByteResize, Levels, Normal, PixelOrder, byte_pixels, float_pixels};
use serde::Deserialize;

use crate::checkpoint::Checkpoint;
use crate::resample::{Filter, cubic_cv2, pil_passes, torchvision_passes};
use crate::{ModelError, Result, RgbImage};

/// Which of the two official pipelines is reproduced: preparation, position embedding and final resize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Policy {
    /// transformers' `DPTImageProcessor` as the checkpoint configures it: the scale closer to 1, antialiased
    /// bicubic on bytes, position embeddings resized by size, bicubic result.
    Hf,
    /// The authors' repository: the short side at least the trained size, cv2's cubic on floats, position
    /// embeddings resized by factor, bilinear result with aligned corners. It sees more of elongated photos.
    #[default]
    Original,
}

const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];

/// `transform.py` and `image2tensor` of the original repository, with `side` for its `input_size` of 518: (1, 3, H, W) in f32.
pub(super) fn original(photo: &RgbImage, side: usize, patch: usize, device: &Device) -> Result<Tensor> {
    let (height, width) = (photo.height(), photo.width());
    let side = side as f64;
    let scale = (side / height as f64).max(side / width as f64);
    let fit = |length: usize| {
        let wanted = scale * length as f64;
        let near = (wanted / patch as f64).round_ties_even() * patch as f64;
        let size = if near < side {
            (wanted / patch as f64).ceil() * patch as f64
        } else {
            near
        };
        size as usize
    };
    let size = (fit(height), fit(width));
    too_large(photo, size, patch)?;
    let axes = (&cubic_cv2(width, size.1), &cubic_cv2(height, size.0));
    let normal = Normal {
        mean: IMAGENET_MEAN,
        deviation: IMAGENET_STD,
    };
    Ok(float_pixels(photo.picture(), axes, &normal, device)?)
}

/// Refuses before any large buffer is made.
fn too_large(photo: &RgbImage, (height, width): (usize, usize), patch: usize) -> Result<()> {
    let patches = (height / patch).saturating_mul(width / patch);
    if patches <= super::MAX_PATCHES {
        return Ok(());
    }
    let limit = super::MAX_PATCHES;
    Err(ModelError::Image {
        width: photo.width(),
        height: photo.height(),
        reason: format!(
            "would be prepared as {height} x {width}: {patches} patches, at most {limit} are allowed"
        ),
    })
}

/// `preprocessor_config.json`: transformers' `DPTImageProcessor`.
#[derive(Debug, Clone, PartialEq)]
pub struct Preprocessor {
    resize: Option<Resize>,
    mean: [f32; 3],
    std: [f32; 3],
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Resize {
    /// (height, width) aimed at.
    size: (usize, usize),
    keep_aspect_ratio: bool,
    multiple: usize,
    filter: Filter,
    kernel: Kernel,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kernel {
    Torchvision,
    Pillow,
}

impl Default for Preprocessor {
    /// What the published Depth Anything V2 checkpoints carry.
    fn default() -> Self {
        Self {
            resize: Some(Resize {
                size: (518, 518),
                keep_aspect_ratio: true,
                multiple: 14,
                filter: Filter::Bicubic,
                kernel: Kernel::Torchvision,
            }),
            mean: IMAGENET_MEAN.map(|v| fused(v, 1.0 / 255.0)),
            std: IMAGENET_STD.map(|v| fused(v, 1.0 / 255.0)),
        }
    }
}

/// transformers folds the rescale factor into mean and deviation, in f32.
fn fused(value: f64, factor: f64) -> f32 {
    value as f32 * (1.0 / factor) as f32
}

#[derive(Deserialize)]
#[serde(default)]
struct Raw {
    image_processor_type: Option<String>,
    do_resize: Option<bool>,
    size: Option<Size>,
    keep_aspect_ratio: Option<bool>,
    ensure_multiple_of: Option<usize>,
    resample: Option<u32>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    do_normalize: Option<bool>,
    image_mean: Option<PerChannel>,
    image_std: Option<PerChannel>,
    do_pad: Option<bool>,
    do_center_crop: Option<bool>,
}

impl Default for Raw {
    /// The class's defaults.
    fn default() -> Self {
        Self {
            image_processor_type: None,
            do_resize: Some(true),
            size: Some(Size::Both {
                height: 384,
                width: 384,
            }),
            keep_aspect_ratio: Some(false),
            ensure_multiple_of: Some(1),
            resample: Some(3),
            do_rescale: Some(true),
            rescale_factor: Some(1.0 / 255.0),
            do_normalize: Some(true),
            image_mean: Some(PerChannel::One(0.5)),
            image_std: Some(PerChannel::One(0.5)),
            do_pad: None,
            do_center_crop: None,
        }
    }
}

#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(untagged)]
enum Size {
    One(usize),
    Both { height: usize, width: usize },
}

#[derive(Deserialize, Debug, Clone, Copy)]
#[serde(untagged)]
enum PerChannel {
    One(f64),
    Each([f64; 3]),
}

impl PerChannel {
    fn each(self) -> [f64; 3] {
        match self {
            Self::One(v) => [v; 3],
            Self::Each(v) => v,
        }
    }
}

impl Preprocessor {
    /// Reads `processor_config.json` or `preprocessor_config.json`; without either, [`Self::default`].
    ///
    /// # Errors
    /// [`ModelError::Json`] or [`ModelError::Config`] naming the field that cannot be honoured.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        match checkpoint.image_processor()? {
            Some((file, raw)) => Self::check(raw, checkpoint.path(file)),
            None => Ok(Self::default()),
        }
    }

    fn check(raw: Raw, path: PathBuf) -> Result<Self> {
        let fail = |field, value: String, reason: &str| {
            Err(ModelError::Config {
                path: path.clone(),
                field,
                value,
                reason: reason.to_owned(),
            })
        };
        let on = |flag: Option<bool>| flag.unwrap_or(false);
        if on(raw.do_pad) {
            return fail("do_pad", "true".into(), "padding is not supported");
        }
        if on(raw.do_center_crop) {
            return fail("do_center_crop", "true".into(), "cropping is not supported");
        }
        let mut resize = None;
        if on(raw.do_resize) {
            let size = match raw.size {
                Some(Size::One(side)) => (side, side),
                Some(Size::Both { height, width }) => (height, width),
                None => (0, 0),
            };
            if !(1..=1 << 16).contains(&size.0) || !(1..=1 << 16).contains(&size.1) {
                return fail("size", format!("{size:?}"), "must be between 1 and 65536");
            }
            let multiple = raw.ensure_multiple_of.unwrap_or(1);
            if !(1..=1 << 16).contains(&multiple) {
                return fail(
                    "ensure_multiple_of",
                    multiple.to_string(),
                    "must be between 1 and 65536",
                );
            }
            let filter = match raw.resample {
                Some(2) | None => Filter::Bilinear,
                Some(3) => Filter::Bicubic,
                Some(other) => {
                    return fail("resample", other.to_string(), "only 2 (bilinear) and 3 (bicubic)");
                }
            };
            let kernel = match raw.image_processor_type.as_deref() {
                Some(name) if name.ends_with("Pil") => Kernel::Pillow,
                _ => Kernel::Torchvision,
            };
            resize = Some(Resize {
                size,
                keep_aspect_ratio: on(raw.keep_aspect_ratio),
                multiple,
                filter,
                kernel,
            });
        }
        let factor = raw.rescale_factor.unwrap_or(1.0 / 255.0);
        if !(factor.is_finite() && factor > 0.0) {
            return fail("rescale_factor", factor.to_string(), "must be positive");
        }
        let factor = if on(raw.do_rescale) { factor } else { 1.0 };
        let (mut mean, mut std) = ([0.0; 3], [1.0; 3]);
        if on(raw.do_normalize) {
            mean = raw.image_mean.map_or(mean, PerChannel::each);
            std = raw.image_std.map_or(std, PerChannel::each);
        }
        if std.iter().chain(&mean).any(|v| !v.is_finite()) || std.contains(&0.0) {
            return fail("image_std", format!("{std:?}"), "must be finite and not 0");
        }
        Ok(Self {
            resize,
            mean: mean.map(|v| fused(v, factor)),
            std: std.map(|v| fused(v, factor)),
        })
    }

    /// Height and width that a photo is resized to; 0 if nothing would be left.
    fn target(resize: &Resize, photo: &RgbImage) -> (usize, usize) {
        let (height, width) = (photo.height() as f64, photo.width() as f64);
        let (mut down, mut across) = (resize.size.0 as f64 / height, resize.size.1 as f64 / width);
        if resize.keep_aspect_ratio {
            // Scale as little as possible.
            if (1.0 - across).abs() < (1.0 - down).abs() {
                down = across;
            } else {
                across = down;
            }
        }
        let multiple = resize.multiple as f64;
        let fit = |length: f64| ((length / multiple).round_ties_even() * multiple) as usize;
        (fit(down * height), fit(across * width))
    }

    /// Resizes and normalises as the processor does, for a model of that patch size: (1, 3, H, W) in f32 on `device`.
    ///
    /// # Errors
    /// [`ModelError::Image`] if a side would round to nothing (the reference fails there too) or to too much.
    pub fn apply(&self, photo: &RgbImage, patch: usize, device: &Device) -> Result<Tensor> {
        let kept = ByteResize {
            columns: None,
            rows: None,
            rows_first: false,
        };
        let (passes, (height, width)) = match &self.resize {
            None => (kept, (photo.height(), photo.width())),
            Some(resize) => {
                let (height, width) = Self::target(resize, photo);
                if height == 0 || width == 0 {
                    return Err(ModelError::Image {
                        width: photo.width(),
                        height: photo.height(),
                        reason: format!(
                            "too elongated: would be resized to {height} rows and {width} columns"
                        ),
                    });
                }
                too_large(photo, (height, width), patch)?;
                let size = (width, height);
                let passes = match resize.kernel {
                    Kernel::Torchvision => torchvision_passes(photo, size, resize.filter)?,
                    Kernel::Pillow => pil_passes(photo, size, resize.filter)?,
                };
                (passes, (height, width))
            }
        };
        let levels: Levels =
            std::array::from_fn(|c| std::array::from_fn(|byte| (byte as f32 - self.mean[c]) / self.std[c]));
        let order = PixelOrder::Planes { height, width };
        Ok(byte_pixels(
            photo.picture(),
            &passes,
            &levels,
            order,
            DType::F32,
            device,
        )?)
    }
}
