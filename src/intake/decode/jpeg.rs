//! A walk over a JPEG's markers: is the file complete, and is there enough data for the size it states? The decoder
//! fills what is missing with grey and says nothing.

/// Facts of the frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) components: u8,
    /// An Adobe APP14 segment is there.
    pub(super) adobe: bool,
}

/// Markers up to the end of the image (ITU T.81, B.1); what follows it (previews, videos) is not looked at.
pub(super) fn inspect(bytes: &[u8]) -> Result<Frame, &'static str> {
    let mut at = 2;
    let mut adobe = false;
    let mut frame: Option<(u8, u64)> = None;
    let mut coded = 0u64;
    loop {
        // Fill bytes may stand before a marker.
        while bytes.get(at) == Some(&0xFF) && bytes.get(at + 1) == Some(&0xFF) {
            at += 1;
        }
        let (Some(0xFF), Some(&marker)) = (bytes.get(at), bytes.get(at + 1)) else {
            return Err("the file ends early or its segments are damaged");
        };
        at += 2;
        match marker {
            0xD9 => break,
            0x01 | 0xD0..=0xD7 => continue,
            _ => {}
        }
        let Some(length) = bytes
            .get(at..at + 2)
            .map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])))
        else {
            return Err("the file ends early");
        };
        let Some(body) = bytes.get(at + 2..at + length.max(2)) else {
            return Err("the file ends early");
        };
        at += length.max(2);
        match marker {
            0xEE => adobe |= body.starts_with(b"Adobe"),
            // SOF0..SOF15 without DHT, JPG, DAC
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                frame = Some(frame_header(marker, body).ok_or("its frame header is damaged")?);
            }
            0xDA => {
                let end = scan_end(bytes, at).ok_or("the file ends early")?;
                coded += (end - at) as u64 * 8;
                at = end;
            }
            _ => {}
        }
    }
    let Some((components, least_bits)) = frame else {
        return Err("it has no frame header");
    };
    if coded < least_bits {
        return Err("its data are too few for the size it states");
    }
    Ok(Frame { components, adobe })
}

/// Number of components, and the least number of bits that so many blocks can be coded in: two a block (DC and end
/// of block), one for a progressive frame, where end-of-band runs cover many blocks.
fn frame_header(marker: u8, body: &[u8]) -> Option<(u8, u64)> {
    let height = u64::from(u16::from_be_bytes([*body.get(1)?, *body.get(2)?]));
    let width = u64::from(u16::from_be_bytes([*body.get(3)?, *body.get(4)?]));
    let components = *body.get(5)?;
    let sampling = body
        .get(6..6 + 3 * usize::from(components))?
        .chunks_exact(3)
        .map(|c| (u64::from(c[1] >> 4), u64::from(c[1] & 15)))
        .collect::<Vec<_>>();
    let h_max = sampling.iter().map(|s| s.0).max().filter(|&m| m > 0)?;
    let v_max = sampling.iter().map(|s| s.1).max().filter(|&m| m > 0)?;
    let blocks: u64 = sampling
        .iter()
        .map(|&(h, v)| (width * h).div_ceil(8 * h_max) * (height * v).div_ceil(8 * v_max))
        .sum();
    let bits = match marker {
        0xC0 | 0xC1 => 2,
        0xC2 => 1,
        _ => 0,
    };
    Some((components, blocks * bits))
}

/// Position of the first marker that is neither stuffing nor a restart.
fn scan_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&b| b == 0xFF)?;
        match bytes.get(at + 1)? {
            0x00 | 0xD0..=0xD7 => at += 2,
            0xFF => at += 1,
            _ => return Some(at),
        }
    }
}
