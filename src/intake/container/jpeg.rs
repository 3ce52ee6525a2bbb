//! JPEG's segments (ITU T.81, annex B).

use std::borrow::Cow;

use super::{
    Coded, Contents, JpegFacts, MAX_EXIF, MAX_ICC, MAX_XMP, Profile, first, foreign, unreadable, xmp,
};
use crate::contract::ScanError;

const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const ICC: &[u8] = b"ICC_PROFILE\0";

/// SOF0 to SOF2 in a frame header.
struct Frame {
    width: u32,
    height: u32,
    components: u8,
    progressive: bool,
    /// The fewest bits that so many blocks can be coded in.
    least_bits: u64,
    /// Components that no scan has brought yet; of a progressive frame all, to its end.
    missing: Vec<u8>,
}

pub(super) fn open(bytes: &[u8]) -> Result<Contents<'_>, ScanError> {
    let mut pixels = Vec::with_capacity(bytes.len() + 4);
    pixels.extend([0xFF, 0xD8]);
    let mut facts = JpegFacts::default();
    let (mut exif, mut packet) = (None, None);
    let mut profile: Vec<(u8, &[u8])> = Vec::new();
    let mut frame: Option<Frame> = None;
    let mut coded = 0u64;
    let mut at = 2;
    let closed = loop {
        let Some(marker_at) = next_marker(bytes, at) else {
            break false;
        };
        let marker = bytes[marker_at + 1];
        at = marker_at + 2;
        match marker {
            0xD9 => break true,
            0x01 | 0xD0..=0xD7 => continue,
            // What no header may be is the trailer of a file whose end marker is missing.
            _ if coded > 0 && !is_header(marker) => break false,
            _ => {}
        }
        let length = bytes
            .get(at..at + 2)
            .map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])));
        let Some(body) = length.and_then(|n| bytes.get(at + 2..at + n.max(2))) else {
            if coded > 0 {
                break false;
            }
            return Err(unreadable("the file ends early"));
        };
        let segment = &bytes[marker_at..at + 2 + body.len()];
        at += 2 + body.len();
        match marker {
            0xC0..=0xC2 => {
                if frame.is_some() {
                    return Err(unreadable("it has two frame headers"));
                }
                let read = frame_header(marker, body)?;
                facts.components = read.components;
                frame = Some(read);
                pixels.extend(segment);
            }
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => return Err(foreign(rare_coding(marker))),
            0xDA => {
                let frame = frame
                    .as_mut()
                    .ok_or_else(|| unreadable("it has no frame header"))?;
                let end = scan_end(bytes, at);
                coded += (end - at) as u64 * 8;
                pixels.extend(segment);
                pixels.extend(&bytes[at..end]);
                at = end;
                frame.scanned(body);
                if frame.missing.is_empty() {
                    break bytes.get(at + 1).is_some_and(|&m| m == 0xD9 || is_header(m));
                }
            }
            0xC4 | 0xDB | 0xDD => pixels.extend(segment),
            0xE0 if body.starts_with(b"JFIF\0") => pixels.extend(segment),
            0xEE if body.starts_with(b"Adobe") => pixels.extend(segment),
            0xE1 if exif.is_none() && body.starts_with(b"Exif\0") => {
                exif = Some(Cow::Borrowed(first(body, MAX_EXIF)));
            }
            0xE1 if packet.is_none() && body.starts_with(XMP) => {
                packet = Some(first(&body[XMP.len()..], MAX_XMP));
            }
            0xE2 if body.starts_with(ICC) && coded == 0 => {
                if let Some((&number, rest)) = body[ICC.len()..].split_first() {
                    profile.push((number, rest.get(1..).unwrap_or_default()));
                }
            }
            _ => {}
        }
    };
    let frame = frame.ok_or_else(|| unreadable("it has no frame header"))?;
    let lacking = if !frame.progressive && !frame.missing.is_empty() {
        Some("the file ends early")
    } else if coded < frame.least_bits {
        Some("its data are too few for the size it states")
    } else {
        None
    };
    facts.open_ended = !closed;
    pixels.extend([0xFF, 0xD9]);
    Ok(Contents {
        coded: Coded::Jpeg(pixels, facts),
        width: frame.width,
        height: frame.height,
        crop: None,
        bytes_a_pixel: frame.bytes_a_pixel(),
        alpha: false,
        lacking,
        exif,
        turn: None,
        xmp_orientation: packet.and_then(xmp::orientation),
        late: false,
        icc: assemble(profile),
    })
}

/// Position of the next marker; bytes that belong to no segment, and fill bytes, are passed over.
fn next_marker(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xFF)?;
        match bytes.get(at + 1)? {
            0x00 => at += 2,
            0xFF => at += 1,
            _ => return Some(at),
        }
    }
}

/// Markers that may stand between a scan and the end of the picture.
fn is_header(marker: u8) -> bool {
    matches!(marker, 0xC4 | 0xCC | 0xDA..=0xDF | 0xE0..=0xEF | 0xFE)
}

fn rare_coding(marker: u8) -> &'static str {
    match marker {
        0xC9 | 0xCA | 0xCB | 0xCD..=0xCF => "its coding is arithmetic",
        0xC3 | 0xC7 => "it is a lossless JPEG",
        _ => "it is a hierarchical JPEG",
    }
}

fn frame_header(marker: u8, body: &[u8]) -> Result<Frame, ScanError> {
    let damaged = || unreadable("its frame header is damaged");
    let &[precision, h1, h0, w1, w0, components, ..] = body else {
        return Err(damaged());
    };
    if precision != 8 {
        return Err(foreign(format_args!("it has {precision} bits a colour, not 8")));
    }
    if !matches!(components, 1 | 3 | 4) {
        return Err(foreign(format_args!("it has {components} colour components")));
    }
    let (height, width) = (u16::from_be_bytes([h1, h0]), u16::from_be_bytes([w1, w0]));
    if height == 0 || width == 0 {
        return Err(unreadable("it states no size"));
    }
    let specs = body.get(6..6 + 3 * usize::from(components)).ok_or_else(damaged)?;
    let sampling: Vec<(u64, u64)> = specs
        .chunks_exact(3)
        .map(|c| (u64::from(c[1] >> 4), u64::from(c[1] & 15)))
        .collect();
    if sampling
        .iter()
        .any(|&(h, v)| !(1..=4).contains(&h) || !(1..=4).contains(&v))
    {
        return Err(damaged());
    }
    let h_max = sampling.iter().map(|s| s.0).max().unwrap_or(1);
    let v_max = sampling.iter().map(|s| s.1).max().unwrap_or(1);
    if sampling.iter().any(|&(h, v)| h_max % h != 0 || v_max % v != 0) {
        return Err(foreign("its colours are sampled at odd steps"));
    }
    let blocks: u64 = sampling
        .iter()
        .map(|&(h, v)| {
            (u64::from(width) * h).div_ceil(8 * h_max) * (u64::from(height) * v).div_ceil(8 * v_max)
        })
        .sum();
    let progressive = marker == 0xC2;
    Ok(Frame {
        width: u32::from(width),
        height: u32::from(height),
        components,
        progressive,
        // DC and end of block, two bits at least; end-of-band runs of a progressive frame cover many blocks.
        least_bits: blocks * if progressive { 1 } else { 2 },
        missing: specs.chunks_exact(3).map(|c| c[0]).collect(),
    })
}

impl Frame {
    fn scanned(&mut self, header: &[u8]) {
        if !self.progressive {
            let count = usize::from(header.first().copied().unwrap_or(0));
            let members = header.get(1..).unwrap_or_default().chunks_exact(2).take(count);
            for member in members {
                self.missing.retain(|id| *id != member[0]);
            }
        }
    }

    /// Planes, picture and turned copy; two bytes more for each coefficient of a progressive frame.
    fn bytes_a_pixel(&self) -> u64 {
        let planes = u64::from(self.components);
        let picture = 3;
        if self.progressive {
            (3 * planes).max(planes + picture) + picture
        } else {
            planes + 2 * picture
        }
    }
}

/// Position of the first marker that is neither stuffing nor a restart, or the end of the file.
fn scan_end(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    loop {
        match bytes[at..].iter().position(|&b| b == 0xFF) {
            Some(n) => at += n,
            None => return bytes.len(),
        }
        match bytes.get(at + 1) {
            None => return bytes.len(),
            Some(0x00 | 0xD0..=0xD7) => at += 2,
            Some(0xFF) => at += 1,
            Some(_) => return at,
        }
    }
}

/// The pieces of a profile in their order.
fn assemble(mut pieces: Vec<(u8, &[u8])>) -> Option<Profile<'_>> {
    let total: usize = pieces.iter().map(|p| p.1.len()).sum();
    if total > MAX_ICC {
        return Some(Profile::Unusable);
    }
    if let [(_, only)] = pieces[..] {
        return Some(Profile::Icc(Cow::Borrowed(only)));
    }
    pieces.sort_by_key(|p| p.0);
    let whole: Vec<u8> = pieces.iter().flat_map(|p| p.1).copied().collect();
    (!whole.is_empty()).then_some(Profile::Icc(Cow::Owned(whole)))
}
