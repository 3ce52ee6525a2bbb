//! Hand-made photos and EXIF blocks.

use std::io::Cursor;

use dragunov::intake::{DecodeLimits, Shot, SourceMeta, read_photo};
use dragunov_models::RgbImage as Pixels;
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, RgbImage};

/// Quadrant colours: top left red, top right green, bottom left blue, bottom right yellow.
pub(crate) const CORNERS: [[u8; 3]; 4] = [[200, 30, 30], [30, 180, 30], [30, 30, 200], [210, 200, 40]];

pub(crate) fn quadrants(w: u32, h: u32) -> RgbImage {
    RgbImage::from_fn(w, h, |x, y| {
        image::Rgb(CORNERS[usize::from(x >= w / 2) + 2 * usize::from(y >= h / 2)])
    })
}

pub(crate) fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut out = Vec::new();
    JpegEncoder::new_with_quality(&mut out, 92)
        .encode_image(picture)
        .unwrap();
    out
}

pub(crate) fn encode(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    picture.write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A JPEG with an EXIF segment after its start marker.
pub(crate) fn with_exif(jpeg: &[u8], tiff: &[u8]) -> Vec<u8> {
    let mut out = jpeg[..2].to_vec();
    out.extend([0xFF, 0xE1]);
    out.extend(u16::try_from(tiff.len() + 8).unwrap().to_be_bytes());
    out.extend(b"Exif\0\0");
    out.extend(tiff);
    out.extend(&jpeg[2..]);
    out
}

#[derive(Clone)]
pub(crate) enum V {
    Short(u16),
    Long(u32),
    Text(&'static str),
    Ratio(u32, u32),
    Bytes(Vec<u8>),
}

/// Little-endian TIFF block from (tag, value) of IFD0 and of the EXIF IFD; tags ascending.
pub(crate) fn tiff(ifd0: &[(u16, V)], exif: &[(u16, V)]) -> Vec<u8> {
    let mut first = ifd0.to_vec();
    first.push((0x8769, V::Long(0)));
    let size = |n: usize| 2 + 12 * n + 4;
    let exif_at = 8 + size(first.len());
    first.last_mut().unwrap().1 = V::Long(exif_at as u32);
    let mut data_at = exif_at + size(exif.len());
    let (mut head, mut data) = (b"II*\0\x08\0\0\0".to_vec(), Vec::new());
    for ifd in [&first[..], exif] {
        head.extend((ifd.len() as u16).to_le_bytes());
        for (tag, value) in ifd {
            let (kind, count, bytes) = match value {
                V::Short(v) => (3u16, 1u32, v.to_le_bytes().to_vec()),
                V::Long(v) => (4, 1, v.to_le_bytes().to_vec()),
                V::Text(t) => (2, t.len() as u32 + 1, [t.as_bytes(), b"\0"].concat()),
                V::Ratio(n, d) => (5, 1, [n.to_le_bytes(), d.to_le_bytes()].concat()),
                V::Bytes(b) => (7, b.len() as u32, b.clone()),
            };
            head.extend(tag.to_le_bytes());
            head.extend(kind.to_le_bytes());
            head.extend(count.to_le_bytes());
            if bytes.len() <= 4 {
                head.extend(bytes.iter().copied().chain([0; 4]).take(4));
            } else {
                head.extend((data_at as u32).to_le_bytes());
                data_at += bytes.len();
                data.extend(bytes);
            }
        }
        head.extend([0; 4]);
    }
    head.extend(data);
    head
}

/// Apple's MakerNote with the acceleration vector in 1/10000 g.
pub(crate) fn apple_note(v: [i32; 3]) -> Vec<u8> {
    let mut note = b"Apple iOS\0\0\x01MM\0\x01".to_vec();
    note.extend([0, 8, 0, 10, 0, 0, 0, 3, 0, 0, 0, 32, 0, 0, 0, 0]);
    assert_eq!(note.len(), 32);
    for c in v {
        note.extend(c.to_be_bytes());
        note.extend(10_000i32.to_be_bytes());
    }
    note
}

pub(crate) const ORIENTATION: u16 = 0x0112;
pub(crate) const MAKE: u16 = 0x010F;
pub(crate) const MODEL: u16 = 0x0110;
pub(crate) const FOCAL_LENGTH: u16 = 0x920A;
pub(crate) const MAKER_NOTE: u16 = 0x927C;
pub(crate) const PIXEL_X: u16 = 0xA002;
pub(crate) const PIXEL_Y: u16 = 0xA003;
pub(crate) const FOCAL_PLANE_X: u16 = 0xA20E;
pub(crate) const FOCAL_PLANE_UNIT: u16 = 0xA210;
pub(crate) const DIGITAL_ZOOM: u16 = 0xA404;
pub(crate) const F35: u16 = 0xA405;

/// 64 x 64 Adobe CMYK JPEG written by Pillow 12 (ours). Its own conversion to RGB gives (198, 51, 152) at (5, 5) and
/// (51, 207, 152) at (60, 60).
pub(crate) const CMYK_JPEG: &str = "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwADAgIDAgIDAwMDBAMDBAUIBQUEBAUKBwcGCAwKDAwLCgsLDQ4SEA0OEQ4LCxAWEBETFBUVFQwPFxgWFBgSFBUU/8AAFAgAQABABEMRAE0RAFkRAEsRAP/EAB8AAAEFAQEBAQEBAAAAAAAAAAABAgMEBQYHCAkKC//EALUQAAIBAwMCBAMFBQQEAAABfQECAwAEEQUSITFBBhNRYQcicRQygZGhCCNCscEVUtHwJDNicoIJChYXGBkaJSYnKCkqNDU2Nzg5OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6g4SFhoeIiYqSk5SVlpeYmZqio6Slpqeoqaqys7S1tre4ubrCw8TFxsfIycrS09TV1tfY2drh4uPk5ebn6Onq8fLz9PX29/j5+v/aAA4EQwBNAFkASwAAPwD7or48r2Ov0doooooooooooor8VKKKKKKKKKKKKKKKK/auiiiiiiiiiiiiiiivxUooooooooooooooor9q6KKKKKKKKKKKKKKK/FSiiiiiiiiiiiiiiiv2rooooooooooooooor8VKKKKKKKKKKKKKKKK/auv3Goooooooooooooor8VKKKKKKKKKKKKKKKK/auiiiiiiiiiiiiiiivxUooooooooooooooor9q6KKKKKKKKKKKKKKK/FSiiiiiiiiiiiiiiiv2rooooooooooooooor8VKKKKKKKKKKKKKKKK/9k=";

/// A landscape-stored JPEG with an orientation tag.
pub(crate) fn tagged(tag: u16) -> Vec<u8> {
    with_exif(
        &jpeg(&quadrants(128, 96)),
        &tiff(&[(ORIENTATION, V::Short(tag))], &[]),
    )
}

/// A file of one of the folders of `fixtures/tiny`.
pub(crate) fn file_of(folder: &str, name: &str) -> Vec<u8> {
    std::fs::read(format!(
        "{}/fixtures/tiny/{folder}/{name}",
        env!("CARGO_MANIFEST_DIR")
    ))
    .unwrap()
}

/// Colours as they are stored.
pub(crate) fn raw(bytes: &[u8]) -> Pixels {
    let limits = DecodeLimits {
        apply_profile: false,
        ..DecodeLimits::default()
    };
    let photo = read_photo(bytes, &Shot::default(), &SourceMeta::default(), &limits);
    photo.unwrap().image
}

/// Largest and mean difference of any channel.
pub(crate) fn difference(ours: impl Iterator<Item = u8>, theirs: &[u8]) -> (u8, f64) {
    let (mut most, mut sum, mut n) = (0, 0_u64, 0);
    for (a, b) in ours.zip(theirs) {
        most = most.max(a.abs_diff(*b));
        sum += u64::from(a.abs_diff(*b));
        n += 1;
    }
    assert_eq!(n, theirs.len());
    (most, sum as f64 / n as f64)
}
