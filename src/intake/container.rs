//! A photo's file taken apart: what its pixels need, which a decoder gets and nothing else, and the metadata, each
//! piece bounded before it is unpacked.
//!
//! Decoders never see metadata, so nothing in it can make them unpack, collect or follow anything.

mod jpeg;
mod png;
mod webp;
mod xmp;

use std::borrow::Cow;
use std::io::Read;

use super::heif;
use crate::contract::{ErrorCode, ScanError};

/// An EXIF block is read so far; JPEG has room for no more.
pub(super) const MAX_EXIF: usize = 64 << 10;
/// Colour profiles over this, unpacked, are left unread; printers' tables with four inks have 2 MB.
pub(super) const MAX_ICC: usize = 4 << 20;
/// XMP is read so far, unpacked. The orientation stands in its first packet.
const MAX_XMP: usize = 256 << 10;

/// Pixels as they are coded: a file of the same format with these pixels and nothing else, or where they stand.
#[derive(Debug)]
pub(super) enum Coded<'a> {
    Jpeg(Vec<u8>, JpegFacts),
    Png(Vec<u8>),
    WebP(Vec<u8>),
    Heif(heif::Still<'a>),
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) coded: Coded<'a>,
    /// As it is stored, before it is cropped or turned.
    pub(super) width: u32,
    pub(super) height: u32,
    /// The part that is shown, if not all.
    pub(super) crop: Option<Crop>,
    /// Bytes a pixel may take while it is decoded, the finished picture and a turned copy of it included.
    pub(super) bytes_a_pixel: u64,
    /// The stored pixels have an alpha channel, which `pixels` may lack.
    pub(super) alpha: bool,
    /// Why the pixels cannot be whole, as far as that shows without decoding them.
    pub(super) lacking: Option<&'static str>,
    pub(super) exif: Option<Cow<'a, [u8]>>,
    /// How the picture is turned, as EXIF tag 0x0112 counts, where the format has its own word for it; EXIF's is then a
    /// copy that is not to be applied again.
    pub(super) turn: Option<u8>,
    /// EXIF tag 0x0112 as XMP tells it, 1 to 8.
    pub(super) xmp_orientation: Option<u8>,
    /// EXIF and XMP stand behind the pixels: programs that show the photo as it comes do not turn it.
    pub(super) late: bool,
    pub(super) icc: Option<Profile<'a>>,
}

/// A part of the stored picture, in its pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Crop {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct JpegFacts {
    pub(super) components: u8,
    /// No end marker follows the last scan; other bytes may.
    pub(super) open_ended: bool,
}

#[derive(Debug)]
pub(super) enum Profile<'a> {
    Icc(Cow<'a, [u8]>),
    /// Over [`MAX_ICC`] or packed in a way that cannot be read.
    Unusable,
    /// Colour primaries and transfer characteristics (ITU-T H.273) other than sRGB's.
    Named {
        primaries: u8,
        transfer: u8,
    },
}

/// Takes a file apart. Costs a copy of it and what the caps allow, whatever the file claims.
///
/// # Errors
/// `image_format` for other formats and kinds nobody photographs in, `image_unreadable` for files cut short.
pub(super) fn open(bytes: &[u8]) -> Result<Contents<'_>, ScanError> {
    match bytes {
        [0xFF, 0xD8, 0xFF, ..] => jpeg::open(bytes),
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => png::open(bytes),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => webp::open(bytes),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => heif::open(bytes),
        _ => Err(ScanError::new(
            ErrorCode::ImageFormat,
            "the photo is not a JPEG, PNG, WebP, HEIC or AVIF file",
        )
        .next_step("convert it to an ordinary JPEG or PNG")),
    }
}

pub(super) fn unreadable(why: impl std::fmt::Display) -> ScanError {
    super::decode::unreadable(why)
}

pub(super) fn foreign(why: impl std::fmt::Display) -> ScanError {
    ScanError::new(
        ErrorCode::ImageFormat,
        format!("this kind of photo is not supported: {why}"),
    )
    .next_step("convert it to an ordinary JPEG or PNG")
}

/// The first `most` bytes.
pub(super) fn first(bytes: &[u8], most: usize) -> &[u8] {
    &bytes[..bytes.len().min(most)]
}

/// What a zlib stream holds, as far as `most` bytes and no further; none if it is damaged before.
fn inflate(packed: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut stream = flate2::read::ZlibDecoder::new(packed).take(most as u64);
    match stream.read_to_end(&mut out) {
        Ok(_) => Some(out),
        Err(_) => (!out.is_empty()).then_some(out),
    }
}
