//! PNG to three channels of 8 bits, row by row.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Reader, Transformations};

use super::{Picture, unreadable};
use crate::contract::ScanError;

/// Of the decoder's own buffers, which hold some rows; the picture is not among them.
const BUFFERS: usize = 64 << 20;

/// `clip`: grey of 16 bits as in [`super::DecodeLimits::clip_deep_grey`]; else the upper 8 bits are taken.
pub(super) fn decode(file: &[u8], clip: bool) -> Result<Picture, ScanError> {
    let limits = png::Limits { bytes: BUFFERS };
    let mut decoder = Decoder::new_with_limits(Cursor::new(file), limits);
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info().map_err(damaged)?;
    let (width, height) = reader.info().size();
    let (colour, depth) = reader.output_color_type();
    let layout = Layout {
        channels: colour.samples(),
        deep: depth == BitDepth::Sixteen,
        clip: clip && colour == ColorType::Grayscale,
    };
    let mut rgb = vec![0; width as usize * height as usize * 3];
    let rows = rgb.chunks_exact_mut(width as usize * 3);
    if reader.info().interlaced {
        let whole = interlaced(&mut reader, layout)?;
        let row = width as usize * layout.channels;
        let narrow = Layout {
            deep: false,
            ..layout
        };
        whole
            .chunks_exact(row)
            .zip(rows)
            .for_each(|(from, to)| narrow.row(from, to));
    } else {
        for to in rows {
            let from = reader.next_row().map_err(damaged)?;
            let from = from.ok_or_else(|| unreadable("its rows are incomplete"))?;
            layout.row(from.data(), to);
        }
    }
    Ok(Picture {
        width: width as usize,
        height: height as usize,
        rgb,
        grey: layout.channels < 3,
    })
}

fn damaged(e: DecodingError) -> ScanError {
    unreadable(&e).source(e)
}

/// All passes of an interlaced picture, 8 bits a channel.
fn interlaced(reader: &mut Reader<Cursor<&[u8]>>, layout: Layout) -> Result<Vec<u8>, ScanError> {
    let (width, height) = reader.info().size();
    let stride = width as usize * layout.channels;
    let mut whole = vec![0; stride * height as usize];
    let mut narrow = Vec::new();
    while let Some(row) = reader.next_interlaced_row().map_err(damaged)? {
        narrow.clear();
        narrow.extend(
            row.data()
                .chunks_exact(layout.step())
                .map(|sample| layout.level(sample)),
        );
        let png::InterlaceInfo::Adam7(place) = row.interlace() else {
            return Err(unreadable("its rows are incomplete"));
        };
        png::expand_interlaced_row(&mut whole, stride, &narrow, place, 8 * layout.channels as u8);
    }
    Ok(whole)
}

#[derive(Clone, Copy)]
struct Layout {
    channels: usize,
    /// Two bytes a sample, the upper one first.
    deep: bool,
    clip: bool,
}

impl Layout {
    /// Bytes of a sample.
    fn step(self) -> usize {
        1 + usize::from(self.deep)
    }

    /// 8 bits of a sample.
    fn level(self, sample: &[u8]) -> u8 {
        match sample {
            [high, low] if self.clip => u16::from_be_bytes([*high, *low]).min(255) as u8,
            _ => sample[0],
        }
    }

    /// One row to RGB; alpha is dropped.
    fn row(self, from: &[u8], to: &mut [u8]) {
        let step = self.step();
        let pixels = to
            .chunks_exact_mut(3)
            .zip(from.chunks_exact(self.channels * step));
        if self.channels < 3 {
            for (rgb, stored) in pixels {
                rgb.fill(self.level(&stored[..step]));
            }
        } else {
            for (rgb, stored) in pixels {
                rgb[0] = stored[0];
                rgb[1] = stored[step];
                rgb[2] = stored[2 * step];
            }
        }
    }
}
