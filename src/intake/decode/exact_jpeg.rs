//! JPEG to the very bytes that libjpeg-turbo gives, and so Pillow and the reference implementations of the models.
//!
//! ITU T.81 leaves the inverse DCT, the upsampling of chroma and the rounding of colours open, and decoders differ
//! by some levels, which a depth or segmentation network shows as differences of up to a per cent. This decoder
//! takes libjpeg's choices: the slow integer DCT, triangle-filter upsampling, 16-bit colour constants. It does what
//! cameras and phones write, 8 bits, Huffman, baseline or progressive, grey or three components, and four inks, which
//! become RGB as Pillow makes it.
//!
//! It repairs nothing. Data that end early, last too long, or go where no encoder goes are damaged, and the answer is
//! `None`: a photo with a guessed part would be measured like any other.

mod entropy;
mod idct;
mod output;

use entropy::{Bits, Huffman};

/// A decoded picture.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) width: usize,
    pub(super) height: usize,
    /// 1 (grey) or 3 (RGB), interleaved.
    pub(super) channels: usize,
    pub(super) data: Vec<u8>,
}

/// One colour plane.
struct Component {
    id: u8,
    h: usize,
    v: usize,
    table: usize,
    /// Samples that belong to the picture; the plane is padded to whole units.
    width: usize,
    height: usize,
    /// Blocks across, padded.
    columns: usize,
    plane: Vec<u8>,
    /// Progressive only: coefficients in natural order, block after block.
    coefficients: Vec<i16>,
    /// Progressive only: how many low bits of each coefficient are still unknown; -1 if nothing came yet.
    missing_bits: [i8; 64],
}

impl Component {
    fn stride(&self) -> usize {
        self.columns * 8
    }
}

/// What the first three components are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Colours {
    /// Red, green and blue, or inverted cyan, magenta and yellow.
    Plain,
    /// Luma and chroma.
    Coded,
}

/// Position of the k-th coded coefficient (T.81, figure A.6).
const ZIGZAG: [usize; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
    14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39,
    46, 53, 60, 61, 54, 47, 55, 62, 63,
];

#[derive(Default)]
struct Decoder {
    quantisation: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
    restart_interval: usize,
    width: usize,
    height: usize,
    progressive: bool,
    components: Vec<Component>,
    h_max: usize,
    v_max: usize,
    jfif: bool,
    adobe_transform: Option<u8>,
}

/// One scan's parameters (T.81, B.2.3).
struct Scan {
    /// Component, DC table, AC table.
    members: Vec<(usize, usize, usize)>,
    first: usize,
    last: usize,
    high: u8,
    low: u8,
}

/// More scans than any encoder makes; each costs a pass over the picture.
const MAX_SCANS: usize = 64;
/// Bytes that a camera may leave between the last unit and the marker after it.
const MAX_PADDING: usize = 3;
/// Largest dequantised DC of 8-bit samples is 1024; some encoders go beyond it on purpose, none so far.
const MAX_DC: i32 = 1280;

/// Decodes the segments of one picture, or `None` if its data are damaged. `open_ended`: other bytes may follow the
/// last scan's.
pub(super) fn decode(bytes: &[u8], open_ended: bool) -> Option<Picture> {
    let mut decoder = Decoder::default();
    let mut scans = 0;
    let mut at = 2;
    if bytes.get(..2)? != [0xFF, 0xD8] {
        return None;
    }
    loop {
        if *bytes.get(at)? != 0xFF {
            let rest = bytes.get(at..)?;
            let left = rest.iter().position(|&b| b == 0xFF)?;
            let padding = left <= MAX_PADDING && rest[..left].iter().all(|&b| b == 0);
            // Only behind the last scan: the file goes on with something else than its end marker.
            let trailer = open_ended && scans > 0 && rest_is_data(rest);
            match (padding, trailer) {
                (true, _) => at += left,
                (_, true) => return decoder.finish(),
                _ => return None,
            }
        }
        while *bytes.get(at + 1)? == 0xFF {
            at += 1;
        }
        let marker = bytes[at + 1];
        at += 2;
        match marker {
            0xD9 => return decoder.finish(),
            0x01 | 0xD0..=0xD7 => continue,
            _ => {}
        }
        let length = usize::from(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let body = bytes.get(at + 2..at + length)?;
        at += length;
        match marker {
            0xC0..=0xC2 => decoder.frame(body, marker == 0xC2)?,
            // Lossless, hierarchical and arithmetic-coded frames.
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCF => return None,
            0xC4 => decoder.huffman(body)?,
            0xDB => decoder.quantisation(body)?,
            0xDD => {
                decoder.restart_interval = usize::from(u16::from_be_bytes([*body.first()?, *body.get(1)?]))
            }
            0xDA => {
                scans += 1;
                if scans > MAX_SCANS {
                    return None;
                }
                at += decoder.scan(body, bytes.get(at..)?)?;
            }
            0xE0 => decoder.jfif |= body.starts_with(b"JFIF\0"),
            0xEE if body.starts_with(b"Adobe") => decoder.adobe_transform = Some(*body.get(11)?),
            _ => {}
        }
    }
}

/// A brightness that samples of 8 bits can have. Damage shifts it for all blocks that follow.
fn plausible_dc(coefficient: i16, table: &[u16; 64]) -> Option<()> {
    let step = i32::from(table[0]);
    ((i32::from(coefficient) * step).abs() <= MAX_DC + 2 * step).then_some(())
}

/// No marker but the end stands in it.
fn rest_is_data(rest: &[u8]) -> bool {
    let end = rest.len().saturating_sub(2);
    rest[..end]
        .windows(2)
        .all(|pair| pair[0] != 0xFF || matches!(pair[1], 0x00 | 0xD0..=0xD7 | 0xFF))
}

impl Decoder {
    fn quantisation(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&head, rest)) = body.split_first() {
            let wide = head >> 4 != 0;
            let bytes = if wide { 128 } else { 64 };
            let values = rest.get(..bytes)?;
            let mut table = [0; 64];
            for (k, &position) in ZIGZAG.iter().enumerate() {
                table[position] = if wide {
                    u16::from_be_bytes([values[2 * k], values[2 * k + 1]])
                } else {
                    u16::from(values[k])
                };
            }
            *self.quantisation.get_mut(usize::from(head & 15))? = Some(table);
            body = &rest[bytes..];
        }
        Some(())
    }

    fn huffman(&mut self, mut body: &[u8]) -> Option<()> {
        while let Some((&head, rest)) = body.split_first() {
            let counts: &[u8; 16] = rest.get(..16)?.try_into().ok()?;
            let total = counts.iter().map(|&c| usize::from(c)).sum::<usize>();
            let symbols = rest.get(16..16 + total)?;
            let tables = if head >> 4 == 0 {
                &mut self.dc
            } else {
                &mut self.ac
            };
            *tables.get_mut(usize::from(head & 15))? = Some(Huffman::new(counts, symbols)?);
            body = &rest[16 + total..];
        }
        Some(())
    }

    fn frame(&mut self, body: &[u8], progressive: bool) -> Option<()> {
        let number = |i: usize| {
            Some(usize::from(u16::from_be_bytes([
                *body.get(i)?,
                *body.get(i + 1)?,
            ])))
        };
        let (precision, count) = (*body.first()?, usize::from(*body.get(5)?));
        (self.height, self.width, self.progressive) = (number(1)?, number(3)?, progressive);
        let stated = self.width > 0 && self.height > 0;
        let usable = precision == 8 && matches!(count, 1 | 3 | 4) && stated;
        if !usable || !self.components.is_empty() {
            return None;
        }
        let specs = body.get(6..6 + 3 * count)?;
        let sampling = |spec: &[u8]| (usize::from(spec[1] >> 4), usize::from(spec[1] & 15));
        self.h_max = specs.chunks_exact(3).map(|s| sampling(s).0).max()?;
        self.v_max = specs.chunks_exact(3).map(|s| sampling(s).1).max()?;
        for spec in specs.chunks_exact(3) {
            let (h, v) = sampling(spec);
            let fits = (1..=4).contains(&h) && (1..=4).contains(&v);
            if !fits || !self.h_max.is_multiple_of(h) || !self.v_max.is_multiple_of(v) {
                return None;
            }
            let columns = self.width.div_ceil(8 * self.h_max) * h;
            let rows = self.height.div_ceil(8 * self.v_max) * v;
            self.components.push(Component {
                id: spec[0],
                h,
                v,
                table: usize::from(spec[2]),
                width: (self.width * h).div_ceil(self.h_max),
                height: (self.height * v).div_ceil(self.v_max),
                columns,
                // Of a progressive picture they come one by one, at its end.
                plane: if progressive {
                    Vec::new()
                } else {
                    vec![0; columns * rows * 64]
                },
                coefficients: if progressive {
                    vec![0; columns * rows * 64]
                } else {
                    Vec::new()
                },
                missing_bits: [-1; 64],
            });
        }
        Some(())
    }

    fn scan_header(&self, body: &[u8]) -> Option<Scan> {
        let count = usize::from(*body.first()?);
        let specs = body.get(1..1 + 2 * count)?;
        let members = specs.chunks_exact(2).map(|spec| {
            let index = self.components.iter().position(|c| c.id == spec[0])?;
            Some((index, usize::from(spec[1] >> 4), usize::from(spec[1] & 15)))
        });
        let tail = body.get(1 + 2 * count..4 + 2 * count)?;
        let scan = Scan {
            members: members.collect::<Option<Vec<_>>>()?,
            first: usize::from(tail[0]),
            last: usize::from(tail[1]),
            high: tail[2] >> 4,
            low: tail[2] & 15,
        };
        let range = if self.progressive {
            scan.first <= scan.last && scan.last < 64 && scan.low < 14 && (scan.first > 0 || scan.last == 0)
        } else {
            true
        };
        let alone = scan.first == 0 || scan.members.len() == 1;
        (count > 0 && range && alone).then_some(scan)
    }

    /// Decodes one scan; gives the bytes that it took.
    fn scan(&mut self, body: &[u8], data: &[u8]) -> Option<usize> {
        let scan = self.scan_header(body)?;
        let mut bits = Bits::new(data);
        let mut predictions = [0i32; 4];
        let mut run = 0;
        let (across, down) = match scan.members.as_slice() {
            // A scan of one component has only the blocks that hold samples.
            [(index, ..)] => {
                let c = self.components.get(*index)?;
                (c.width.div_ceil(8), c.height.div_ceil(8))
            }
            _ => (
                self.width.div_ceil(8 * self.h_max),
                self.height.div_ceil(8 * self.v_max),
            ),
        };
        let single = scan.members.len() == 1;
        for unit in 0..across * down {
            if self.restart_interval > 0 && unit > 0 && unit.is_multiple_of(self.restart_interval) {
                bits.restart()?;
                (predictions, run) = ([0; 4], 0);
            }
            for (slot, &(index, dc, ac)) in scan.members.iter().enumerate() {
                let (h, v) = if single {
                    (1, 1)
                } else {
                    let c = self.components.get(index)?;
                    (c.h, c.v)
                };
                for sub in 0..h * v {
                    let column = unit % across * h + sub % h;
                    let row = unit / across * v + sub / h;
                    self.block(
                        &scan,
                        index,
                        (dc, ac),
                        (column, row),
                        &mut bits,
                        predictions.get_mut(slot)?,
                        &mut run,
                    )?;
                }
            }
        }
        if self.progressive {
            for &(index, ..) in &scan.members {
                for k in scan.first..=scan.last {
                    self.components[index].missing_bits[k] = scan.low as i8;
                }
            }
        }
        Some(bits.consumed())
    }

    #[allow(clippy::too_many_arguments)]
    fn block(
        &mut self,
        scan: &Scan,
        index: usize,
        (dc, ac): (usize, usize),
        (column, row): (usize, usize),
        bits: &mut Bits<'_>,
        prediction: &mut i32,
        run: &mut u32,
    ) -> Option<()> {
        let component = &mut self.components[index];
        let block = row * component.columns + column;
        if !self.progressive {
            let table = self.quantisation.get(component.table)?.as_ref()?;
            let (dc, ac) = (self.dc.get(dc)?.as_ref()?, self.ac.get(ac)?.as_ref()?);
            let mut coefficients = [0; 64];
            bits.sequential(dc, ac, prediction, &mut coefficients)?;
            plausible_dc(coefficients[0], table)?;
            let at = (row * component.stride() + column) * 8;
            let stride = component.stride();
            idct::inverse(&coefficients, table, component.plane.get_mut(at..)?, stride);
            return Some(());
        }
        let coefficients: &mut [i16; 64] = component
            .coefficients
            .get_mut(block * 64..block * 64 + 64)?
            .try_into()
            .ok()?;
        match (scan.first, scan.high) {
            (0, 0) => bits.dc_first(self.dc.get(dc)?.as_ref()?, prediction, scan.low, coefficients),
            (0, _) => bits.dc_refine(scan.low, coefficients),
            (first, high) => {
                let table = self.ac.get(ac)?.as_ref()?;
                let band = first..=scan.last;
                match high {
                    0 => bits.ac_first(table, band, scan.low, run, coefficients),
                    _ => bits.ac_refine(table, band, scan.low, run, coefficients),
                }
            }
        }
    }

    fn finish(mut self) -> Option<Picture> {
        if self.components.is_empty() {
            return None;
        }
        if self.progressive {
            for component in &mut self.components {
                // Its last scans are missing; libjpeg would smooth over what is not known.
                if component.missing_bits.iter().any(|&b| b != 0) {
                    return None;
                }
                let table = self.quantisation.get(component.table)?.as_ref()?;
                let stride = component.stride();
                let all = std::mem::take(&mut component.coefficients);
                component.plane = vec![0; all.len()];
                for (block, coefficients) in all.chunks_exact(64).enumerate() {
                    let at = (block / component.columns * stride + block % component.columns) * 8;
                    let coefficients: &[i16; 64] = coefficients.try_into().ok()?;
                    plausible_dc(coefficients[0], table)?;
                    idct::inverse(coefficients, table, component.plane.get_mut(at..)?, stride);
                }
            }
        }
        let ids: Vec<u8> = self.components.iter().map(|c| c.id).collect();
        let colours = match (ids.len(), self.jfif, self.adobe_transform) {
            // Four inks without a marker are not coded as luma and chroma; with an unknown one they are.
            (4, _, None | Some(0)) => Colours::Plain,
            (4, ..) => Colours::Coded,
            (_, false, Some(0)) => Colours::Plain,
            (_, false, None) if ids == *b"RGB" => Colours::Plain,
            _ => Colours::Coded,
        };
        Some(output::picture(
            &self.components,
            (self.width, self.height),
            (self.h_max, self.v_max),
            colours,
        ))
    }
}
