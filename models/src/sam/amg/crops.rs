//! Crops of the photo and the grid of points on each.

use crate::{Result, RgbImage};

/// A part of the photo, upper edges exclusive, and the layer that it belongs to (0: the whole photo).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crop {
    pub x0: usize,
    pub y0: usize,
    pub x1: usize,
    pub y1: usize,
    pub layer: usize,
}

impl Crop {
    /// In f32, as a suppression score.
    pub(super) fn area(&self) -> f32 {
        ((self.x1 - self.x0) * (self.y1 - self.y0)) as f32
    }

    /// # Errors
    /// [`crate::ModelError::Image`] for an empty crop (a photo of fewer pixels than crops).
    pub(super) fn cut(&self, image: &RgbImage) -> Result<RgbImage> {
        let (w, h) = (self.x1.saturating_sub(self.x0), self.y1.saturating_sub(self.y0));
        image.crop(self.x0, self.y0, w, h)
    }
}

/// The photo itself, then each layer column by column.
pub fn crop_boxes((width, height): (usize, usize), layers: usize, overlap_ratio: f64) -> Vec<Crop> {
    let mut crops = vec![Crop {
        x0: 0,
        y0: 0,
        x1: width,
        y1: height,
        layer: 0,
    }];
    for layer in 1..=layers {
        let n = 1usize << layer;
        let overlap = (overlap_ratio * width.min(height) as f64 * (2.0 / n as f64)) as usize;
        let length = |whole: usize| (overlap * (n - 1) + whole).div_ceil(n);
        let (w, h) = (length(width), length(height));
        for x in (0..n).map(|i| (w - overlap) * i) {
            for y in (0..n).map(|i| (h - overlap) * i) {
                crops.push(Crop {
                    x0: x,
                    y0: y,
                    x1: (x + w).min(width),
                    y1: (y + h).min(height),
                    layer,
                });
            }
        }
    }
    crops
}

/// Centres of an `n` x `n` grid over the unit square, row by row.
pub fn point_grid(n: usize) -> Vec<(f64, f64)> {
    // numpy.linspace(offset, 1 - offset, n)
    let offset = 1.0 / (2 * n) as f64;
    let (first, last) = (offset, 1.0 - offset);
    let step = if n > 1 {
        (last - first) / (n - 1) as f64
    } else {
        0.0
    };
    let at = |i: usize| match i {
        i if i > 0 && i + 1 == n => last,
        i => i as f64 * step + first,
    };
    (0..n).flat_map(|y| (0..n).map(move |x| (at(x), at(y)))).collect()
}
