//! A thinned-out set of an item's pixels with disparity and slopes, and its outline cast on the table.

use dragunov_models::Mask;

use super::outline::perimeter;
use super::surface::Surface;
use crate::geometry::math::vector::dot;
use crate::geometry::view::camera::View;

/// One pixel of an item: position of its centre, disparity and its slopes per pixel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) u: f64,
    pub(crate) v: f64,
    pub(crate) d: f64,
    pub(crate) du: f64,
    pub(crate) dv: f64,
}

/// A lattice of a mask's pixels with slopes that never reach over its edge.
#[derive(Debug, Clone)]
pub(crate) struct Samples {
    pub(crate) points: Vec<Sample>,
    /// Pixels that one sample stands for.
    pub(crate) weight: f64,
    /// Share of the lattice without depth.
    pub(crate) gaps: f64,
    /// Of the mask, in pixels.
    pub(crate) perimeter: f64,
    pub(crate) area: f64,
}

/// An outline as the camera sees it, cast on the table along the rays, in camera heights (geometry.md 7.6).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct CastOutline {
    pub(crate) area: f64,
    pub(crate) perimeter: f64,
    /// Tangent of the angle between the rays and straight down.
    pub(crate) slant: f64,
}

/// Forward and backward slopes that differ by more than this share of the disparity belong to two surfaces.
const JUMP_SHARE: f64 = 0.006;
/// Rays that fall less than this per unit of depth graze the horizon and are left out.
const MIN_FALL: f64 = 0.05;

/// The pixels of a mask as a bitmap of its bounding box, column by column.
struct Bitmap {
    x0: usize,
    y0: usize,
    width: usize,
    height: usize,
    bits: Vec<u64>,
}

impl Bitmap {
    /// `None` for an empty mask.
    fn of(mask: &Mask) -> Option<Self> {
        let bbox = mask.bbox()?;
        let (x0, y0) = (bbox.x0 as usize, bbox.y0 as usize);
        let (width, height) = ((bbox.x1 - bbox.x0) as usize, (bbox.y1 - bbox.y0) as usize);
        let mut bits = vec![0u64; (width * height).div_ceil(64)];
        mask.for_each_run(|x, a, b| {
            for k in (x - x0) * height + a - y0..(x - x0) * height + b - y0 {
                bits[k / 64] |= 1 << (k % 64);
            }
        });
        Some(Self {
            x0,
            y0,
            width,
            height,
            bits,
        })
    }

    /// `y` must lie in the box.
    fn has(&self, x: usize, y: usize) -> bool {
        if x < self.x0 || x >= self.x0 + self.width {
            return false;
        }
        let k = (x - self.x0) * self.height + y - self.y0;
        self.bits[k / 64] >> (k % 64) & 1 == 1
    }

    /// Rows of the run `a..b` that lie on a lattice of this stride; all of them start at `a` where the box is no higher than a step.
    fn lattice_rows(&self, a: usize, b: usize, stride: usize) -> impl Iterator<Item = usize> + use<> {
        let first = if self.height > stride {
            a + (stride / 2 + stride - (a - self.y0) % stride) % stride
        } else {
            a
        };
        (first..b).step_by(stride)
    }

    fn lattice_column(&self, x: usize, stride: usize) -> bool {
        self.width <= stride || (x - self.x0) % stride == stride / 2
    }
}

/// Slope at a value `d` from its neighbours behind and ahead, where they are of the same surface.
fn slope(behind: Option<f64>, d: f64, ahead: Option<f64>) -> f64 {
    let behind = behind.map(|o| d - o).filter(|s| s.is_finite());
    let ahead = ahead.map(|o| o - d).filter(|s| s.is_finite());
    match (behind, ahead) {
        (Some(p), Some(n)) if (p - n).abs() > JUMP_SHARE * d.abs() => {
            if p.abs() < n.abs() {
                p
            } else {
                n
            }
        }
        (Some(p), Some(n)) => 0.5 * (p + n),
        (Some(s), None) | (None, Some(s)) => s,
        (None, None) => 0.0,
    }
}

impl Samples {
    /// About `target` samples on a regular lattice of the mask's pixels.
    pub(crate) fn of(mask: &Mask, surface: &Surface<'_>, target: usize) -> Self {
        let area = mask.area();
        let stride = ((area as f64 / target as f64).sqrt().round() as usize).max(1);
        let Some(inside) = Bitmap::of(mask) else {
            return Self {
                points: Vec::new(),
                weight: 0.0,
                gaps: 0.0,
                perimeter: 0.0,
                area: 0.0,
            };
        };
        let mut points = Vec::with_capacity(area / (stride * stride) + 64);
        let (mut visited, mut missing) = (0usize, 0usize);
        mask.for_each_run(|x, a, b| {
            if !inside.lattice_column(x, stride) {
                return;
            }
            for y in inside.lattice_rows(a, b, stride) {
                visited += 1;
                let d = surface.at(x, y);
                if !d.is_finite() {
                    missing += 1;
                    continue;
                }
                let beside = |x: usize| inside.has(x, y).then(|| surface.at(x, y));
                let above = (y > a).then(|| surface.at(x, y - 1));
                let below = (y + 1 < b).then(|| surface.at(x, y + 1));
                points.push(Sample {
                    u: x as f64 + 0.5,
                    v: y as f64 + 0.5,
                    d,
                    du: slope(x.checked_sub(1).and_then(beside), d, beside(x + 1)),
                    dv: slope(above, d, below),
                });
            }
        });
        let weight = if points.is_empty() {
            0.0
        } else {
            area as f64 / points.len() as f64
        };
        Self {
            points,
            weight,
            gaps: missing as f64 / visited.max(1) as f64,
            perimeter: perimeter(mask),
            area: area as f64,
        }
    }

    /// The mask cast on the table along the rays; its depth plays no part.
    pub(crate) fn cast(&self, view: &View) -> CastOutline {
        let (mut area, mut cosine) = (0.0, 0.0);
        for s in &self.points {
            let r = view.camera.ray(s.u, s.v);
            let q = dot(view.down, r);
            if q < MIN_FALL {
                continue;
            }
            let patch = view.level_area(s.u, s.v, 1.0 / q);
            area += patch;
            cosine += patch * q / dot(r, r).sqrt();
        }
        if area <= 0.0 {
            return CastOutline::default();
        }
        let cosine = (cosine / area).clamp(0.05, 1.0);
        let area = area * self.weight;
        CastOutline {
            area,
            // The mean over directions of a foreshortened length is close to the root of the two scales.
            perimeter: self.perimeter * (area / self.area).sqrt(),
            slant: (1.0 / (cosine * cosine) - 1.0).max(0.0).sqrt(),
        }
    }

    /// Every `n`-th sample, standing for `n` times the pixels.
    pub(crate) fn thinned(&self, n: usize) -> Self {
        let points: Vec<Sample> = self.points.iter().copied().step_by(n).collect();
        let weight = self.weight * self.points.len() as f64 / points.len().max(1) as f64;
        Self {
            points,
            weight,
            gaps: self.gaps,
            perimeter: self.perimeter,
            area: self.area,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use dragunov_models::RelativeDisparity;

    use super::*;
    use crate::geometry::types::Depth;

    #[test]
    fn samples_stand_for_the_whole_mask() {
        let data: Vec<f32> = (0..100 * 80).map(|i| 1.0 + 0.001 * (i % 100) as f32).collect();
        let d = RelativeDisparity::new(100, 80, data).unwrap();
        let s = Surface::new(Depth::Disparity(&d), 100, 80).unwrap();
        let mask = Mask::from_fn(100, 80, |x, y| x > 10 && x < 70 && y > 20 && y < 60);
        for target in [100_000, 500] {
            let samples = Samples::of(&mask, &s, target);
            let n = samples.points.len() as f64 * samples.weight;
            assert!((n - mask.area() as f64).abs() < 1e-6);
            assert!(
                samples
                    .points
                    .iter()
                    .all(|p| (p.du - 0.001).abs() < 1e-6 && p.dv.abs() < 1e-6)
            );
        }
    }
}
