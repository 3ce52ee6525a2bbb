//! WebP's RIFF chunks (RFC 9649).

use std::borrow::Cow;

use super::{Coded, Contents, MAX_EXIF, MAX_ICC, MAX_XMP, Profile, first, unreadable, xmp};
use crate::contract::ScanError;

/// Bits of VP8X's first byte.
const ALPHA: u8 = 0x10;
const ANIMATION: u8 = 0x02;

pub(super) fn open(bytes: &[u8]) -> Result<Contents<'_>, ScanError> {
    let (mut exif, mut icc, mut packet) = (None, None, None);
    let (mut still, mut extended, mut background, mut frame) = (None, None, None, None);
    let mut alpha = false;
    let mut chunks = Chunks(&bytes[12..]);
    while let Some((kind, data)) = chunks.next_chunk() {
        match kind {
            b"VP8 " | b"VP8L" if still.is_none() => still = Some((*kind, data)),
            b"VP8X" if extended.is_none() => {
                alpha |= data.first().is_some_and(|flags| flags & ALPHA != 0);
                extended = Some(data);
            }
            b"ANIM" if background.is_none() => background = Some(data),
            b"ANMF" if frame.is_none() => frame = Some(data),
            b"ALPH" => alpha = true,
            b"EXIF" if exif.is_none() => exif = Some(Cow::Borrowed(first(data, MAX_EXIF))),
            b"XMP " if packet.is_none() => packet = Some(first(data, MAX_XMP)),
            b"ICCP" if icc.is_none() => {
                icc = Some(if data.len() <= MAX_ICC {
                    Profile::Icc(Cow::Borrowed(data))
                } else {
                    Profile::Unusable
                });
            }
            _ => {}
        }
    }
    let ((width, height), pixels) = match (still, extended, frame) {
        (Some((kind, data)), ..) => {
            // In a lossless stream it is one more bit of the header.
            alpha |= &kind == b"VP8L" && data.get(4).is_some_and(|b| b & ALPHA != 0);
            (size(&kind, data)?, riff(&[(kind, data)]))
        }
        // The first frame of an animation, on the canvas that it is made for.
        (None, Some(head), Some(frame)) => {
            let side = |at: usize| {
                let b = head.get(at..at + 3)?;
                Some(1 + u32::from_le_bytes([b[0], b[1], b[2], 0]))
            };
            let canvas = side(4)
                .zip(side(7))
                .ok_or_else(|| unreadable("its header is damaged"))?;
            let background = background.ok_or_else(|| unreadable("its animation has no header"))?;
            // Its flags promise no other chunks any more.
            let mut head = head.to_vec();
            head[0] &= ALPHA | ANIMATION;
            let kept = [(*b"VP8X", &head[..]), (*b"ANIM", background), (*b"ANMF", frame)];
            (canvas, riff(&kept))
        }
        _ => return Err(unreadable("the file ends before its pixels")),
    };
    Ok(Contents {
        coded: Coded::WebP(pixels),
        width,
        height,
        crop: None,
        // The decoder's colours, then the picture's; or the picture and a turned copy.
        bytes_a_pixel: 4 + 4,
        alpha,
        lacking: None,
        exif,
        turn: None,
        xmp_orientation: packet.and_then(xmp::orientation),
        // A reader of WebP has the whole file; metadata stand behind the pixels by rule.
        late: false,
        icc,
    })
}

/// Chunk after chunk; the last one may be cut.
struct Chunks<'a>(&'a [u8]);

impl<'a> Chunks<'a> {
    fn next_chunk(&mut self) -> Option<(&'a [u8; 4], &'a [u8])> {
        let (head, rest) = self.0.split_first_chunk::<8>()?;
        let (kind, length) = head.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let data = first(rest, length);
        self.0 = rest.get(length.saturating_add(length & 1)..).unwrap_or_default();
        Some((kind, data))
    }
}

fn size(kind: &[u8; 4], data: &[u8]) -> Result<(u32, u32), ScanError> {
    let found = match (kind, data) {
        (b"VP8 ", [_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..]) => {
            let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3FFF);
            Some((side(*w0, *w1), side(*h0, *h1)))
        }
        (b"VP8L", [0x2F, b0, b1, b2, b3, ..]) => {
            let bits = u32::from_le_bytes([*b0, *b1, *b2, *b3]);
            Some((1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)))
        }
        _ => None,
    };
    found
        .filter(|&(w, h)| w > 0 && h > 0)
        .ok_or_else(|| unreadable("its frame header is damaged"))
}

fn riff(chunks: &[([u8; 4], &[u8])]) -> Vec<u8> {
    let length: usize = chunks
        .iter()
        .map(|(_, data)| 8 + data.len() + data.len() % 2)
        .sum();
    let mut out = Vec::with_capacity(12 + length);
    out.extend(b"RIFF");
    out.extend((4 + length as u32).to_le_bytes());
    out.extend(b"WEBP");
    for (kind, data) in chunks {
        out.extend(kind);
        out.extend((data.len() as u32).to_le_bytes());
        out.extend(*data);
        out.extend(std::iter::repeat_n(0, data.len() % 2));
    }
    out
}
