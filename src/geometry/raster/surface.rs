//! Reading the depth raster at pixels of the photo, as disparity `d` with `zeta = a / (d - b)` (geometry.md 3.1).

use crate::geometry::error::GeometryError;
use crate::geometry::math::vector::{V3, dot};
use crate::geometry::types::Depth;

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

/// Disparity to depth: `zeta = a / (d - trend . ray - b)` in camera heights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Alignment {
    pub(crate) a: f64,
    pub(crate) b: f64,
    /// What a network draws the table's plane off by, in coefficients of the ray; zero for true depth (geometry.md 3.6).
    pub(crate) trend: V3,
}

impl Alignment {
    /// `d` is what the raster holds where this ray goes.
    pub(crate) fn zeta(&self, d: f64, ray: V3) -> f64 {
        self.a / (d - dot(self.trend, ray) - self.b)
    }

    /// The table as a plane `d = n . ray`.
    pub(crate) fn plane(&self, down: V3) -> V3 {
        let level = [self.a * down[0], self.a * down[1], self.a * down[2] + self.b];
        std::array::from_fn(|i| level[i] + self.trend[i])
    }

    /// The same with a trend that makes the plane `d = n . ray` the table.
    pub(crate) fn levelled(self, n: V3, down: V3) -> Self {
        let level = [self.a * down[0], self.a * down[1], self.a * down[2] + self.b];
        Self {
            trend: std::array::from_fn(|i| n[i] - level[i]),
            ..self
        }
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
}
