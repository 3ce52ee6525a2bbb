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

/// A part of the photo in pixels, or of the logits in cells.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) x: std::ops::Range<usize>,
    pub(super) y: std::ops::Range<usize>,
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

    /// The pixels that any of these cells has a part in.
    fn pixels_of(&self, cells: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        let has = |(origin, range): &(usize, std::ops::Range<usize>)| {
            *origin < cells.end && origin + range.len() > cells.start
        };
        let first = self.spans.iter().position(has).unwrap_or(0);
        let last = self.spans.iter().rposition(has).map_or(first, |i| i + 1);
        first..last
    }

    /// The cells that have a part in any of these pixels, which are not none.
    fn cells_of(&self, pixels: &std::ops::Range<usize>) -> std::ops::Range<usize> {
        let spans = &self.spans[pixels.clone()];
        let start = spans.iter().map(|(origin, _)| *origin).min().unwrap_or(0);
        let end = spans.iter().map(|(origin, range)| origin + range.len()).max();
        start..end.unwrap_or(start)
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

    /// The cells of the logits that any pixel is mixed of.
    pub(super) fn cells(&self) -> Window {
        let all = self.everything();
        Window {
            x: self.columns.cells_of(&all.x),
            y: self.rows.cells_of(&all.y),
        }
    }

    /// All pixels.
    fn everything(&self) -> Window {
        Window {
            x: 0..self.width(),
            y: 0..self.height(),
        }
    }

    /// The pixels outside of which no logit lies above `floor`: most masks are small beside the photo.
    pub(super) fn window(&self, logits: &MaskLogits, floor: f32) -> Window {
        // A mix of cells is no larger than the largest of them, but for rounding.
        let floor = floor - 1e-3;
        let (mut x0, mut x1, mut y0, mut y1) = (usize::MAX, 0, usize::MAX, 0);
        for (row, cells) in logits.values().chunks_exact(self.side).enumerate() {
            let Some(first) = cells.iter().position(|v| *v > floor) else {
                continue;
            };
            let last = cells.iter().rposition(|v| *v > floor).unwrap_or(first);
            (x0, x1) = (x0.min(first), x1.max(last + 1));
            (y0, y1) = (y0.min(row), row + 1);
        }
        if x1 == 0 {
            return Window::default();
        }
        let (x, y) = (self.columns.pixels_of(&(x0..x1)), self.rows.pixels_of(&(y0..y1)));
        // Cells of the padding have a part in no pixel.
        if x.is_empty() || y.is_empty() {
            return Window::default();
        }
        Window { x, y }
    }

    /// Calls `f(x, column)` for each column of photo logits in `window`, left to right; a column has the window's rows.
    ///
    /// # Panics
    /// If `logits` has another side than this map.
    pub(super) fn each_column(&self, logits: &MaskLogits, window: &Window, mut f: impl FnMut(usize, &[f32])) {
        assert_eq!(logits.side(), self.side, "side of the logits");
        let height = window.y.len();
        if height == 0 {
            return;
        }
        let cells = self.columns.cells_of(&window.x);
        // stretched vertically: one column of the window's height for each cell column
        let mut tall = vec![0f32; cells.len() * height];
        let mut row = vec![0f32; cells.len()];
        for (i, y) in window.y.clone().enumerate() {
            let (first, weights) = self.rows.mix(y);
            row.fill(0.0);
            for (line, weight) in logits.values()[first * self.side..]
                .chunks_exact(self.side)
                .zip(weights)
            {
                for (sum, value) in row.iter_mut().zip(&line[cells.clone()]) {
                    *sum += weight * value;
                }
            }
            for (x, value) in row.iter().enumerate() {
                tall[x * height + i] = *value;
            }
        }
        let mut column = vec![0f32; height];
        for x in window.x.clone() {
            let (first, weights) = self.columns.mix(x);
            column.fill(0.0);
            for (line, weight) in tall[(first - cells.start) * height..]
                .chunks_exact(height)
                .zip(weights)
            {
                for (sum, value) in column.iter_mut().zip(line) {
                    *sum += weight * value;
                }
            }
            f(x, &column);
        }
    }

    /// Pixels whose logit lies above [`THRESHOLD`].
    pub fn mask(&self, logits: &MaskLogits) -> Mask {
        let (width, height) = (self.width(), self.height());
        let window = self.window(logits, THRESHOLD);
        let mut runs = Runs::default();
        runs.clear(window.x.start * height);
        self.each_column(logits, &window, |_, column| {
            runs.clear(window.y.start);
            runs.column(column);
            runs.clear(height - window.y.end);
        });
        runs.clear((width - window.x.end) * height);
        runs.finish(width, height)
    }

    /// Logits of every photo pixel, row-major.
    pub fn full(&self, logits: &MaskLogits) -> Vec<f32> {
        let (width, height) = (self.width(), self.height());
        let mut out = vec![0f32; width * height];
        self.each_column(logits, &self.everything(), |x, column| {
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
