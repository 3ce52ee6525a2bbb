//! Encoded bytes to an upright sRGB picture, within a pixel budget that is checked before any pixel is decoded.

mod colour;
mod exact_jpeg;
mod jpeg;

use std::io::Cursor;
use std::panic::AssertUnwindSafe;

use dragunov_models::RgbImage;
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};

use crate::contract::{ErrorCode, ScanError, Warning, WarningCode};

use super::exif::ExifFacts;

/// What a photo may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Width times height; checked on the header.
    pub max_pixels: u64,
    /// For the decoder's buffers.
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

/// Decodes a JPEG, PNG or WebP; applies orientation and colour profile once.
///
/// Pixels are Pillow's, byte for byte, for PNG, WebP and the JPEGs that cameras write.
/// Alpha is dropped (what Pillow's `convert("RGB")` does), of 16 bits the upper 8 are taken, grey becomes three equal
/// channels, only the first frame of an animation is used. Four inks are taken for inverted with or without an Adobe
/// marker, as Pillow takes them.
///
/// # Errors
/// `image_format` for other formats and CMYK of rare codings without an Adobe marker, `image_too_large` over the pixel budget,
/// `image_unreadable` for damaged or truncated files, `image_blank`.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, ScanError> {
    // The decoders are other people's code fed with hostile bytes: a panic there is a damaged photo, not our end.
    std::panic::catch_unwind(AssertUnwindSafe(|| decode_inner(bytes, limits)))
        .unwrap_or_else(|_| Err(unreadable("its data are damaged")))
}

fn unreadable(why: impl std::fmt::Display) -> ScanError {
    ScanError::new(
        ErrorCode::ImageUnreadable,
        format!("the photo cannot be read: {why}"),
    )
    .next_step("send the camera's own JPEG, complete and unedited")
}

fn from_image_error(e: ImageError) -> ScanError {
    match e {
        ImageError::Limits(_) => ScanError::new(
            ErrorCode::ImageTooLarge,
            "the photo needs more memory than allowed",
        )
        .source(e),
        ImageError::Unsupported(_) => ScanError::new(
            ErrorCode::ImageFormat,
            format!("this kind of photo is not supported: {e}"),
        )
        .next_step("send a JPEG, PNG or WebP in RGB or grey")
        .source(e),
        e => unreadable(&e).source(e),
    }
}

fn decode_inner(bytes: &[u8], limits: &DecodeLimits) -> Result<Decoded, ScanError> {
    let reader = ImageReader::new(Cursor::new(bytes))
        .with_guessed_format()
        .map_err(|e| unreadable(&e).source(e))?;
    let format = match reader.format() {
        Some(f @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) => f,
        _ => {
            return Err(ScanError::new(
                ErrorCode::ImageFormat,
                "the photo is not a JPEG, PNG or WebP file",
            )
            .next_step("convert it, for example HEIC to JPEG in the phone's camera settings"));
        }
    };
    let mut reader = reader;
    let mut caps = Limits::no_limits();
    caps.max_alloc = Some(limits.max_alloc_bytes);
    reader.limits(caps);
    let mut decoder = reader.into_decoder().map_err(from_image_error)?;
    let (w, h) = decoder.dimensions();
    let pixels = u64::from(w) * u64::from(h);
    if pixels > limits.max_pixels || decoder.total_bytes() > limits.max_alloc_bytes {
        return Err(ScanError::new(
            ErrorCode::ImageTooLarge,
            format!(
                "the photo has {w} x {h} pixels; the limit is {} megapixels",
                limits.max_pixels / 1_000_000
            ),
        )
        .next_step("send it at 4000 pixels or less on its long side"));
    }
    if w.min(h) < limits.min_side {
        return Err(unreadable(format_args!(
            "{w} x {h} pixels are too few, each side needs {}",
            limits.min_side
        )));
    }
    let mut warnings = Vec::new();
    let mut unmarked_inks = false;
    if format == ImageFormat::Jpeg {
        let frame = jpeg::inspect(bytes).map_err(unreadable)?;
        if frame.components == 4 {
            unmarked_inks = !frame.adobe;
            warnings.push(Warning::new(
                WarningCode::CmykConverted,
                "CMYK photo converted without its ink profile; colours are approximate",
            ));
        }
    }
    // A broken block must not lose the photo: EXIF and profile are optional.
    let facts = match decoder.exif_metadata() {
        Ok(Some(block)) => ExifFacts::read(&block),
        _ => ExifFacts::default(),
    };
    let icc = decoder.icc_profile().ok().flatten();
    note_layout(decoder.color_type(), &mut warnings);
    let exact = match format {
        ImageFormat::Jpeg => exact_jpeg::decode(bytes, (w, h), limits.max_alloc_bytes).and_then(into_dynamic),
        _ => None,
    };
    let picture = match exact {
        Some(picture) => picture,
        // Ours takes the inks for inverted, as Pillow does; the other decoder does not say what it takes them for.
        None if unmarked_inks => {
            return Err(ScanError::new(
                ErrorCode::ImageFormat,
                "CMYK JPEG of a rare coding without an Adobe marker: whether its inks are inverted is unknown",
            )
            .next_step("convert the photo to RGB"));
        }
        None => DynamicImage::from_decoder(decoder).map_err(from_image_error)?,
    };
    let grey = !picture.color().has_color();
    let mut picture = DynamicImage::ImageRgb8(to_rgb8(picture, limits.clip_deep_grey));
    let orientation = facts.orientation.unwrap_or(1);
    if let Some(o) = Orientation::from_exif(orientation) {
        picture.apply_orientation(o);
    }
    let mut rgb = picture.into_rgb8();
    if let Some(icc) = icc.filter(|_| limits.apply_profile) {
        colour::to_srgb(&icc, grey, &mut rgb, &mut warnings);
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

/// Three channels of 8 bits; `clip` as in [`DecodeLimits::clip_deep_grey`].
fn to_rgb8(picture: DynamicImage, clip: bool) -> image::RgbImage {
    let high = |v: u16| (v >> 8) as u8;
    let grey = |v: u16| if clip { v.min(255) as u8 } else { high(v) };
    let (w, h) = (picture.width(), picture.height());
    match picture {
        DynamicImage::ImageLuma16(p) => {
            image::RgbImage::from_fn(w, h, |x, y| image::Rgb([grey(p.get_pixel(x, y)[0]); 3]))
        }
        DynamicImage::ImageLumaA16(p) => {
            image::RgbImage::from_fn(w, h, |x, y| image::Rgb([high(p.get_pixel(x, y)[0]); 3]))
        }
        DynamicImage::ImageRgb16(p) => {
            image::RgbImage::from_fn(w, h, |x, y| image::Rgb(p.get_pixel(x, y).0.map(high)))
        }
        DynamicImage::ImageRgba16(p) => image::RgbImage::from_fn(w, h, |x, y| {
            let [r, g, b, _] = p.get_pixel(x, y).0;
            image::Rgb([r, g, b].map(high))
        }),
        other => other.into_rgb8(),
    }
}

fn into_dynamic(picture: exact_jpeg::Picture) -> Option<DynamicImage> {
    let (w, h) = (
        u32::try_from(picture.width).ok()?,
        u32::try_from(picture.height).ok()?,
    );
    match picture.channels {
        1 => image::GrayImage::from_raw(w, h, picture.data).map(DynamicImage::ImageLuma8),
        _ => image::RgbImage::from_raw(w, h, picture.data).map(DynamicImage::ImageRgb8),
    }
}

/// Says what the conversion to 8-bit RGB leaves out.
fn note_layout(colour: ColorType, warnings: &mut Vec<Warning>) {
    if colour.has_alpha() {
        warnings.push(Warning::new(
            WarningCode::AlphaDropped,
            "the photo's transparency was dropped",
        ));
    }
    if !colour.has_color() {
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
