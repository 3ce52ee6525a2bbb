//! Masks as ellipses: what a dish or a coin is in a photo.

use dragunov_models::Mask;

/// Moments of a mask up to the second, in pixel indices: a pixel's middle is half a pixel further.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Moments {
    pub(super) area: f64,
    pub(super) mean: [f64; 2],
    /// Variance along x, covariance, variance along y.
    pub(super) variance: [f64; 3],
}

impl Moments {
    /// `None` of an empty mask.
    pub(super) fn of(mask: &Mask) -> Option<Self> {
        let n = mask.area() as f64;
        if n < 1.0 {
            return None;
        }
        // Sums over a vertical run from a to b: of y, and of y squared.
        let sums = |a: usize, b: usize| {
            let (a, b) = (a as f64, b as f64);
            let cubes = |v: f64| v * (v - 1.0) * (2.0 * v - 1.0) / 6.0;
            (b - a, 0.5 * (b * (b - 1.0) - a * (a - 1.0)), cubes(b) - cubes(a))
        };
        let (mut sx, mut sy, mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        mask.for_each_run(|x, a, b| {
            let (x, (count, y1, y2)) = (x as f64, sums(a, b));
            sx += x * count;
            sy += y1;
            xx += x * x * count;
            xy += x * y1;
            yy += y2;
        });
        let (mx, my) = (sx / n, sy / n);
        // A pixel is no point: a twelfth each way.
        let variance = [
            xx / n - mx * mx + 1.0 / 12.0,
            xy / n - mx * my,
            yy / n - my * my + 1.0 / 12.0,
        ];
        Some(Self {
            area: n,
            mean: [mx, my],
            variance,
        })
    }
}

/// Overlap (IoU) of a mask with the ellipse that has its second moments: 1 for an ellipse, whatever its tilt.
pub(super) fn roundness(mask: &Mask) -> f64 {
    let Some(m) = Moments::of(mask) else {
        return 0.0;
    };
    let ([mx, my], [vxx, vxy, vyy]) = (m.mean, m.variance);
    let det = vxx * vyy - vxy * vxy;
    // The ellipse is (v - m)' V^-1 (v - m) <= 4; in each column that is one stretch.
    let reach = 2.0 * vxx.sqrt();
    let column = |x: f64| {
        let dx = x - mx;
        let half = (det * (4.0 * vxx - dx * dx)).max(0.0).sqrt() / vxx;
        let middle = my + vxy / vxx * dx;
        (middle - half, middle + half)
    };
    let mut both = 0.0;
    mask.for_each_run(|x, a, b| {
        if (x as f64 - mx).abs() <= reach {
            let (low, high) = column(x as f64);
            both += ((high + 0.5).min(b as f64) - (low + 0.5).max(a as f64)).max(0.0);
        }
    });
    let ellipse = 4.0 * std::f64::consts::PI * det.sqrt();
    both / (m.area + ellipse - both)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::perceive) fn ellipse(cx: f64, cy: f64, rx: f64, ry: f64, turn: f64) -> Mask {
        let (s, c) = turn.sin_cos();
        Mask::from_fn(200, 160, |x, y| {
            let (dx, dy) = (x as f64 - cx, y as f64 - cy);
            let (u, v) = ((c * dx + s * dy) / rx, (c * dy - s * dx) / ry);
            u * u + v * v <= 1.0
        })
    }

    #[test]
    fn ellipses_are_round_and_nothing_else_is() {
        assert!(roundness(&ellipse(100.0, 80.0, 60.0, 30.0, 0.4)) > 0.985);
        assert!(roundness(&ellipse(100.0, 80.0, 40.0, 40.0, 0.0)) > 0.985);
        let pair = ellipse(60.0, 80.0, 40.0, 30.0, 0.0).union(&ellipse(130.0, 80.0, 35.0, 30.0, 0.0));
        assert!(roundness(&pair) < 0.9);
        assert!(roundness(&Mask::from_fn(200, 160, |x, y| x < 100 && y < 50)) < 0.93);
        assert_eq!(roundness(&Mask::empty(200, 160)), 0.0);
        assert!(roundness(&Mask::from_fn(200, 160, |x, y| (x, y) == (5, 5))).is_finite());
    }
}
