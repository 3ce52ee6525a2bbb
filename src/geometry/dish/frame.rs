//! The frame of a board: principal axes of the ground positions of its pixels (geometry.md 5.4).

use crate::geometry::math::stats::quantile;

/// Fewest points that make a frame.
const MIN_POINTS: usize = 12;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Frame {
    centre: [f64; 2],
    /// Unit vector along the longer spread.
    axis: [f64; 2],
    /// Half sizes along the axis and across it (98 % of the points).
    half: [f64; 2],
}

impl Frame {
    pub(super) fn of(points: &[[f64; 2]]) -> Option<Self> {
        if points.len() < MIN_POINTS {
            return None;
        }
        let n = points.len() as f64;
        let m = points
            .iter()
            .fold([0.0; 2], |m, p| [m[0] + p[0] / n, m[1] + p[1] / n]);
        let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
        for p in points {
            let d = [p[0] - m[0], p[1] - m[1]];
            xx += d[0] * d[0];
            yy += d[1] * d[1];
            xy += d[0] * d[1];
        }
        let angle = 0.5 * (2.0 * xy).atan2(xx - yy);
        let axis = [angle.cos(), angle.sin()];
        let mut a: Vec<f64> = points
            .iter()
            .map(|p| (p[0] - m[0]) * axis[0] + (p[1] - m[1]) * axis[1])
            .collect();
        let mut b: Vec<f64> = points
            .iter()
            .map(|p| (p[1] - m[1]) * axis[0] - (p[0] - m[0]) * axis[1])
            .collect();
        let ends = |v: &mut [f64]| Some((quantile(v, 0.01)?, quantile(v, 0.99)?));
        let ((a0, a1), (b0, b1)) = (ends(&mut a)?, ends(&mut b)?);
        let (ca, cb) = (0.5 * (a0 + a1), 0.5 * (b0 + b1));
        Some(Self {
            centre: [
                m[0] + ca * axis[0] - cb * axis[1],
                m[1] + ca * axis[1] + cb * axis[0],
            ],
            axis,
            half: [0.5 * (a1 - a0), 0.5 * (b1 - b0)],
        })
    }

    pub(super) fn contains(&self, ground: [f64; 2]) -> bool {
        let (axis, half) = (self.axis, self.half);
        let d = [ground[0] - self.centre[0], ground[1] - self.centre[1]];
        (d[0] * axis[0] + d[1] * axis[1]).abs() < half[0] && (d[1] * axis[0] - d[0] * axis[1]).abs() < half[1]
    }

    /// Half of the longer side.
    pub(crate) fn half_length(&self) -> f64 {
        self.half[0].max(self.half[1])
    }

    /// Half of the size along the axis.
    pub(super) fn half_axis(&self) -> f64 {
        self.half[0]
    }
}
