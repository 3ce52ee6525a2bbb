//! AV1 stills, decoded by `rav1d`, the Rust port of dav1d.

use heifer::heifer_hevc_dec::recon::Frame;
use heifer::heifer_isobmff::{HeifFile, ItemId};
use re_rav1d::dav1d::{Decoder, Error, Picture, PixelLayout, PlanarImageComponent, Settings};

use crate::contract::ScanError;
use crate::intake::container::{foreign, unreadable};

/// Units of one still's coded data: a header, a frame, its tiles, and notes between them.
const MAX_UNITS: usize = 1024;
/// Kinds of units (AV1 specification, 6.2.2) that begin a frame.
const FRAME_HEADER: u8 = 3;
const FRAME: u8 = 6;
/// A layered still needs one more question for its last layer, and one when nothing is left.
const MAX_QUESTIONS: usize = 3;

/// Frames of one item. A still has one; a decoder would make pixels of every other one too.
///
/// # Errors
/// `image_unreadable` for units that are cut off or more than a camera writes.
pub(super) fn frames(file: &HeifFile<'_>, id: ItemId) -> Result<u64, ScanError> {
    let data = file.item_data(id).map_err(|e| unreadable(&e).source(e))?;
    let mut rest: &[u8] = &data;
    let (mut units, mut found) = (0, 0);
    while let [head, tail @ ..] = rest {
        // Of an extension's byte nothing is needed.
        let tail = if head & 4 != 0 {
            tail.get(1..).unwrap_or_default()
        } else {
            tail
        };
        let (size, tail) = if head & 2 != 0 {
            leb128(tail).ok_or_else(|| unreadable("its pixels are cut off"))?
        } else {
            (tail.len(), tail)
        };
        rest = tail
            .get(size..)
            .ok_or_else(|| unreadable("its pixels are cut off"))?;
        units += 1;
        if units > MAX_UNITS {
            return Err(unreadable("its pixels are cut into more units than a camera's"));
        }
        found += u64::from(matches!(head >> 3 & 0xF, FRAME_HEADER | FRAME));
    }
    Ok(found)
}

/// A number in up to eight groups of seven bits, the lowest first (AV1 specification, 4.10.5), and what follows.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (i, byte) in bytes.iter().enumerate().take(8) {
        value |= u64::from(byte & 0x7F) << (7 * i);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[i + 1..]));
        }
    }
    None
}

pub(super) fn decode(
    file: &HeifFile<'_>,
    id: ItemId,
    (width, height): (u32, u32),
) -> Result<Frame, ScanError> {
    let data = file.item_data(id).map_err(|e| unreadable(&e).source(e))?;
    let mut settings = Settings::new();
    settings.set_n_threads(1);
    settings.set_max_frame_delay(1);
    settings.set_all_layers(false);
    settings.set_frame_size_limit(
        width
            .checked_mul(height)
            .ok_or_else(|| unreadable("it is too large"))?,
    );
    let mut decoder = Decoder::with_settings(&settings).map_err(refused)?;
    decoder
        .send_data(data.into_owned(), None, None, None)
        .map_err(refused)?;
    let mut picture = Err(Error::Again);
    for _ in 0..MAX_QUESTIONS {
        if matches!(picture, Err(Error::Again)) {
            picture = decoder.get_picture();
        }
    }
    frame(&picture.map_err(refused)?)
}

/// With whole pairs of columns and rows where colours are halved, so that each pair has its own colour.
fn frame(picture: &Picture) -> Result<Frame, ScanError> {
    use PlanarImageComponent::{U, V, Y};
    let depth = picture
        .bits_per_component()
        .and_then(|bits| u8::try_from(bits.0).ok())
        .ok_or_else(|| foreign("its pixels are of an unknown depth"))?;
    let (format, (x, y)) = match picture.pixel_layout() {
        PixelLayout::I400 => (0, (1, 1)),
        PixelLayout::I420 => (1, (2, 2)),
        PixelLayout::I422 => (2, (2, 1)),
        PixelLayout::I444 => (3, (1, 1)),
    };
    let coded = (picture.width(), picture.height());
    let luma = (coded.0.next_multiple_of(x), coded.1.next_multiple_of(y));
    let chroma = if format == 0 {
        (0, 0)
    } else {
        (luma.0 / x, luma.1 / y)
    };
    let [u, v] = if format == 0 {
        [Vec::new(), Vec::new()]
    } else {
        [
            plane(picture, U, chroma, chroma, depth)?,
            plane(picture, V, chroma, chroma, depth)?,
        ]
    };
    Ok(Frame {
        widths: [luma.0, chroma.0, chroma.0],
        heights: [luma.1, chroma.1, chroma.1],
        planes: [plane(picture, Y, coded, luma, depth)?, u, v],
        bit_depth: [depth, depth],
        chroma_format: format,
        full_range: picture.color_range() == re_rav1d::dav1d::pixel::YUVRange::Full,
        matrix_coeffs: picture.matrix_coefficients() as u8,
    })
}

/// Samples of one plane without the padding between its rows; what `coded` has less than `wanted` repeats the last column and row.
fn plane(
    picture: &Picture,
    which: PlanarImageComponent,
    coded: (u32, u32),
    wanted: (u32, u32),
    depth: u8,
) -> Result<Vec<u16>, ScanError> {
    let bytes = picture.plane(which);
    let (width, height) = (coded.0 as usize, coded.1 as usize);
    let each = if depth > 8 { 2 } else { 1 };
    let rows: Vec<&[u8]> = bytes
        .chunks(picture.stride(which) as usize)
        .filter_map(|row| row.get(..width * each))
        .take(height)
        .collect();
    if rows.len() < height || height == 0 || width == 0 {
        return Err(unreadable("its pixels are fewer than stated"));
    }
    let mut out = Vec::with_capacity(wanted.0 as usize * wanted.1 as usize);
    for y in 0..wanted.1 as usize {
        let row = rows[y.min(height - 1)];
        match each {
            1 => out.extend(row.iter().map(|v| u16::from(*v))),
            _ => out.extend(row.chunks_exact(2).map(|v| u16::from_ne_bytes([v[0], v[1]]))),
        }
        let last = out.last().copied().unwrap_or_default();
        out.extend(std::iter::repeat_n(last, wanted.0 as usize - width));
    }
    Ok(out)
}

fn refused(e: Error) -> ScanError {
    match e {
        Error::UnsupportedBitstream => foreign("its kind of AV1 is not read").source(e),
        Error::Again => unreadable("its pixels are cut off").source(e),
        _ => unreadable("its pixels are damaged, or more than stated").source(e),
    }
}
