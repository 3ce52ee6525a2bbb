//! Low-resolution logits to the photo's pixels: bilinear to the padded input, crop, bilinear to the photo.
//!
//! Both steps are linear and separable, so each axis has one list of weights from low-resolution cells to photo
//! pixels. A mask is read off column by column; no picture of logits is ever held.

use std::ops::Range;
use std::sync::Arc;

use dragunov_kernels::{MaskBits, MaskGrid, MaskThresholds, Mix};

use super::preprocess::Fit;
use super::prompt::MaskLogits;
use crate::Mask;

/// Where a logit must lie above for a pixel to belong to the mask.
pub const THRESHOLD: f32 = 0.0;

/// The map from logits of one model to the pixels of one photo.
#[derive(Debug, Clone)]
pub struct Composite {
    grid: Arc<MaskGrid>,
}

/// Source cell and weight of the next one, by PyTorch's `align_corners=False` rule in f32.
fn between(pixel: usize, from: usize, to: usize) -> (usize, f32) {
    let scale = from as f32 / to as f32;
    let at = (scale * (pixel as f32 + 0.5) - 0.5).max(0.0);
    let cell = (at as usize).min(from - 1);
    (cell, (at - cell as f32).clamp(0.0, 1.0))
}

/// `cells` to `input` pixels, of which the first `resized` are stretched to `photo` pixels.
fn axis(cells: usize, input: usize, resized: usize, photo: usize) -> Mix {
    let mut axis = Mix::default();
    let mut weights = Vec::new();
    for pixel in 0..photo {
        let (first, fraction) = between(pixel, resized, photo);
        weights.clear();
        let mut origin = 0;
        for (step, share) in [(first, 1.0 - fraction), ((first + 1).min(resized - 1), fraction)] {
            let (cell, inner) = between(step, cells, input);
            if weights.is_empty() {
                origin = cell;
            }
            for (cell, weight) in [(cell, 1.0 - inner), ((cell + 1).min(cells - 1), inner)] {
                let slot = cell - origin;
                if weights.len() <= slot {
                    weights.resize(slot + 1, 0.0);
                }
                weights[slot] += share * weight;
            }
        }
        axis.push(origin, &weights);
    }
    axis
}

impl Composite {
    /// `side`: of the logits; `input`: of the encoder's padded input.
    ///
    /// # Panics
    /// If a side is none.
    pub fn new(side: usize, input: usize, fit: Fit) -> Self {
        let columns = axis(side, input, fit.resized.0, fit.original.0);
        let rows = axis(side, input, fit.resized.1, fit.original.1);
        match MaskGrid::new(side, columns, rows) {
            Ok(grid) => Self { grid: Arc::new(grid) },
            Err(error) => panic!("{fit:?}: {error}"),
        }
    }

    pub fn width(&self) -> usize {
        self.grid.width()
    }

    pub fn height(&self) -> usize {
        self.grid.height()
    }

    /// How cells are mixed to pixels.
    pub(super) fn grid(&self) -> &MaskGrid {
        &self.grid
    }

    /// Columns and rows of the cells of the logits that any pixel is mixed of.
    pub(super) fn cells(&self) -> (Range<usize>, Range<usize>) {
        self.grid.cells()
    }

    /// Pixels whose logit lies above [`THRESHOLD`].
    pub fn mask(&self, logits: &MaskLogits) -> Mask {
        let (_, bits) = self.grid.draw(logits.values(), &MASK_ALONE);
        self.mask_of(&bits)
    }

    /// The mask of these bits.
    pub(super) fn mask_of(&self, bits: &MaskBits) -> Mask {
        place(
            bits,
            (self.width(), self.height()),
            (self.width(), self.height()),
            (0, 0),
        )
    }

    /// Logits of every photo pixel, row-major.
    pub fn full(&self, logits: &MaskLogits) -> Vec<f32> {
        let (width, height) = (self.width(), self.height());
        let mut out = vec![0f32; width * height];
        let everything = (&(0..width), &(0..height));
        self.grid.each_column(logits.values(), everything, |x, column| {
            for (y, value) in column.iter().enumerate() {
                out[y * width + x] = *value;
            }
        });
        out
    }
}

/// Nothing is counted beside the mask.
pub(super) const MASK_ALONE: MaskThresholds = MaskThresholds {
    mask: THRESHOLD,
    high: THRESHOLD,
    low: THRESHOLD,
};

/// The mask of a picture of `size` = (width, height), whose upper left pixel is at (x, y) of a photo, in that photo.
///
/// # Panics
/// If the picture does not lie in the photo, or the bits not in the picture.
pub(super) fn place(
    bits: &MaskBits,
    size: (usize, usize),
    photo: (usize, usize),
    (x, y): (usize, usize),
) -> Mask {
    let mut runs = Runs::default();
    runs.push(false, (x + bits.left) * photo.1);
    for column in 0..bits.columns {
        runs.push(false, y + bits.top);
        let mut left = size.1 - bits.top;
        for word in bits.column(column) {
            let n = left.min(32);
            runs.word(word, n);
            left -= n;
        }
        runs.push(false, photo.1 - y - size.1 + left);
    }
    runs.push(false, (photo.0 - x - bits.left - bits.columns) * photo.1);
    runs.finish(photo)
}

/// Builds COCO run lengths from columns given left to right.
#[derive(Debug, Default)]
struct Runs {
    counts: Vec<u32>,
    run: u32,
    value: bool,
}

impl Runs {
    fn push(&mut self, value: bool, n: usize) {
        if n == 0 {
            return;
        }
        if value != self.value {
            self.counts.push(self.run);
            self.run = 0;
            self.value = value;
        }
        self.run += n as u32;
    }

    /// The lowest `n` bits, from the lowest up.
    fn word(&mut self, word: u32, n: usize) {
        let mut at = 0;
        while at < n {
            let rest = word >> at;
            let value = rest & 1 == 1;
            let same = if value {
                rest.trailing_ones()
            } else {
                rest.trailing_zeros()
            };
            let same = (same as usize).min(n - at);
            self.push(value, same);
            at += same;
        }
    }

    /// # Panics
    /// If the runs do not fill the image; a bug of the caller.
    fn finish(mut self, (width, height): (usize, usize)) -> Mask {
        self.counts.push(self.run);
        match Mask::from_counts(width, height, self.counts) {
            Some(mask) => mask,
            None => unreachable!("runs do not fill {width} x {height}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::resample::{TorchResize, torch_planes};

    #[test]
    fn one_pass_equals_two_resizes_and_a_crop() {
        for (side, input, resized, original) in [
            (8, 32, (32, 20), (50, 31)),
            (8, 32, (7, 32), (3, 15)),
            (8, 16, (16, 1), (900, 20)),
            (8, 4, (4, 3), (9, 9)),
        ] {
            let values: Vec<f32> = (0..side * side)
                .map(|i| ((i * 37) % 101) as f32 / 10.0 - 5.0)
                .collect();
            let bilinear = TorchResize::bilinear();
            let large = torch_planes(&values, (side, side), (input, input), &bilinear).unwrap();
            let cropped: Vec<f32> = large
                .chunks(input)
                .take(resized.1)
                .flat_map(|row| row[..resized.0].to_vec())
                .collect();
            let (from, to) = ((resized.1, resized.0), (original.1, original.0));
            let want = torch_planes(&cropped, from, to, &bilinear).unwrap();
            let composite = Composite::new(side, input, Fit { original, resized });
            let logits = MaskLogits::new(side, values).unwrap();
            for (a, b) in composite.full(&logits).iter().zip(&want) {
                assert!((a - b).abs() < 5e-6, "{a} {b}");
            }
            // Reading off a window changes nothing, wherever the mask lies.
            for (x, y, value) in [
                (0, 0, 4.0),
                (side / 2, 1, 0.4),
                (side - 1, side - 1, 9.0),
                (3, 3, -1.0),
            ] {
                let mut values = vec![-2.0; side * side];
                values[y * side + x] = value;
                values[(y / 2) * side + x / 3] += 1.9;
                let logits = MaskLogits::new(side, values).unwrap();
                let bits: Vec<bool> = composite.full(&logits).iter().map(|v| *v > THRESHOLD).collect();
                assert_eq!(
                    composite.mask(&logits),
                    Mask::from_bits(original.0, original.1, &bits)
                );
            }
        }
    }
}
