//! Low-resolution logits to the photo's pixels: bilinear to the padded input, crop, bilinear to the photo.
//!
//! Both steps are linear and separable, so each axis has one list of weights from low-resolution cells to photo
//! pixels. A mask is read off column by column; no picture of logits is ever held.

use super::preprocess::Fit;
use super::prompt::MaskLogits;
use crate::Mask;

/// Where a logit must lie above for a pixel to belong to the mask.
pub const THRESHOLD: f32 = 0.0;

/// The map from logits of one model to the pixels of one photo.
#[derive(Debug, Clone)]
pub struct Composite {
    side: usize,
    columns: Axis,
    rows: Axis,
}

/// For each photo pixel along an axis, the cells that it is mixed of.
#[derive(Debug, Clone)]
struct Axis {
    /// First cell and range in `weights`, per pixel.
    spans: Vec<(usize, std::ops::Range<usize>)>,
    weights: Vec<f32>,
}

/// Source cell and weight of the next one, by PyTorch's `align_corners=False` rule in f32.
fn between(pixel: usize, from: usize, to: usize) -> (usize, f32) {
    let scale = from as f32 / to as f32;
    let at = (scale * (pixel as f32 + 0.5) - 0.5).max(0.0);
    let cell = (at as usize).min(from - 1);
    (cell, (at - cell as f32).clamp(0.0, 1.0))
}

impl Axis {
    /// `cells` to `input` pixels, of which the first `resized` are stretched to `photo` pixels.
    fn new(cells: usize, input: usize, resized: usize, photo: usize) -> Self {
        let mut axis = Self {
            spans: Vec::with_capacity(photo),
            weights: Vec::new(),
        };
        for pixel in 0..photo {
            let (first, fraction) = between(pixel, resized, photo);
            let start = axis.weights.len();
            let mut origin = 0;
            for (step, share) in [(first, 1.0 - fraction), ((first + 1).min(resized - 1), fraction)] {
                let (cell, inner) = between(step, cells, input);
                if axis.weights.len() == start {
                    origin = cell;
                }
                for (cell, weight) in [(cell, 1.0 - inner), ((cell + 1).min(cells - 1), inner)] {
                    let slot = start + cell - origin;
                    if axis.weights.len() <= slot {
                        axis.weights.resize(slot + 1, 0.0);
                    }
                    axis.weights[slot] += share * weight;
                }
            }
            axis.spans.push((origin, start..axis.weights.len()));
        }
        axis
    }

    fn len(&self) -> usize {
        self.spans.len()
    }

    /// `(first cell, weights)` of one pixel.
    fn mix(&self, pixel: usize) -> (usize, &[f32]) {
        let (origin, range) = &self.spans[pixel];
        (*origin, &self.weights[range.clone()])
    }
}

impl Composite {
    /// `side`: of the logits; `input`: of the encoder's padded input.
    pub fn new(side: usize, input: usize, fit: Fit) -> Self {
        Self {
            side,
            columns: Axis::new(side, input, fit.resized.0, fit.original.0),
            rows: Axis::new(side, input, fit.resized.1, fit.original.1),
        }
    }

    pub fn width(&self) -> usize {
        self.columns.len()
    }

    pub fn height(&self) -> usize {
        self.rows.len()
    }

    /// Calls `f(x, column)` for each column of photo logits, left to right.
    ///
    /// # Panics
    /// If `logits` has another side than this map.
    pub fn each_column(&self, logits: &MaskLogits, mut f: impl FnMut(usize, &[f32])) {
        assert_eq!(logits.side(), self.side, "side of the logits");
        let height = self.height();
        // stretched vertically: one column of photo height for each cell column
        let mut tall = vec![0f32; self.side * height];
        let mut row = vec![0f32; self.side];
        for y in 0..height {
            let (first, weights) = self.rows.mix(y);
            row.fill(0.0);
            for (cells, weight) in logits.values()[first * self.side..]
                .chunks_exact(self.side)
                .zip(weights)
            {
                for (sum, value) in row.iter_mut().zip(cells) {
                    *sum += weight * value;
                }
            }
            for (x, value) in row.iter().enumerate() {
                tall[x * height + y] = *value;
            }
        }
        let mut column = vec![0f32; height];
        for x in 0..self.width() {
            let (first, weights) = self.columns.mix(x);
            column.fill(0.0);
            for (cells, weight) in tall[first * height..].chunks_exact(height).zip(weights) {
                for (sum, value) in column.iter_mut().zip(cells) {
                    *sum += weight * value;
                }
            }
            f(x, &column);
        }
    }

    /// Pixels whose logit lies above [`THRESHOLD`].
    pub fn mask(&self, logits: &MaskLogits) -> Mask {
        let mut runs = Runs::default();
        self.each_column(logits, |_, column| runs.column(column));
        runs.finish(self.width(), self.height())
    }

    /// Logits of every photo pixel, row-major.
    pub fn full(&self, logits: &MaskLogits) -> Vec<f32> {
        let (width, height) = (self.width(), self.height());
        let mut out = vec![0f32; width * height];
        self.each_column(logits, |x, column| {
            for (y, value) in column.iter().enumerate() {
                out[y * width + x] = *value;
            }
        });
        out
    }
}

/// Builds COCO run lengths from columns given left to right.
#[derive(Debug, Default)]
pub(super) struct Runs {
    counts: Vec<u32>,
    run: u32,
    value: bool,
}

impl Runs {
    fn push(&mut self, value: bool) {
        if value != self.value {
            self.counts.push(self.run);
            self.run = 0;
            self.value = value;
        }
        self.run += 1;
    }

    /// `n` pixels outside any mask.
    pub(super) fn clear(&mut self, n: usize) {
        if n > 0 {
            self.push(false);
            self.run += n as u32 - 1;
        }
    }

    pub(super) fn column(&mut self, logits: &[f32]) {
        for &logit in logits {
            self.push(logit > THRESHOLD);
        }
    }

    /// # Panics
    /// If the runs do not fill the image; a bug of the caller.
    pub(super) fn finish(mut self, width: usize, height: usize) -> Mask {
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
        }
    }
}
