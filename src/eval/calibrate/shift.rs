//! The shift of a network's disparity, by what truly rises over the table.

use dragunov_models::{MetricDepth, RelativeDisparity};

use crate::geometry::View;

/// Heights over the table, in camera heights: of what is table, and of what stands on it.
const TABLE: f64 = 0.004;
const THINGS: std::ops::Range<f64> = 0.02..0.4;
/// Every so many pixels are looked at, and so many of either kind are needed.
const STEP: usize = 7;
const MIN_PIXELS: usize = 200;

/// As a share of the table's disparity: with `d = a / zeta + b` on the table, `b` over the table's median disparity. `a` is the
/// least-squares one over everything that stands on the table. `None` where too little does.
pub(super) fn shift(
    network: &RelativeDisparity,
    truth: &MetricDepth,
    view: &View,
    camera_cm: f64,
) -> Option<f64> {
    let (width, height) = (truth.width(), truth.height());
    let (mut table, mut things) = (Vec::new(), Vec::new());
    for y in (0..height).step_by(STEP) {
        for x in (0..width).step_by(STEP) {
            let zeta = 100.0 * f64::from(truth.at(x, y)) / camera_cm;
            let (u, v) = (x as f64 + 0.5, y as f64 + 0.5);
            let at = (
                x * network.width() / width,
                y * network.height() / height * network.width(),
            );
            let d = f64::from(network.values()[at.0 + at.1]);
            let rise = view.height(u, v, zeta);
            if zeta <= 0.0 || !d.is_finite() {
                continue;
            }
            if rise.abs() < TABLE {
                table.push([view.q(u, v), d]);
            } else if THINGS.contains(&rise) {
                things.push([zeta, d]);
            }
        }
    }
    if table.len() < MIN_PIXELS || things.len() < MIN_PIXELS {
        return None;
    }
    let mut middle = |k: usize| {
        table.sort_unstable_by(|a, b| a[k].total_cmp(&b[k]));
        table[table.len() / 2][k]
    };
    let (q, d) = (middle(0), middle(1));
    let (mut xy, mut xx) = (0.0, 0.0);
    for [zeta, seen] in things {
        let x = 1.0 / zeta - q;
        xy += x * (seen - d);
        xx += x * x;
    }
    Some(1.0 - xy / xx * q / d)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::geometry::{CameraModel, Gravity};

    #[test]
    fn the_shift_of_a_disparity_is_found() {
        let (w, h) = (640, 480);
        let view = View::new(
            CameraModel::centred(w, h, 520.0, 0.0),
            &Gravity::from_pitch(30.0, 0.0, 1.0),
        );
        // A block of a tenth of the camera's height, 40 cm up, in the middle of the table.
        let zeta = |x: usize, y: usize| {
            let rise = if (240..400).contains(&x) && (160..320).contains(&y) {
                0.1
            } else {
                0.0
            };
            (1.0 - rise) / view.q(x as f64 + 0.5, y as f64 + 0.5)
        };
        let all: Vec<f64> = (0..w * h).map(|i| zeta(i % w, i / w)).collect();
        let truth = MetricDepth::new(w, h, all.iter().map(|z| (0.4 * z) as f32).collect()).unwrap();
        for wanted in [-0.2, 0.0, 0.3] {
            let level = {
                let mut q: Vec<f64> = all.iter().map(|z| 1.0 / z).collect();
                q.sort_unstable_by(f64::total_cmp);
                q[q.len() / 2]
            };
            let b = wanted / (1.0 - wanted) * level;
            let raster = all.iter().map(|z| (1.0 / z + b) as f32).collect();
            let network = RelativeDisparity::new(w, h, raster).unwrap();
            let found = shift(&network, &truth, &view, 40.0).unwrap();
            assert!((found - wanted).abs() < 0.03, "{wanted} {found}");
        }
    }
}
