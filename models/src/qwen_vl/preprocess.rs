//! From a photo to flattened patches, as transformers' `Qwen2VLImageProcessor` (the default, torchvision-backed one)
//! does it: `smart_resize`, bicubic antialiased uint8 resize (ATen's), normalise in f32, patchify.

use candle_core::{DType, Device, Tensor};
use dragunov_kernels::{Levels, PixelOrder, byte_pixels};
use serde::Deserialize;

use super::grid::Grid;
use crate::checkpoint::Checkpoint;
use crate::resample::{self, Filter};
use crate::space::{ImagePx, Point, Rect};
use crate::{ModelError, Result, RgbImage};

/// Largest allowed ratio of the sides of a photo.
const MAX_ASPECT: f64 = 200.;

const CLIP_MEAN: [f32; 3] = [0.481_454_67, 0.457_827_5, 0.408_210_73];
const CLIP_STD: [f32; 3] = [0.268_629_55, 0.261_302_6, 0.275_777_1];

/// Settings of `preprocessor_config.json` (4.x) or of `image_processor` in `processor_config.json` (5.x).
#[derive(Debug, Clone, PartialEq)]
pub struct ImageProcessor {
    /// Bounds on the area of the resized image in pixels.
    pub min_pixels: usize,
    pub max_pixels: usize,
    pub patch_size: usize,
    pub temporal_patch_size: usize,
    pub merge_size: usize,
    /// Per channel, of values in 0 ..= 1.
    pub mean: [f32; 3],
    pub std: [f32; 3],
    pub rescale_factor: f64,
}

/// What is left of a photo once its patches are cut: the grid and the sizes that map boxes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ImageInfo {
    pub grid: Grid,
    /// Pixels of the photo.
    pub width: usize,
    pub height: usize,
    /// Pixels of the resized image that the model sees, and in which it answers boxes.
    pub resized_width: usize,
    pub resized_height: usize,
}

/// Pixels of the smart-resized image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResizedPx;

impl ImageInfo {
    /// A photo of (width, height) pixels, resized to (width, height) and cut into square patches.
    pub fn new(photo: (usize, usize), resized: (usize, usize), patch: usize) -> Self {
        Self {
            grid: Grid {
                t: 1,
                h: resized.1 / patch,
                w: resized.0 / patch,
            },
            width: photo.0,
            height: photo.1,
            resized_width: resized.0,
            resized_height: resized.1,
        }
    }

    /// Pixels of the photo for one pixel of the resized image, in x and y.
    fn scale(&self) -> (f64, f64) {
        (
            self.width as f64 / self.resized_width as f64,
            self.height as f64 / self.resized_height as f64,
        )
    }

    pub fn to_photo(&self, r: &Rect<ResizedPx>) -> Rect<ImagePx> {
        let (sx, sy) = self.scale();
        r.scaled_to(sx, sy)
    }

    pub fn point_to_photo(&self, p: &Point<ResizedPx>) -> Point<ImagePx> {
        let (sx, sy) = self.scale();
        Point::new(p.x * sx, p.y * sy)
    }
}

/// Sides nearest to the photo's that are multiples of `factor`, with an area within `min_pixels ..= max_pixels`.
///
/// Returns (height, width).
///
/// # Errors
/// [`ModelError::Image`] if one side is over 200 times the other.
pub fn smart_resize(
    height: usize,
    width: usize,
    factor: usize,
    min_pixels: usize,
    max_pixels: usize,
) -> Result<(usize, usize)> {
    let (h, w, f) = (height as f64, width as f64, factor as f64);
    if h.max(w) / h.min(w) > MAX_ASPECT {
        return Err(ModelError::Image {
            width,
            height,
            reason: format!("one side is over {MAX_ASPECT} times the other"),
        });
    }
    // Python's round(): halves go to the even neighbour.
    let nearest = |side: f64| (side / f).round_ties_even() * f;
    let (h_bar, w_bar) = (nearest(h), nearest(w));
    let area = h_bar * w_bar;
    let (h_bar, w_bar) = if area > max_pixels as f64 {
        let beta = ((height * width) as f64 / max_pixels as f64).sqrt();
        let shrink = |side: f64| f.max((side / beta / f).floor() * f);
        (shrink(h), shrink(w))
    } else if area < min_pixels as f64 {
        let beta = (min_pixels as f64 / (height * width) as f64).sqrt();
        let grow = |side: f64| (side * beta / f).ceil() * f;
        (grow(h), grow(w))
    } else {
        (h_bar, w_bar)
    };
    Ok((h_bar as usize, w_bar as usize))
}

#[derive(Deserialize, Default)]
struct RawSize {
    shortest_edge: Option<usize>,
    longest_edge: Option<usize>,
    /// As in the first files of the Hub.
    min_pixels: Option<usize>,
    max_pixels: Option<usize>,
}

#[derive(Deserialize, Default)]
struct Raw {
    size: Option<RawSize>,
    min_pixels: Option<usize>,
    max_pixels: Option<usize>,
    patch_size: Option<usize>,
    temporal_patch_size: Option<usize>,
    merge_size: Option<usize>,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
    rescale_factor: Option<f64>,
    resample: Option<u32>,
    do_resize: Option<bool>,
    do_rescale: Option<bool>,
    do_normalize: Option<bool>,
}

impl ImageProcessor {
    /// Reads the processor's settings; a checkpoint without any gets the class defaults (at most 1280 tokens).
    ///
    /// # Errors
    /// [`ModelError::Config`] for settings that this code does not follow.
    pub fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let (file, raw) = checkpoint
            .image_processor()?
            .unwrap_or(("preprocessor_config.json", Raw::default()));
        Self::from_raw(raw, file, checkpoint)
    }

    fn from_raw(raw: Raw, file: &'static str, checkpoint: &Checkpoint) -> Result<Self> {
        let refuse = |field: &'static str, value: String, reason: &str| ModelError::Config {
            path: checkpoint.path(file),
            field,
            value,
            reason: reason.into(),
        };
        let switches = [
            ("do_resize", raw.do_resize),
            ("do_rescale", raw.do_rescale),
            ("do_normalize", raw.do_normalize),
        ];
        for (field, value) in switches {
            if value == Some(false) {
                return Err(refuse(field, "false".into(), "the step cannot be left out"));
            }
        }
        if let Some(kind) = raw.resample
            && kind != 3
        {
            return Err(refuse("resample", kind.to_string(), "only bicubic (3) is known"));
        }
        let size = raw.size.unwrap_or_default();
        // What stands beside `size` is set by hand and goes before it.
        let smallest = raw.min_pixels.or(size.shortest_edge).or(size.min_pixels);
        let largest = raw.max_pixels.or(size.longest_edge).or(size.max_pixels);
        let this = Self {
            min_pixels: smallest.unwrap_or(56 * 56),
            max_pixels: largest.unwrap_or(28 * 28 * 1280),
            patch_size: raw.patch_size.unwrap_or(14),
            temporal_patch_size: raw.temporal_patch_size.unwrap_or(2),
            merge_size: raw.merge_size.unwrap_or(2),
            mean: raw.image_mean.unwrap_or(CLIP_MEAN),
            std: raw.image_std.unwrap_or(CLIP_STD),
            rescale_factor: raw.rescale_factor.unwrap_or(1. / 255.),
        };
        let factor = this.patch_size * this.merge_size;
        if factor == 0 || this.temporal_patch_size == 0 {
            return Err(refuse(
                "patch_size",
                this.patch_size.to_string(),
                "sizes must be positive",
            ));
        }
        if this.max_pixels < factor * factor || this.max_pixels < this.min_pixels {
            return Err(refuse(
                "max_pixels",
                this.max_pixels.to_string(),
                "leaves room for no token",
            ));
        }
        if this.std.iter().any(|&s| s.is_nan() || s <= 0.) || this.rescale_factor <= 0. {
            return Err(refuse("image_std", format!("{:?}", this.std), "must be positive"));
        }
        Ok(this)
    }

    /// Bounds the area of resized images; one token always fits.
    #[must_use]
    pub(super) fn with_max_pixels(&self, max_pixels: usize) -> Self {
        let factor = self.patch_size * self.merge_size;
        let max_pixels = max_pixels.max(factor * factor);
        Self {
            min_pixels: self.min_pixels.min(max_pixels),
            max_pixels,
            ..self.clone()
        }
    }

    /// Resizes `image` and cuts it into patches.
    ///
    /// Returns (h w, 3 temporal patch patch) of `dtype`, made on `device` from the bytes of the image, rows in merge blocks (see
    /// [`patch_positions`](super::grid::patch_positions)), and what maps results back.
    ///
    /// # Errors
    /// [`ModelError::Image`] for a photo over 200 times as long as wide.
    pub fn patches(&self, image: &RgbImage, dtype: DType, device: &Device) -> Result<(Tensor, ImageInfo)> {
        let (p, m) = (self.patch_size, self.merge_size);
        let (h, w) = smart_resize(
            image.height(),
            image.width(),
            p * m,
            self.min_pixels,
            self.max_pixels,
        )?;
        let passes = resample::torchvision_passes(image, (w, h), Filter::Bicubic)?;
        let info = ImageInfo::new((image.width(), image.height()), (w, h), p);
        let order = PixelOrder::Patches {
            side: p,
            merge: m,
            frames: self.temporal_patch_size,
        };
        let patches = byte_pixels(image.picture(), &passes, &self.levels(), order, dtype, device)?;
        Ok((patches, info))
    }

    /// Normalised value of each of the 256 levels, per channel: `(x - mean/rescale) / (std/rescale)` in f32.
    fn levels(&self) -> Levels {
        let scale = (1. / self.rescale_factor) as f32;
        std::array::from_fn(|c| {
            let (mean, std) = (self.mean[c] * scale, self.std[c] * scale);
            std::array::from_fn(|v| (v as f32 - mean) / std)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Vectors computed with transformers 5.23.
    #[test]
    fn smart_resize_vectors() {
        let big = 12_845_056;
        for (h, w, max, expected) in [
            (480, 640, big, (476, 644)),
            (768, 1024, big, (756, 1036)),
            (1080, 1920, big, (1092, 1932)),
            (1365, 2048, big, (1372, 2044)),
            (4000, 6000, big, (2912, 4368)),
            (14, 14, big, (56, 56)),
            (42, 42, big, (56, 56)),
            (1, 1, big, (56, 56)),
            (70, 98, big, (56, 112)),
            (8, 1500, big, (28, 784)),
            (10, 1000, big, (28, 560)),
            (1080, 1920, 1_003_520, (728, 1316)),
            (1365, 2048, 1_003_520, (812, 1204)),
        ] {
            assert_eq!(smart_resize(h, w, 28, 3136, max).unwrap(), expected, "{h} x {w}");
        }
        assert!(matches!(
            smart_resize(1, 5000, 28, 3136, big),
            Err(ModelError::Image { .. })
        ));
    }

    #[test]
    fn boxes_go_back_to_the_photo() {
        let info = ImageInfo::new((1288, 1428), (644, 476), 14);
        assert_eq!(info.grid, Grid { t: 1, h: 34, w: 46 });
        let back = info.to_photo(&Rect::new(10., 20., 322., 238.));
        assert_eq!((back.x0, back.y0, back.x1, back.y1), (20., 60., 644., 714.));
    }
}
