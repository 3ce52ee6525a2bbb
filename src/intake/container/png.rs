//! PNG's chunks (PNG specification, third edition).

use std::borrow::Cow;

use super::{Coded, Contents, MAX_EXIF, MAX_ICC, MAX_XMP, Profile, first, foreign, inflate, unreadable, xmp};
use crate::contract::ScanError;

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";

/// EXIF and XMP of a PNG, from the chunk made for them or from text, as older programs write them.
#[derive(Default)]
struct Metadata<'a> {
    exif: Option<Cow<'a, [u8]>>,
    raw_exif: Option<Vec<u8>>,
    orientation: Option<u8>,
    icc: Option<Profile<'a>>,
}

pub(super) fn open(bytes: &[u8]) -> Result<Contents<'_>, ScanError> {
    let mut pixels = Vec::with_capacity(bytes.len() + 64);
    pixels.extend(SIGNATURE);
    let mut meta = Metadata::default();
    let mut header: Option<Header> = None;
    let (mut in_pixels, mut late, mut transparent, mut damaged) = (false, false, false, false);
    let mut at = SIGNATURE.len();
    while let Some(&[l3, l2, l1, l0, a, b, c, d]) = bytes.get(at..at + 8) {
        let (length, kind) = (u32::from_be_bytes([l3, l2, l1, l0]) as usize, [a, b, c, d]);
        let rest = &bytes[at + 8..];
        let data = first(rest, length);
        let whole = rest.len() >= length.saturating_add(4);
        if matches!(&kind, b"IHDR" | b"PLTE" | b"tRNS" | b"IDAT") && whole {
            let stated = rest[length..].first_chunk().map(|sum| u32::from_be_bytes(*sum));
            damaged |= stated != Some(checksum(&kind, data));
        }
        match &kind {
            b"IEND" => break,
            b"CgBI" => return Err(foreign("it is a PNG of an iPhone's own programs")),
            b"IHDR" => {
                header = Some(Header::read(data)?);
                chunk(&mut pixels, kind, data);
            }
            b"PLTE" => chunk(&mut pixels, kind, data),
            b"tRNS" => {
                transparent = true;
                chunk(&mut pixels, kind, data);
            }
            // The last one of a file may be cut; whether all rows are there shows when they are decoded.
            b"IDAT" => {
                in_pixels = true;
                chunk(&mut pixels, kind, data);
            }
            b"eXIf" if whole && in_pixels && !meta.turns() => {
                late = true;
                meta.take(kind, data);
            }
            _ if whole && !in_pixels => meta.take(kind, data),
            _ => {}
        }
        if !whole {
            break;
        }
        at += 12 + length;
    }
    let header = header.ok_or_else(|| unreadable("it has no header"))?;
    chunk(&mut pixels, *b"IEND", &[]);
    Ok(Contents {
        coded: Coded::Png(pixels),
        width: header.width,
        height: header.height,
        crop: None,
        bytes_a_pixel: header.bytes_a_pixel(),
        alpha: transparent || matches!(header.colour, 4 | 6),
        // The decoder has read all rows before it comes to the last checksum, and looks at it no more.
        lacking: match (in_pixels, damaged) {
            (false, _) => Some("the file ends before its pixels"),
            (true, true) => Some("its data are damaged"),
            (true, false) => None,
        },
        exif: meta.exif.or(meta.raw_exif.map(Cow::Owned)),
        turn: None,
        xmp_orientation: meta.orientation,
        late,
        icc: meta.icc,
    })
}

struct Header {
    width: u32,
    height: u32,
    colour: u8,
    interlaced: bool,
}

impl Header {
    fn read(data: &[u8]) -> Result<Self, ScanError> {
        let &[w3, w2, w1, w0, h3, h2, h1, h0, _depth, colour, _, _, interlace] = data else {
            return Err(unreadable("its header is damaged"));
        };
        let (width, height) = (
            u32::from_be_bytes([w3, w2, w1, w0]),
            u32::from_be_bytes([h3, h2, h1, h0]),
        );
        if width == 0 || height == 0 {
            return Err(unreadable("it states no size"));
        }
        Ok(Self {
            width,
            height,
            colour,
            interlaced: interlace != 0,
        })
    }

    /// The picture and a turned copy; an interlaced one is collected first, with up to four channels of 8 bits (grey
    /// of 16 bits takes less).
    fn bytes_a_pixel(&self) -> u64 {
        if self.interlaced { 4 + 3 } else { 3 + 3 }
    }
}

/// Appends a chunk with its checksum.
fn chunk(out: &mut Vec<u8>, kind: [u8; 4], data: &[u8]) {
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(kind);
    out.extend(data);
    out.extend(checksum(&kind, data).to_be_bytes());
}

fn checksum(kind: &[u8; 4], data: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(kind);
    crc.update(data);
    crc.sum()
}

impl<'a> Metadata<'a> {
    /// Something that may say how to turn the photo was found.
    fn turns(&self) -> bool {
        self.exif.is_some() || self.raw_exif.is_some() || self.orientation.is_some()
    }

    fn take(&mut self, kind: [u8; 4], data: &'a [u8]) {
        match &kind {
            b"eXIf" if self.exif.is_none() => self.exif = Some(Cow::Borrowed(first(data, MAX_EXIF))),
            b"iCCP" if self.icc.is_none() => {
                self.icc = Some(match keyword(data) {
                    Some((_, [0, packed @ ..])) => match inflate(packed, MAX_ICC + 1) {
                        Some(icc) if icc.len() <= MAX_ICC => Profile::Icc(Cow::Owned(icc)),
                        _ => Profile::Unusable,
                    },
                    _ => Profile::Unusable,
                });
            }
            b"tEXt" => {
                if let Some((name, text)) = keyword(data) {
                    self.text(name, |most| Some(first(text, most).to_vec()));
                }
            }
            b"zTXt" => {
                if let Some((name, [0, packed @ ..])) = keyword(data) {
                    self.text(name, |most| inflate(packed, most));
                }
            }
            b"iTXt" => {
                if let Some((name, [packed, 0, rest @ ..])) = keyword(data)
                    && let Some((_language, rest)) = keyword(rest)
                    && let Some((_translated, text)) = keyword(rest)
                {
                    self.text(name, |most| match packed {
                        0 => Some(first(text, most).to_vec()),
                        _ => inflate(text, most),
                    });
                }
            }
            _ => {}
        }
    }

    /// A text is unpacked only if its name says that it is one of ours, the first of each.
    fn text(&mut self, name: &[u8], unpack: impl Fn(usize) -> Option<Vec<u8>>) {
        match name {
            b"XML:com.adobe.xmp" if self.orientation.is_none() => {
                self.orientation = unpack(MAX_XMP).as_deref().and_then(xmp::orientation);
            }
            b"Raw profile type exif" | b"Raw profile type APP1" if self.raw_exif.is_none() => {
                // Two digits a byte, and line ends.
                let block = unpack(3 * MAX_EXIF).as_deref().and_then(raw_profile);
                // APP1 may hold XMP instead.
                self.raw_exif =
                    block.filter(|b| b.starts_with(b"Exif\0") || matches!(&b[..], [b'I' | b'M', ..]));
            }
            b"Raw profile type xmp" if self.orientation.is_none() => {
                let packet = unpack(3 * MAX_XMP).as_deref().and_then(raw_profile);
                self.orientation = packet.as_deref().and_then(xmp::orientation);
            }
            _ => {}
        }
    }
}

/// Text before the first null, and what follows it.
fn keyword(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = data.iter().position(|&b| b == 0)?;
    Some((&data[..end], &data[end + 1..]))
}

/// ImageMagick's way of keeping a block as text: a line with its name, one with its length, then hexadecimal digits.
fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.strip_prefix(b"\n").unwrap_or(text);
    let (_name, rest) = text.split_at_checked(text.iter().position(|&b| b == b'\n')? + 1)?;
    let (_length, digits) = rest.split_at_checked(rest.iter().position(|&b| b == b'\n')? + 1)?;
    let digits: Vec<u8> = digits
        .iter()
        .filter(|b| !b.is_ascii_whitespace())
        .map_while(|&b| char::from(b).to_digit(16).map(|d| d as u8))
        .collect();
    let block: Vec<u8> = digits.chunks_exact(2).map(|d| d[0] << 4 | d[1]).collect();
    (!block.is_empty()).then_some(block)
}
