//! Table pixels in the depth raster, and which of them lie in one plane (geometry.md 3.2).

use dragunov_models::Mask;

use super::surface::Surface;
use crate::geometry::math::random::Random;
use crate::geometry::math::stats::{MAD_TO_SD, TUKEY, median, quantile};
use crate::geometry::view::camera::View;

/// Lattice points over the whole photo, about.
const LATTICE_POINTS: f64 = 6000.0;
/// Trials of the least median of squares, of which every tenth takes the shift for 0; samples that score a trial.
const TRIALS: usize = 300;
const SCORE_SAMPLES: usize = 400;
/// Least distance of a pair of samples, as a share of the range of `q`.
const PAIR_RANGE: f64 = 0.3;
/// Least residual that makes an outlier, as a share of the table's disparity.
const OUTLIER_FLOOR: f64 = 3e-4;

/// Table pixels: position and disparity.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableSamples {
    pub(crate) points: Vec<[f64; 3]>,
    /// Pixels between neighbours along both axes.
    pub(crate) step: usize,
}

/// Cells of a lattice over the photo that a mask covers.
struct Covered {
    step: usize,
    size: [usize; 2],
    cells: Vec<bool>,
}

impl Covered {
    fn by(masks: &[&Mask], width: usize, height: usize) -> Self {
        let step = (((width * height) as f64 / LATTICE_POINTS).sqrt().ceil() as usize).max(1);
        let (nx, ny) = (width.div_ceil(step), height.div_ceil(step));
        let mut cells = vec![false; nx * ny];
        for mask in masks {
            mask.for_each_run(|x, a, b| {
                if x % step == step / 2 {
                    for j in a / step..(b.div_ceil(step)).min(ny) {
                        cells[x / step * ny + j] = true;
                    }
                }
            });
        }
        Self {
            step,
            size: [nx, ny],
            cells,
        }
    }

    /// Whether a mask covers this cell or one of its eight neighbours.
    fn touched(&self, i: usize, j: usize) -> bool {
        let [nx, ny] = self.size;
        (i.saturating_sub(1)..(i + 2).min(nx))
            .any(|a| (j.saturating_sub(1)..(j + 2).min(ny)).any(|b| self.cells[a * ny + b]))
    }
}

/// Corners of the box around these masks and one half of its size to each side, never less than a quarter of the photo.
fn surroundings(near: &[&Mask], width: usize, height: usize) -> [f64; 4] {
    let (mut x0, mut y0, mut x1, mut y1) = (f64::MAX, f64::MAX, 0.0_f64, 0.0_f64);
    for bbox in near.iter().filter_map(|m| m.bbox()) {
        x0 = x0.min(bbox.x0);
        y0 = y0.min(bbox.y0);
        x1 = x1.max(bbox.x1);
        y1 = y1.max(bbox.y1);
    }
    let mx = (0.5 * (x1 - x0)).max(0.25 * width as f64);
    let my = (0.5 * (y1 - y0)).max(0.25 * height as f64);
    [x0 - mx, y0 - my, x1 + mx, y1 + my]
}

impl TableSamples {
    /// Pixels of a coarse lattice that none of `masks` covers or touches, in the surroundings of `near`.
    pub(crate) fn collect(
        surface: &Surface<'_>,
        width: usize,
        height: usize,
        masks: &[&Mask],
        near: &[&Mask],
    ) -> Self {
        let covered = Covered::by(masks, width, height);
        let [x0, y0, x1, y1] = surroundings(near, width, height);
        let ([nx, ny], step) = (covered.size, covered.step);
        let mut points = Vec::with_capacity(nx * ny);
        for i in 0..nx {
            for j in 0..ny {
                let x = (i * step + step / 2).min(width - 1);
                let y = (j * step + step / 2).min(height - 1);
                let (fx, fy) = (x as f64, y as f64);
                let close = fx > x0 && fx < x1 && fy > y0 && fy < y1;
                if close && !covered.touched(i, j) {
                    let d = surface.at(x, y);
                    if d.is_finite() {
                        points.push([fx + 0.5, fy + 0.5, d]);
                    }
                }
            }
        }
        Self { points, step }
    }
}

/// Which samples agree with one plane `d = a q + b`: least median of squares over pairs, then Tukey's cut. With `metric`
/// `b` is 0. `samples` must not be empty.
pub(crate) fn inliers(samples: &TableSamples, view: &View, metric: bool, seed: u64) -> Vec<bool> {
    let points: Vec<[f64; 2]> = samples
        .points
        .iter()
        .map(|p| [view.q(p[0], p[1]), p[2]])
        .collect();
    let mut scratch: Vec<f64> = points.iter().map(|p| p[0]).collect();
    let low = quantile(&mut scratch, 0.02).unwrap_or(0.0);
    let high = quantile(&mut scratch, 0.98).unwrap_or(0.0);
    let range = high - low;
    let mut random = Random::new(seed ^ 0x7ab1e);
    // Scoring a few hundred points is enough to rank candidates.
    let stride = (points.len() / SCORE_SAMPLES).max(1);
    let mut best = (f64::INFINITY, 0.0, 0.0);
    let mut score = |a: f64, b: f64, scratch: &mut Vec<f64>| {
        if a.is_nan() || a <= 0.0 {
            return;
        }
        scratch.clear();
        scratch.extend(points.iter().step_by(stride).map(|p| (p[1] - a * p[0] - b).abs()));
        if let Some(m) = median(scratch)
            && m < best.0
        {
            best = (m, a, b);
        }
    };
    for k in 0..TRIALS {
        let i = points[random.below(points.len())];
        if metric || k % 10 == 0 {
            score(i[1] / i[0], 0.0, &mut scratch);
            continue;
        }
        let j = points[random.below(points.len())];
        if (i[0] - j[0]).abs() >= PAIR_RANGE * range {
            let a = (i[1] - j[1]) / (i[0] - j[0]);
            score(a, i[1] - a * i[0], &mut scratch);
        }
    }
    let (spread, a, b) = best;
    if !spread.is_finite() {
        return vec![true; points.len()];
    }
    let level = a * 0.5 * (low + high) + b;
    let limit = (TUKEY * MAD_TO_SD * spread).max(OUTLIER_FLOOR * level.abs());
    points
        .iter()
        .map(|p| (p[1] - a * p[0] - b).abs() <= limit)
        .collect()
}
