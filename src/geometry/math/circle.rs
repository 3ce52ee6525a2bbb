//! Circles through points of the rectified table plane: Taubin's fit, made robust.

use super::linear::solve;
use super::random::Random;
use super::stats::{MAD_TO_SD, median, quantile};

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Circle {
    pub(crate) centre: [f64; 2],
    pub(crate) radius: f64,
    /// Root mean square distance of the points used, relative to the radius.
    pub(crate) residual_rel: f64,
    /// Share of the points used.
    pub(crate) inliers: f64,
    /// Share of the circumference (in 24 sectors) that has a point used.
    pub(crate) coverage: f64,
}

/// Taubin's algebraic fit by Newton's method on the characteristic polynomial (Taubin, PAMI 1991).
/// `None` for fewer than 5 points or points on a line.
pub(crate) fn fit_circle(points: &[[f64; 2]]) -> Option<Circle> {
    if points.len() < 5 {
        return None;
    }
    let n = points.len() as f64;
    let mx = points.iter().map(|p| p[0]).sum::<f64>() / n;
    let my = points.iter().map(|p| p[1]).sum::<f64>() / n;
    let (mut xx, mut yy, mut xy, mut xz, mut yz, mut zz) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for p in points {
        let (x, y) = (p[0] - mx, p[1] - my);
        let z = x * x + y * y;
        xx += x * x;
        yy += y * y;
        xy += x * y;
        xz += x * z;
        yz += y * z;
        zz += z * z;
    }
    [xx, yy, xy, xz, yz, zz] = [xx, yy, xy, xz, yz, zz].map(|m| m / n);
    let z = xx + yy;
    let cov = xx * yy - xy * xy;
    let var = zz - z * z;
    let a3 = 4.0 * z;
    let a2 = -3.0 * z * z - zz;
    let a1 = var * z + 4.0 * cov * z - xz * xz - yz * yz;
    let a0 = xz * (xz * yy - yz * xy) + yz * (yz * xx - xz * xy) - var * cov;
    let (mut x, mut y) = (0.0, a0);
    for _ in 0..40 {
        let slope = a1 + x * (2.0 * a2 + x * 3.0 * a3);
        let next = x - y / slope;
        if next == x || !next.is_finite() {
            break;
        }
        let value = a0 + next * (a1 + next * (a2 + next * a3));
        if value.abs() >= y.abs() {
            break;
        }
        (x, y) = (next, value);
    }
    let det = x * x - x * z + cov;
    if det.abs() < 1e-12 * z * z {
        return None;
    }
    let cx = (xz * (yy - x) - yz * xy) / det / 2.0;
    let cy = (yz * (xx - x) - xz * xy) / det / 2.0;
    let radius = (cx * cx + cy * cy + z).sqrt();
    let mut circle = Circle {
        centre: [cx + mx, cy + my],
        radius,
        residual_rel: 0.0,
        inliers: 1.0,
        coverage: 0.0,
    };
    if !radius.is_finite() || radius <= 0.0 {
        return None;
    }
    circle.describe(points.iter());
    Some(circle)
}

impl Circle {
    pub(crate) fn offset(&self, p: &[f64; 2]) -> f64 {
        // Asked for every sample of every solution: `hypot` would guard against overflow that camera heights do not know.
        let (x, y) = (p[0] - self.centre[0], p[1] - self.centre[1]);
        (x * x + y * y).sqrt() - self.radius
    }

    /// The circle of this radius nearest to the points, from where this one lies: Gauss and Newton over the centre.
    pub(crate) fn with_radius(self, radius: f64, points: &[[f64; 2]]) -> Self {
        let mut out = Self { radius, ..self };
        for _ in 0..8 {
            let mut m = [[0.0; 3]; 2];
            for p in points {
                let (x, y) = (p[0] - out.centre[0], p[1] - out.centre[1]);
                let away = x.hypot(y).max(1e-12);
                let (row, off) = ([x / away, y / away], away - radius);
                for i in 0..2 {
                    for j in 0..2 {
                        m[i][j] += row[i] * row[j];
                    }
                    m[i][2] += row[i] * off;
                }
            }
            let Some(step) = solve(m) else { break };
            out.centre = [out.centre[0] + step[0], out.centre[1] + step[1]];
            if step[0].hypot(step[1]) < 1e-9 {
                break;
            }
        }
        out.describe(points.iter());
        out.coverage = self.coverage;
        out
    }

    fn describe<'a>(&mut self, points: impl Iterator<Item = &'a [f64; 2]>) {
        let (mut sum, mut n, mut sectors) = (0.0, 0usize, 0u32);
        for p in points {
            sum += self.offset(p).powi(2);
            n += 1;
            let angle = (p[1] - self.centre[1]).atan2(p[0] - self.centre[0]) / std::f64::consts::TAU + 0.5;
            sectors |= 1 << ((angle * 24.0) as u32).min(23);
        }
        self.residual_rel = (sum / n.max(1) as f64).sqrt() / self.radius;
        self.coverage = f64::from(sectors.count_ones()) / 24.0;
    }

    /// Second harmonic of the points' distance from the circle, relative to the radius: `(cos, sin)` parts of
    /// an ellipse's departure from it. `None` where less than `min_coverage` of the circle is seen.
    pub(crate) fn ellipticity(&self, points: &[[f64; 2]], min_coverage: f64) -> Option<[f64; 2]> {
        if self.coverage < min_coverage {
            return None;
        }
        // Harmonics 0 to 2 together, because a partial circle mixes them.
        let mut m = [[0.0; 6]; 5];
        for p in points {
            let away = self.offset(p) + self.radius;
            let off = away / self.radius - 1.0;
            if off.abs() > 0.15 {
                continue;
            }
            let (c, s) = ((p[0] - self.centre[0]) / away, (p[1] - self.centre[1]) / away);
            let row = [1.0, c, s, c * c - s * s, 2.0 * s * c, off];
            for i in 0..5 {
                for j in 0..6 {
                    m[i][j] += row[i] * row[j];
                }
            }
        }
        let x = solve(m)?;
        Some([x[3], x[4]])
    }
}

/// Taubin's fit to the largest consistent part of the points: what covers the rim makes outliers.
pub(crate) fn fit_circle_robust(points: &[[f64; 2]], seed: u64) -> Option<Circle> {
    if points.len() < 8 {
        return None;
    }
    let mut random = Random::new(seed);
    let mut best: Option<(f64, Circle)> = None;
    let mut sorted = vec![0.0; points.len()];
    for _ in 0..60 {
        let pick: [[f64; 2]; 3] = std::array::from_fn(|_| points[random.below(points.len())]);
        let Some(circle) = through(pick) else { continue };
        for (s, p) in sorted.iter_mut().zip(points) {
            *s = circle.offset(p).abs();
        }
        // The 60 % quantile tolerates two points in five off the rim.
        let Some(spread) = quantile(&mut sorted, 0.6) else {
            continue;
        };
        let score = spread / circle.radius;
        if best.as_ref().is_none_or(|(s, _)| score < *s) {
            best = Some((score, circle));
        }
    }
    let mut circle = best?.1;
    let mut kept: Vec<[f64; 2]> = Vec::with_capacity(points.len());
    for _ in 0..5 {
        for (s, p) in sorted.iter_mut().zip(points) {
            *s = circle.offset(p).abs();
        }
        let limit =
            (3.0 * MAD_TO_SD * median(&mut sorted)?).clamp(0.004 * circle.radius, 0.05 * circle.radius);
        kept.clear();
        kept.extend(points.iter().filter(|p| circle.offset(p).abs() <= limit));
        let inliers = kept.len() as f64 / points.len() as f64;
        circle = Circle {
            inliers,
            ..fit_circle(&kept)?
        };
    }
    Some(circle)
}

fn through([a, b, c]: [[f64; 2]; 3]) -> Option<Circle> {
    let (bx, by) = (b[0] - a[0], b[1] - a[1]);
    let (cx, cy) = (c[0] - a[0], c[1] - a[1]);
    let d = 2.0 * (bx * cy - by * cx);
    let (bb, cc) = (bx * bx + by * by, cx * cx + cy * cy);
    if d.abs() < 1e-9 * (bb + cc) {
        return None;
    }
    let (x, y) = ((cy * bb - by * cc) / d, (bx * cc - cx * bb) / d);
    Some(Circle {
        centre: [a[0] + x, a[1] + y],
        radius: x.hypot(y),
        residual_rel: 0.0,
        inliers: 1.0,
        coverage: 0.0,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn arc(from: f64, to: f64, n: usize, r: f64) -> Vec<[f64; 2]> {
        (0..n)
            .map(|i| {
                let a = from + (to - from) * i as f64 / n as f64;
                [0.3 + r * a.cos(), -0.2 + r * a.sin()]
            })
            .collect()
    }

    #[test]
    fn exact_on_an_arc() {
        let c = fit_circle(&arc(0.0, 2.0, 30, 0.4)).unwrap();
        assert!((c.radius - 0.4).abs() < 1e-9 && (c.centre[0] - 0.3).abs() < 1e-9);
        assert!(fit_circle(&[[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0]]).is_none());
    }

    #[test]
    fn a_given_radius_keeps_to_the_arc() {
        let points = arc(-0.6, 0.6, 40, 0.4);
        let c = fit_circle(&points).unwrap();
        let wide = c.with_radius(0.44, &points);
        // The arc's middle stays where it is: the centre moves back by what the radius grew, less what the ends bend.
        assert!(wide.offset(&[0.7, -0.2]).abs() < 0.005, "{wide:?}");
        assert!((wide.centre[1] + 0.2).abs() < 2e-3 && wide.centre[0] < 0.275);
        assert!((c.with_radius(0.4, &points).centre[0] - 0.3).abs() < 1e-9);
    }

    #[test]
    fn a_third_of_outliers_does_not_move_it() {
        let mut points = arc(0.0, 4.2, 80, 0.4);
        points.extend((0..40).map(|i| [0.3 + 0.004 * f64::from(i), 0.0]));
        let c = fit_circle_robust(&points, 3).unwrap();
        assert!((c.radius - 0.4).abs() < 2e-3, "{c:?}");
        assert!(c.inliers < 0.75);
    }

    #[test]
    fn an_ellipse_shows_in_the_second_harmonic() {
        let points: Vec<_> = arc(0.0, std::f64::consts::TAU, 90, 0.4)
            .into_iter()
            .map(|p| [0.3 + (p[0] - 0.3) * 1.02, p[1]])
            .collect();
        let e = fit_circle(&points).unwrap().ellipticity(&points, 0.5).unwrap();
        assert!((e[0] - 0.01).abs() < 1e-3 && e[1].abs() < 1e-3, "{e:?}");
    }
}
