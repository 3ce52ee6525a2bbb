//! Reading the depth raster at pixels of the photo, as disparity `d` with `zeta = a / (d - b)`.
//!
//! A metric raster is read as `d = 1 / Z`, which is a disparity whose shift is known to be zero.

use dragunov_models::Mask;

use super::camera::{View, dot};
use super::error::GeometryError;
use super::outline;
use super::portion::Shadow;
use super::scene::Depth;

/// Depth raster seen from the photo's pixel grid.
#[derive(Debug, Clone)]
pub(crate) struct Surface<'a> {
    values: &'a [f32],
    /// Cells of a row.
    pitch: usize,
    /// Where each column and each row of the photo lies in the raster.
    columns: Vec<Between>,
    rows: Vec<Between>,
    pub(crate) metric: bool,
}

/// Position between two neighbouring cells along one axis.
#[derive(Debug, Clone, Copy)]
struct Between {
    low: usize,
    high: usize,
    share: f64,
}

/// The centres of `pixels` pixels between those of `cells` cells.
fn between(pixels: usize, cells: usize) -> Vec<Between> {
    let step = cells as f64 / pixels as f64;
    (0..pixels)
        .map(|i| {
            let p = ((i as f64 + 0.5) * step - 0.5).clamp(0.0, (cells - 1) as f64);
            let low = p as usize;
            Between {
                low,
                high: (low + 1).min(cells - 1),
                share: p - low as f64,
            }
        })
        .collect()
}

/// Disparity to depth: `zeta = a / (d - b)` in camera heights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Alignment {
    pub(crate) a: f64,
    pub(crate) b: f64,
}

impl Alignment {
    pub(crate) fn zeta(&self, d: f64) -> f64 {
        self.a / (d - self.b)
    }
}

impl<'a> Surface<'a> {
    pub(crate) fn new(depth: Depth<'a>, width: usize, height: usize) -> Result<Self, GeometryError> {
        let (values, gw, gh, metric) = match depth {
            Depth::Disparity(d) => (d.values(), d.width(), d.height(), false),
            Depth::Metric { depth: d, .. } => (d.values(), d.width(), d.height(), true),
        };
        let usable = |v: &&f32| v.is_finite() && (!metric || **v > 0.0);
        // A stride keeps this check from touching every value.
        let stride = (values.len() / 4096).max(1);
        let (mut low, mut high, mut seen, mut all) = (f32::INFINITY, f32::NEG_INFINITY, 0usize, 0usize);
        for v in values.iter().step_by(stride) {
            all += 1;
            if usable(&v) {
                seen += 1;
                low = low.min(*v);
                high = high.max(*v);
            }
        }
        if seen * 4 < all {
            return Err(GeometryError::DepthInvalid {
                reason: "most values are missing or not finite",
            });
        }
        if high - low <= f32::EPSILON * high.abs().max(low.abs()) {
            return Err(GeometryError::DepthInvalid {
                reason: "it is constant",
            });
        }
        Ok(Self {
            values,
            pitch: gw,
            columns: between(width, gw),
            rows: between(height, gh),
            metric,
        })
    }

    fn cell(&self, x: usize, y: usize) -> f64 {
        let v = f64::from(self.values[y * self.pitch + x]);
        if !self.metric {
            v
        } else if v > 0.0 {
            1.0 / v
        } else {
            f64::NAN
        }
    }

    /// Disparity at a pixel's centre, bilinear; NaN where the raster has none.
    pub(crate) fn at(&self, x: usize, y: usize) -> f64 {
        let (x, y) = (self.columns[x], self.rows[y]);
        // A raster of the photo's own size is read as it is, beside gaps too.
        if x.share == 0.0 && y.share == 0.0 {
            return self.cell(x.low, y.low);
        }
        let mix = |a: f64, b: f64, t: f64| a + (b - a) * t;
        mix(
            mix(self.cell(x.low, y.low), self.cell(x.high, y.low), x.share),
            mix(self.cell(x.low, y.high), self.cell(x.high, y.high), x.share),
            y.share,
        )
    }
}

/// One pixel of an item: position of its centre, disparity and its slopes per pixel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    pub(crate) u: f64,
    pub(crate) v: f64,
    pub(crate) d: f64,
    pub(crate) du: f64,
    pub(crate) dv: f64,
}

/// A thinned-out set of pixels of a mask with slopes that never reach over its edge.
#[derive(Debug, Clone)]
pub(crate) struct Samples {
    pub(crate) points: Vec<Sample>,
    /// Pixels that one sample stands for.
    pub(crate) weight: f64,
    /// Share of the looked-at pixels without depth.
    pub(crate) gaps: f64,
    /// Of the mask, in pixels.
    pub(crate) perimeter: f64,
    pub(crate) area: f64,
}

/// Forward and backward slopes that differ by more than this share of the disparity are two surfaces.
const JUMP: f64 = 0.006;

impl Samples {
    /// About `target` samples on a regular lattice of the mask's pixels.
    pub(crate) fn of(mask: &Mask, surface: &Surface<'_>, target: usize) -> Self {
        let area = mask.area();
        let stride = ((area as f64 / target as f64).sqrt().round() as usize).max(1);
        let Some(bbox) = mask.bbox() else {
            return Self {
                points: Vec::new(),
                weight: 0.0,
                gaps: 0.0,
                perimeter: 0.0,
                area: 0.0,
            };
        };
        let (x0, y0) = (bbox.x0 as usize, bbox.y0 as usize);
        let (w, h) = ((bbox.x1 - bbox.x0) as usize, (bbox.y1 - bbox.y0) as usize);
        let mut inside = vec![0u64; (w * h).div_ceil(64)];
        mask.for_each_run(|x, a, b| {
            for k in (x - x0) * h + a - y0..(x - x0) * h + b - y0 {
                inside[k / 64] |= 1 << (k % 64);
            }
        });
        let has = |x: usize, y: usize| {
            let k = (x - x0) * h + y - y0;
            inside[k / 64] >> (k % 64) & 1 == 1
        };
        let mut points = Vec::with_capacity(area / (stride * stride) + 64);
        let mut looked = 0usize;
        let mut missing = 0usize;
        mask.for_each_run(|x, a, b| {
            if (x - x0) % stride != stride / 2 && w > stride {
                return;
            }
            let mut y = a;
            while y < b {
                // A lattice row is skipped to, not scanned for.
                let off = (y - y0) % stride;
                let want = if h > stride { stride / 2 } else { 0 };
                if off != want && stride > 1 && h > stride {
                    y += (want + stride - off) % stride;
                    continue;
                }
                looked += 1;
                let d = surface.at(x, y);
                if d.is_finite() {
                    let slope = |back: Option<f64>, ahead: Option<f64>| {
                        let step = |other: Option<f64>, sign: f64| {
                            other.map(|o| (o - d) * sign).filter(|s| s.is_finite())
                        };
                        match (step(back, -1.0), step(ahead, 1.0)) {
                            (Some(p), Some(n)) if (p - n).abs() > JUMP * d.abs() => {
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
                    };
                    let left = (x > x0 && has(x - 1, y)).then(|| surface.at(x - 1, y));
                    let right = (x + 1 < x0 + w && has(x + 1, y)).then(|| surface.at(x + 1, y));
                    let up = (y > a).then(|| surface.at(x, y - 1));
                    let down = (y + 1 < b).then(|| surface.at(x, y + 1));
                    points.push(Sample {
                        u: x as f64 + 0.5,
                        v: y as f64 + 0.5,
                        d,
                        du: slope(left, right),
                        dv: slope(up, down),
                    });
                } else {
                    missing += 1;
                }
                y += stride;
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
            gaps: missing as f64 / looked.max(1) as f64,
            perimeter: outline::perimeter(mask),
            area: area as f64,
        }
    }

    /// The mask cast on the table along the rays; its depth plays no part.
    pub(crate) fn shadow(&self, view: &View) -> Shadow {
        let (mut area, mut cosine) = (0.0, 0.0);
        for s in &self.points {
            let r = view.camera.ray(s.u, s.v);
            let q = dot(view.down, r);
            if q < 0.05 {
                continue;
            }
            let patch = view.level_area(s.u, s.v, 1.0 / q);
            area += patch;
            cosine += patch * q / dot(r, r).sqrt();
        }
        if area <= 0.0 {
            return Shadow::default();
        }
        let cosine = (cosine / area).clamp(0.05, 1.0);
        let area = area * self.weight;
        Shadow {
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
    use dragunov_models::{MetricDepth, RelativeDisparity};

    use super::*;

    #[test]
    fn low_resolution_is_read_at_pixel_centres() {
        let data: Vec<f32> = (0..12).map(|i| (i % 4) as f32).collect();
        let d = RelativeDisparity::new(4, 3, data).unwrap();
        let s = Surface::new(Depth::Disparity(&d), 8, 6).unwrap();
        // Photo pixel 3 has its centre at 3.5 / 2 - 0.5 = 1.25 cells.
        assert!((s.at(3, 2) - 1.25).abs() < 1e-12);
        assert_eq!(s.at(0, 0), 0.0);
    }

    #[test]
    fn useless_rasters_are_refused() {
        let nan = RelativeDisparity::new(4, 4, vec![f32::NAN; 16]).unwrap();
        let flat = RelativeDisparity::new(4, 4, vec![2.0; 16]).unwrap();
        let none = MetricDepth::new(4, 4, vec![0.0; 16]).unwrap();
        assert!(Surface::new(Depth::Disparity(&nan), 4, 4).is_err());
        assert!(Surface::new(Depth::Disparity(&flat), 4, 4).is_err());
        let none = Depth::Metric {
            depth: &none,
            scale_sigma_ln: 0.0,
        };
        assert!(Surface::new(none, 4, 4).is_err());
    }

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
