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

use crate::contract::{ErrorCode, ScanError};

/// An EXIF block is read so far; JPEG has room for no more.
const MAX_EXIF: usize = 64 << 10;
/// Colour profiles over this, unpacked, are left unread; printers' tables with four inks have 2 MB.
const MAX_ICC: usize = 4 << 20;
/// XMP is read so far, unpacked. The orientation stands in its first packet.
const MAX_XMP: usize = 256 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    Png,
    WebP,
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Contents<'a> {
    pub(super) format: Format,
    pub(super) width: u32,
    pub(super) height: u32,
    /// A file of the same format with these pixels and nothing else.
    pub(super) pixels: Vec<u8>,
    /// Bytes a pixel may take while it is decoded, the finished picture and a turned copy of it included.
    pub(super) bytes_a_pixel: u64,
    /// The stored pixels have an alpha channel, which `pixels` may lack.
    pub(super) alpha: bool,
    pub(super) jpeg: JpegFacts,
    /// Why the pixels cannot be whole, as far as that shows without decoding them.
    pub(super) lacking: Option<&'static str>,
    pub(super) exif: Option<Cow<'a, [u8]>>,
    /// EXIF tag 0x0112 as XMP tells it, 1 to 8.
    pub(super) xmp_orientation: Option<u8>,
    /// EXIF and XMP stand behind the pixels: programs that show the photo as it comes do not turn it.
    pub(super) late: bool,
    pub(super) icc: Option<Profile<'a>>,
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
}

/// Takes a file apart. Costs a copy of it and what the caps allow, whatever the file claims.
///
/// # Errors
/// `image_format` for other formats and kinds nobody photographs in, `image_unreadable` for files cut short.
pub(super) fn open(bytes: &[u8]) -> Result<Contents<'_>, ScanError> {
    match kind(bytes) {
        Some(Format::Jpeg) => jpeg::open(bytes),
        Some(Format::Png) => png::open(bytes),
        Some(Format::WebP) => webp::open(bytes),
        None => Err(ScanError::new(
            ErrorCode::ImageFormat,
            "the photo is not a JPEG, PNG or WebP file",
        )
        .next_step("convert it, for example HEIC to JPEG in the phone's camera settings")),
    }
}

fn kind(bytes: &[u8]) -> Option<Format> {
    match bytes {
        [0xFF, 0xD8, 0xFF, ..] => Some(Format::Jpeg),
        [0x89, b'P', b'N', b'G', 0x0D, 0x0A, 0x1A, 0x0A, ..] => Some(Format::Png),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Format::WebP),
        _ => None,
    }
}

fn unreadable(why: impl std::fmt::Display) -> ScanError {
    super::decode::unreadable(why)
}

fn foreign(why: impl std::fmt::Display) -> ScanError {
    ScanError::new(
        ErrorCode::ImageFormat,
        format!("this kind of photo is not supported: {why}"),
    )
    .next_step("convert it to an ordinary JPEG or PNG")
}

/// The first `most` bytes.
fn first(bytes: &[u8], most: usize) -> &[u8] {
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
