//! Encoded bytes to an upright sRGB picture, within a pixel budget that is checked before any pixel is decoded.

mod colour;
mod exact_jpeg;
mod png;
mod webp;

use std::panic::AssertUnwindSafe;

use dragunov_models::RgbImage;
use image::DynamicImage;
use image::metadata::Orientation;

use crate::contract::{ErrorCode, ScanError, Warning, WarningCode};

use super::container::{self, Coded, Contents, Crop};
use super::exif::ExifFacts;

/// What a photo may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width times height; checked on the header.
    pub max_pixels: u64,
    /// For the decoder's buffers and the finished picture.
    pub max_alloc_bytes: u64,
    /// Shortest side, in pixels.
    pub min_side: u32,
    /// Refuse pictures in which nothing can be seen.
    pub refuse_blank: bool,
    /// Convert an embedded colour profile to sRGB.
    pub apply_profile: bool,
    /// Read grey of 16 bits as Pillow's `convert("RGB")` does: levels over 255 are white.
    pub clip_deep_grey: bool,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            max_pixels: 50_000_000,
            max_alloc_bytes: 512 << 20,
            // The models can make nothing of less.
            min_side: 32,
            refuse_blank: true,
            apply_profile: true,
            clip_deep_grey: false,
        }
    }
}

/// Picture and metadata of one file.
#[derive(Debug, Clone)]
pub struct Decoded {
    pub image: RgbImage,
    /// The EXIF tag that was applied, 1 to 8.
    pub orientation: u8,
    pub facts: ExifFacts,
    pub warnings: Vec<Warning>,
}

/// Decodes a JPEG, PNG, WebP, HEIC or AVIF; applies orientation and colour profile once.
///
/// Pixels are Pillow's, byte for byte; of a HEIC or AVIF they are libheif's but for how it widens halved colours. Only whole photos
/// are taken: a decoder's repair of damaged data is never one. Missing end marks, stray bytes between segments and trailers are no damage.
/// Alpha is dropped (what Pillow's `convert("RGB")` does), of 16 bits the upper 8 are taken, grey becomes three equal
/// channels, only the first frame of an animation is used. Four inks are taken for inverted with or without an Adobe
/// marker, as Pillow takes them. Of a HEIC the primary picture counts; thumbnails, depth, gain maps and the alpha plane are
/// not decoded.
///
/// # Errors
/// `image_format` for other formats and rare codings of JPEG (arithmetic, 12 bits, lossless) and HEIC
/// (overlays), `image_too_large` over the pixel budget, `image_unreadable` for damaged or truncated files, `image_blank`.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, ScanError> {
    // The decoders are other people's code fed with hostile bytes: a panic there is a damaged photo, not our end.
    std::panic::catch_unwind(AssertUnwindSafe(|| decode_inner(bytes, limits)))
        .unwrap_or_else(|_| Err(unreadable("its data are damaged")))
}

pub(super) fn unreadable(why: impl std::fmt::Display) -> ScanError {
    ScanError::new(
        ErrorCode::ImageUnreadable,
        format!("the photo cannot be read: {why}"),
    )
    .next_step("send the camera's own JPEG, complete and unedited")
}

fn decode_inner(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, ScanError> {
    let file = container::open(bytes)?;
    check_size(&file, limits)?;
    if let Some(why) = file.lacking {
        return Err(unreadable(why));
    }
    let mut warnings = Vec::new();
    if let Coded::Jpeg(_, facts) = &file.coded
        && facts.components == 4
    {
        warnings.push(Warning::new(
            WarningCode::CmykConverted,
            "CMYK photo converted without its ink profile; colours are approximate",
        ));
    }
    let picture = match &file.coded {
        Coded::Jpeg(pixels, facts) => exact_jpeg::decode(pixels, facts.open_ended)
            .map(Picture::from)
            .ok_or_else(|| unreadable("its data are damaged"))?,
        Coded::Png(pixels) => png::decode(pixels, limits.clip_deep_grey)?,
        Coded::WebP(pixels) => webp::decode(pixels)?,
        Coded::Heif(still) => still.decode()?,
    };
    if (picture.width, picture.height) != (file.width as usize, file.height as usize) {
        return Err(unreadable("it states two sizes"));
    }
    note_layout(picture.grey, file.alpha, &mut warnings);
    // A broken block must not lose the photo: EXIF and profile are optional.
    let mut facts = file.exif.as_deref().map(ExifFacts::read).unwrap_or_default();
    facts.orientation = match file.turn {
        Some(turn) => Some(turn),
        None if file.late => None,
        None => facts.orientation.or(file.xmp_orientation),
    };
    let orientation = facts.orientation.unwrap_or(1);
    let grey = picture.grey;
    let mut rgb = turned(picture, file.crop, orientation)?;
    if let Some(profile) = file.icc.filter(|_| limits.apply_profile) {
        colour::to_srgb(&profile, grey, &mut rgb, &mut warnings);
    }
    let (w, h) = rgb.dimensions();
    let image =
        RgbImage::new(w as usize, h as usize, rgb.into_raw()).map_err(|e| unreadable(&e).source(e))?;
    if limits.refuse_blank {
        refuse_blank(&image)?;
    }
    Ok(Decoded {
        image,
        orientation,
        facts,
        warnings,
    })
}

/// By the header alone: no pixel is decoded of a photo that is too large or too small.
fn check_size(file: &Contents<'_>, limits: &DecodeLimits) -> Result<(), ScanError> {
    let (w, h) = (file.width, file.height);
    let pixels = u64::from(w) * u64::from(h);
    if pixels > limits.max_pixels || pixels.saturating_mul(file.bytes_a_pixel) > limits.max_alloc_bytes {
        let most = limits.max_pixels.min(limits.max_alloc_bytes / file.bytes_a_pixel);
        return Err(ScanError::new(
            ErrorCode::ImageTooLarge,
            format!(
                "the photo has {w} x {h} pixels; the limit for its kind is {} megapixels",
                most / 1_000_000
            ),
        )
        .next_step("send it at 4000 pixels or less on its long side"));
    }
    let (w, h) = file.crop.map_or((w, h), |part| (part.width, part.height));
    if w.min(h) < limits.min_side {
        return Err(unreadable(format_args!(
            "{w} x {h} pixels are too few, each side needs {}",
            limits.min_side
        )));
    }
    Ok(())
}

/// Bytes of memory that decoding this file takes at most, the finished picture included; none if it cannot be told,
/// in which case decoding will fail on the header.
pub(super) fn memory_needed(bytes: &[u8], limits: &DecodeLimits) -> Option<u64> {
    let file = container::open(bytes).ok()?;
    check_size(&file, limits).ok()?;
    let pixels = u64::from(file.width) * u64::from(file.height);
    Some(pixels * file.bytes_a_pixel + 2 * bytes.len() as u64)
}

/// A decoded picture as it is stored, three channels of 8 bits.
pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) rgb: Vec<u8>,
    /// All three channels are one.
    pub(super) grey: bool,
}

impl From<exact_jpeg::Picture> for Picture {
    fn from(picture: exact_jpeg::Picture) -> Self {
        let grey = picture.channels == 1;
        Self {
            width: picture.width,
            height: picture.height,
            rgb: if grey {
                picture.data.iter().flat_map(|&v| [v; 3]).collect()
            } else {
                picture.data
            },
            grey,
        }
    }
}

fn turned(picture: Picture, crop: Option<Crop>, orientation: u8) -> Result<image::RgbImage, ScanError> {
    let (w, h) = (picture.width as u32, picture.height as u32);
    let rgb =
        image::RgbImage::from_raw(w, h, picture.rgb).ok_or_else(|| unreadable("its rows are incomplete"))?;
    let mut picture = DynamicImage::ImageRgb8(rgb);
    if let Some(part) = crop {
        picture = picture.crop_imm(part.x, part.y, part.width, part.height);
    }
    if let Some(o) = Orientation::from_exif(orientation) {
        picture.apply_orientation(o);
    }
    Ok(picture.into_rgb8())
}

/// Says what the conversion to 8-bit RGB leaves out.
fn note_layout(grey: bool, alpha: bool, warnings: &mut Vec<Warning>) {
    if alpha {
        warnings.push(Warning::new(
            WarningCode::AlphaDropped,
            "the photo's transparency was dropped",
        ));
    }
    if grey {
        warnings.push(Warning::new(
            WarningCode::GreyPhoto,
            "the photo has no colour; food is harder to tell apart",
        ));
    }
}

/// Refuses pictures whose luma hardly varies or hardly leaves black.
fn refuse_blank(image: &RgbImage) -> Result<(), ScanError> {
    const SAMPLES: usize = 16_384;
    let pixels = image.width() * image.height();
    // An odd step does not walk down one column of an even-width picture.
    let step = (pixels / SAMPLES).max(1) | 1;
    let mut histogram = [0usize; 256];
    let mut n = 0;
    for px in image.as_bytes().chunks_exact(3).step_by(step) {
        let luma = (299 * u32::from(px[0]) + 587 * u32::from(px[1]) + 114 * u32::from(px[2])) / 1000;
        histogram[luma as usize & 255] += 1;
        n += 1;
    }
    let quantile = |q: f64| {
        let target = (q * n as f64) as usize;
        let mut sum = 0;
        histogram
            .iter()
            .position(|&c| {
                sum += c;
                sum > target
            })
            .unwrap_or(255)
    };
    let (low, high) = (quantile(0.005), quantile(0.995));
    let why = if high < 16 {
        "it is nearly black"
    } else if high - low < 8 {
        "it is one uniform area"
    } else {
        return Ok(());
    };
    Err(ScanError::new(
        ErrorCode::ImageBlank,
        format!("nothing can be seen in the photo: {why}"),
    )
    .next_step("take the photo again with more light and the lens uncovered"))
}
