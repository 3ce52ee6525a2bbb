//! WebP to three channels of 8 bits.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;
use image::{ImageDecoder, ImageResult};

use super::{Picture, unreadable};
use crate::contract::ScanError;

/// Bytes at the end that a decoder needs of whole data. The arithmetic coder of lossy files writes up to two more than it
/// needs, and the decoder may read one beyond the end; prefix codes of lossless files end with the data.
const TAIL: [(&[u8; 4], usize); 2] = [(b"VP8 ", 16), (b"VP8L", 4)];
/// RIFF, size, WEBP, chunk, size.
const HEADER: usize = 20;

/// WebP has no checksum, and its entropy coding gives a picture for any bytes. Of whole data a decoder needs the last
/// bytes; data that were damaged before end somewhere else. So a picture that comes out without them is no picture.
pub(super) fn decode(file: &[u8]) -> Result<Picture, ScanError> {
    let picture = read(file).map_err(|e| unreadable(&e).source(e))?;
    if let Some(short) = without_tail(file)
        && read(&short).is_ok()
    {
        return Err(unreadable("its data are damaged"));
    }
    Ok(picture)
}

fn read(file: &[u8]) -> ImageResult<Picture> {
    let decoder = WebPDecoder::new(Cursor::new(file))?;
    let (width, height) = decoder.dimensions();
    let channels = usize::from(decoder.color_type().channel_count());
    let pixels = width as usize * height as usize;
    let mut rgb = vec![0; pixels * channels];
    decoder.read_image(&mut rgb)?;
    if channels == 4 {
        for i in 1..pixels {
            rgb.copy_within(4 * i..4 * i + 3, 3 * i);
        }
        rgb.truncate(3 * pixels);
        rgb.shrink_to_fit();
    }
    Ok(Picture {
        width: width as usize,
        height: height as usize,
        rgb,
        grey: false,
    })
}

/// The file with the end of its one chunk cut off; none for animations and for files too small to tell.
fn without_tail(file: &[u8]) -> Option<Vec<u8>> {
    let kind = file.get(12..16)?;
    let (_, tail) = TAIL.iter().find(|(name, _)| name.as_slice() == kind)?;
    let length = u32::from_le_bytes(file.get(16..20)?.try_into().ok()?) as usize;
    if length < 8 * tail {
        return None;
    }
    let kept = length - tail;
    let mut short = file.get(..HEADER + kept)?.to_vec();
    short[16..20].copy_from_slice(&(kept as u32).to_le_bytes());
    let riff = (short.len() - 8) as u32;
    short[4..8].copy_from_slice(&riff.to_le_bytes());
    Some(short)
}
