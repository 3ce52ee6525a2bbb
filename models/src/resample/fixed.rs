//! 8-bit resizing with integer weights in two passes, rounded to bytes after each.

use rayon::prelude::*;

use super::taps::{Axis, antialias};
use super::{Filter, check_target};
use crate::{Result, RgbImage};

const CHANNELS: usize = 3;

/// Resizes as Pillow's `Image.resize((width, height), filter)` does for RGB: byte for byte.
///
/// Antialiased, cubic constant -0.5, weights in 22-bit fixed point, bytes between the two passes (`Resample.c`). Since
/// version 13 the vertical pass comes first where it takes away more than twice as many lines as the other; on such
/// pictures earlier versions differ by one level here and there.
///
/// # Errors
/// [`crate::ModelError::Image`] if a side is zero.
pub fn pil(image: &RgbImage, width: usize, height: usize, filter: Filter) -> Result<RgbImage> {
    let fix = |axis: Axis<f64>| Fixed::new(&axis, 22);
    let (rows, columns) = (
        image.height() as i128 - height as i128,
        image.width() as i128 - width as i128,
    );
    let vertical_first = rows > 0 && rows > 2 * columns;
    two_pass(image, (width, height), filter, vertical_first, fix)
}

/// Resizes as torchvision's `resize(uint8, [height, width], antialias=True)` does on a CPU: byte for byte.
///
/// Same taps as [`pil`], but weights rounded to 16 bits at a precision that depends on the largest of them, so
/// bytes differ from Pillow's by one at most (ATen `UpSampleKernelAVXAntialias.h`).
///
/// # Errors
/// [`crate::ModelError::Image`] if a side is zero.
pub fn torchvision_u8(image: &RgbImage, width: usize, height: usize, filter: Filter) -> Result<RgbImage> {
    let fix = |axis: Axis<f64>| {
        let largest = axis.weights().iter().copied().fold(0.0, f64::max);
        let fits = |bits: u32| 0.5 + largest * f64::from(1u32 << bits) < f64::from(1 << 15);
        let bits = (0..22).find(|&bits| !fits(bits + 1)).unwrap_or(22);
        Fixed::new(&axis, bits)
    };
    two_pass(image, (width, height), filter, false, fix)
}

/// Integer taps that add up to `1 << bits`.
struct Fixed {
    axis: Axis<i32>,
    bits: u32,
}

impl Fixed {
    fn new(axis: &Axis<f64>, bits: u32) -> Self {
        let one = f64::from(1u32 << bits);
        // Half away from zero by truncation, as the C sources do.
        let round = |w: f64| {
            if w < 0.0 {
                (w * one - 0.5) as i32
            } else {
                (w * one + 0.5) as i32
            }
        };
        Self {
            axis: axis.map(round),
            bits,
        }
    }

    fn half(&self) -> i32 {
        1 << (self.bits - 1)
    }

    fn byte(&self, sum: i32) -> u8 {
        (sum >> self.bits).clamp(0, 255) as u8
    }
}

fn two_pass(
    image: &RgbImage,
    (width, height): (usize, usize),
    filter: Filter,
    vertical_first: bool,
    fix: impl Fn(Axis<f64>) -> Fixed,
) -> Result<RgbImage> {
    check_target(width, height)?;
    let taps =
        |input: usize, output: usize| fix(antialias(filter, input, output, input as f64 / output as f64));
    let (from_w, from_h) = (image.width(), image.height());
    let mut data = image.as_bytes().to_vec();
    if vertical_first && height != from_h {
        data = vertical(&data, from_w, &taps(from_h, height));
    }
    if width != from_w {
        data = horizontal(&data, from_w, &taps(from_w, width));
    }
    if !vertical_first && height != from_h {
        data = vertical(&data, width, &taps(from_h, height));
    }
    RgbImage::new(width, height, data)
}

fn horizontal(data: &[u8], from_w: usize, taps: &Fixed) -> Vec<u8> {
    let to_w = taps.axis.len();
    let rows = data.len() / (from_w * CHANNELS);
    let mut out = vec![0; rows * to_w * CHANNELS];
    let pairs = out
        .par_chunks_exact_mut(to_w * CHANNELS)
        .zip(data.par_chunks_exact(from_w * CHANNELS));
    pairs.for_each(|(to, from)| {
        for (pixel, (start, weights)) in to.chunks_exact_mut(CHANNELS).zip(taps.axis.iter()) {
            let mut sums = [taps.half(); CHANNELS];
            for (rgb, &w) in from[start * CHANNELS..].chunks_exact(CHANNELS).zip(weights) {
                for (sum, &byte) in sums.iter_mut().zip(rgb) {
                    *sum += i32::from(byte) * w;
                }
            }
            for (byte, &sum) in pixel.iter_mut().zip(&sums) {
                *byte = taps.byte(sum);
            }
        }
    });
    out
}

fn vertical(data: &[u8], width: usize, taps: &Fixed) -> Vec<u8> {
    let row = width * CHANNELS;
    let mut out = vec![0; taps.axis.len() * row];
    out.par_chunks_exact_mut(row).enumerate().for_each_init(
        || vec![0i32; row],
        |sums, (y, to)| {
            let (start, weights) = taps.axis.get(y);
            sums.fill(taps.half());
            for (from, &w) in data[start * row..].chunks_exact(row).zip(weights) {
                for (sum, &byte) in sums.iter_mut().zip(from) {
                    *sum += i32::from(byte) * w;
                }
            }
            for (byte, &sum) in to.iter_mut().zip(sums.iter()) {
                *byte = taps.byte(sum);
            }
        },
    );
    out
}
