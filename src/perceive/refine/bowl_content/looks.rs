//! Colours and roughness of a part of a photo, and how alike two parts of it look.

use dragunov_models::{ImagePx, Rect, RgbImage};

use crate::perceive::colour::lab;

/// Least spreads of lightness and the two colours, in units of CIELAB, and of the roughness's logarithm: a surface that looks even is
/// still not known better.
const LEAST_SPREADS: [f64; 4] = [2.5, 1.2, 1.2, 0.25];
/// Roughness under this is the photo's noise, in units of CIELAB.
const NOISE: f64 = 0.5;
/// A median absolute deviation as the standard deviation of a normal distribution.
const NORMAL_MAD: f64 = 1.4826;
/// Degrees of freedom of Student's distribution, by which single cells may be off.
const FREEDOM: f64 = 3.0;
/// Pixels around the part that are kept.
const MARGIN: usize = 4;

pub(super) fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// Means over squares of a part of a photo, by summed areas: of CIELAB and of the lightness's square.
pub(super) struct Means {
    from: [usize; 2],
    size: [usize; 2],
    /// One row and one column more than pixels.
    sums: Vec<[f64; 4]>,
}

impl Means {
    pub(super) fn over(image: &RgbImage, part: Rect<ImagePx>) -> Self {
        let from = [part.x0, part.y0].map(|v| (v as usize).saturating_sub(MARGIN));
        let end = [
            (part.x1 as usize + MARGIN).min(image.width()),
            (part.y1 as usize + MARGIN).min(image.height()),
        ];
        let size = [end[0] - from[0], end[1] - from[1]];
        let stride = size[0] + 1;
        let mut sums = vec![[0.0; 4]; stride * (size[1] + 1)];
        for y in 0..size[1] {
            let mut row = [0.0; 4];
            for x in 0..size[0] {
                let [l, a, b] = lab(image.pixel(from[0] + x, from[1] + y));
                let above = sums[y * stride + x + 1];
                for (k, value) in [l, a, b, l * l].into_iter().enumerate() {
                    row[k] += value;
                    sums[(y + 1) * stride + x + 1][k] = above[k] + row[k];
                }
            }
        }
        Self { from, size, sums }
    }

    fn mean(&self, at: [f64; 2], half: f64) -> [f64; 4] {
        let span = |k: usize| {
            let (middle, most) = (at[k] - self.from[k] as f64, self.size[k]);
            let low = ((middle - half + 0.5).floor().max(0.0) as usize).min(most - 1);
            let high = (middle + half + 0.5).floor().max(0.0) as usize;
            (low, high.clamp(low + 1, most))
        };
        let ((x0, x1), (y0, y1)) = (span(0), span(1));
        let corner = |x: usize, y: usize| self.sums[y * (self.size[0] + 1) + x];
        let n = ((x1 - x0) * (y1 - y0)) as f64;
        let (a, b, c, d) = (corner(x1, y1), corner(x0, y1), corner(x1, y0), corner(x0, y0));
        std::array::from_fn(|k| (a[k] - b[k] - c[k] + d[k]) / n)
    }

    /// Mean colour of a square around a place, in CIELAB.
    pub(super) fn colour(&self, at: [f64; 2], half: f64) -> [f64; 3] {
        let [l, a, b, _] = self.mean(at, half);
        [l, a, b]
    }

    /// Logarithm of the sd of lightness in a square around a place.
    pub(super) fn roughness(&self, at: [f64; 2], half: f64) -> f64 {
        let [l, _, _, squares] = self.mean(at, half);
        (NOISE + (squares - l * l).max(0.0).sqrt()).ln()
    }
}

/// A small square of a mask.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cell {
    /// In half axes of the mask.
    pub(super) at: [f64; 2],
    pub(super) colour: [f64; 3],
    pub(super) roughness: f64,
}

impl Cell {
    fn features(&self) -> [f64; 4] {
        let [l, a, b] = self.colour;
        [l, a, b, self.roughness]
    }
}

/// What some cells look like: medians and spreads of colour and roughness.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    middle: [f64; 4],
    spread: [f64; 4],
}

impl Look {
    /// `None` of fewer cells than `least`.
    pub(super) fn of(cells: &[&Cell], least: usize) -> Option<Self> {
        if cells.len() < least {
            return None;
        }
        let mut look = Self {
            middle: [0.0; 4],
            spread: LEAST_SPREADS,
        };
        for (k, least) in LEAST_SPREADS.into_iter().enumerate() {
            let mut values: Vec<f64> = cells.iter().map(|cell| cell.features()[k]).collect();
            look.middle[k] = median(&mut values)?;
            values.iter_mut().for_each(|v| *v = (*v - look.middle[k]).abs());
            look.spread[k] = (NORMAL_MAD * median(&mut values)?).max(least);
        }
        Some(look)
    }

    /// Logarithm of how likely a cell looks like this, up to a constant.
    pub(super) fn likelihood(&self, cell: &Cell) -> f64 {
        let features = cell.features();
        (0..4)
            .map(|k| {
                let off = (features[k] - self.middle[k]) / self.spread[k];
                -0.5 * (FREEDOM + 1.0) * (off * off / FREEDOM).ln_1p() - self.spread[k].ln()
            })
            .sum()
    }
}
