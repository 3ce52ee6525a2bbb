use rayon::prelude::*;

use super::{ByteMix, ByteResize, CHANNELS, Levels, Normal, Picture, PixelOrder};
use crate::ops::mix::Mix;

pub(super) fn resized(resize: &ByteResize, picture: &Picture<'_>) -> Vec<u8> {
    let (width, _) = resize.size(picture);
    let across = |data: &[u8]| {
        let columns = resize.columns.as_ref();
        columns.map(|mix| along_rows(data, picture.width, mix))
    };
    let down = |data: &[u8], width| resize.rows.as_ref().map(|mix| along_columns(data, width, mix));
    let passed = if resize.rows_first {
        let first = down(picture.bytes, picture.width);
        across(first.as_deref().unwrap_or(picture.bytes)).or(first)
    } else {
        let first = across(picture.bytes);
        down(first.as_deref().unwrap_or(picture.bytes), width).or(first)
    };
    passed.unwrap_or_else(|| picture.bytes.to_vec())
}

fn half(bits: u32) -> i32 {
    1 << (bits - 1)
}

fn byte(sum: i32, bits: u32) -> u8 {
    (sum >> bits).clamp(0, 255) as u8
}

fn along_rows(data: &[u8], from: usize, taps: &ByteMix) -> Vec<u8> {
    let to = taps.mix.len();
    let rows = data.len() / (from * CHANNELS);
    let mut out = vec![0; rows * to * CHANNELS];
    let pairs = out
        .par_chunks_exact_mut(to * CHANNELS)
        .zip(data.par_chunks_exact(from * CHANNELS));
    pairs.for_each(|(to, from)| {
        for (pixel, (start, weights)) in to.chunks_exact_mut(CHANNELS).zip(taps.mix.iter()) {
            let mut sums = [half(taps.bits); CHANNELS];
            for (rgb, &w) in from[start * CHANNELS..].chunks_exact(CHANNELS).zip(weights) {
                for (sum, &byte) in sums.iter_mut().zip(rgb) {
                    *sum += i32::from(byte) * w;
                }
            }
            for (out, &sum) in pixel.iter_mut().zip(&sums) {
                *out = byte(sum, taps.bits);
            }
        }
    });
    out
}

fn along_columns(data: &[u8], width: usize, taps: &ByteMix) -> Vec<u8> {
    let row = width * CHANNELS;
    let mut out = vec![0; taps.mix.len() * row];
    out.par_chunks_exact_mut(row).enumerate().for_each_init(
        || vec![0i32; row],
        |sums, (y, to)| {
            let (start, weights) = taps.mix.of(y);
            sums.fill(half(taps.bits));
            for (from, &w) in data[start * row..].chunks_exact(row).zip(weights) {
                for (sum, &byte) in sums.iter_mut().zip(from) {
                    *sum += i32::from(byte) * w;
                }
            }
            for (out, &sum) in to.iter_mut().zip(sums.iter()) {
                *out = byte(sum, taps.bits);
            }
        },
    );
    out
}

/// Values of bytes of `width` x `height` pixels in the order of a network's input.
pub(super) fn ordered(
    bytes: &[u8],
    (width, height): (usize, usize),
    levels: &Levels,
    order: PixelOrder,
) -> Vec<f32> {
    match order {
        PixelOrder::Planes {
            height: rows,
            width: columns,
        } => {
            let mut out = vec![0f32; CHANNELS * rows * columns];
            for (plane, (channel, levels)) in out
                .chunks_exact_mut(rows * columns)
                .zip(levels.iter().enumerate())
            {
                let lines = bytes.chunks_exact(width * CHANNELS);
                for (to, line) in plane.chunks_exact_mut(columns).zip(lines) {
                    let values = line.iter().skip(channel).step_by(CHANNELS);
                    for (value, &byte) in to.iter_mut().zip(values) {
                        *value = levels[usize::from(byte)];
                    }
                }
            }
            out
        }
        PixelOrder::Patches { side, merge, frames } => {
            let mut out = Vec::with_capacity(CHANNELS * frames * width * height);
            let blocks = |pixels: usize| pixels / (side * merge);
            for (block_y, block_x) in
                (0..blocks(height)).flat_map(|y| (0..blocks(width)).map(move |x| (y, x)))
            {
                for inner in 0..merge * merge {
                    let top = (block_y * merge + inner / merge) * side;
                    let left = (block_x * merge + inner % merge) * side;
                    for (channel, levels) in levels.iter().enumerate() {
                        let start = out.len();
                        for y in top..top + side {
                            let line = &bytes[(y * width + left) * CHANNELS..][..side * CHANNELS];
                            let own = line.iter().skip(channel).step_by(CHANNELS);
                            out.extend(own.map(|&v| levels[usize::from(v)]));
                        }
                        for _ in 1..frames {
                            out.extend_from_within(start..start + side * side);
                        }
                    }
                }
            }
            out
        }
    }
}

pub(super) fn resized_floats(data: &[f64], width: usize, columns: &Mix<f64>, rows: &Mix<f64>) -> Vec<f64> {
    let row = columns.len() * CHANNELS;
    let mut wide = vec![0.0; data.len() / (width * CHANNELS) * row];
    let pairs = wide
        .par_chunks_exact_mut(row)
        .zip(data.par_chunks_exact(width * CHANNELS));
    pairs.for_each(|(out, line)| {
        for (pixel, (start, weights)) in out.chunks_exact_mut(CHANNELS).zip(columns.iter()) {
            for (rgb, &w) in line[start * CHANNELS..].chunks_exact(CHANNELS).zip(weights) {
                for (sum, v) in pixel.iter_mut().zip(rgb) {
                    *sum += v * w;
                }
            }
        }
    });
    let mut out = vec![0.0; rows.len() * row];
    out.par_chunks_exact_mut(row).enumerate().for_each(|(y, line)| {
        let (start, weights) = rows.of(y);
        for (values, &w) in wide[start * row..].chunks_exact(row).zip(weights) {
            for (sum, v) in line.iter_mut().zip(values) {
                *sum += v * w;
            }
        }
    });
    out
}

pub(super) fn floats(
    picture: &Picture<'_>,
    columns: &Mix<f64>,
    rows: &Mix<f64>,
    normal: &Normal,
) -> Vec<f32> {
    let floats: Vec<f64> = picture.bytes.iter().map(|&v| f64::from(v) / 255.0).collect();
    let resized = resized_floats(&floats, picture.width, columns, rows);
    let planes = (0..CHANNELS).flat_map(|c| {
        let plane = resized.iter().skip(c).step_by(CHANNELS);
        plane.map(move |v| ((v - normal.mean[c]) / normal.deviation[c]) as f32)
    });
    planes.collect()
}
