//! The table in the depth raster: equation (10), robust, with a prior on the shift.

use dragunov_models::Mask;

use super::camera::{View, dot};
use super::circle::solve;
use super::random::{Random, median};
use super::surface::{Alignment, Surface};

/// Table pixels: position and disparity.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableSamples {
    pub(crate) points: Vec<[f64; 3]>,
}

/// Neighbouring values of a network's depth go wrong together: so many are worth independent ones.
const INDEPENDENT: f64 = 20.0;
/// Prior sd of the shift, in units of the table's disparity: a shift of either sign up to half the raster's range.
const SHIFT_PRIOR: f64 = 0.35;
/// Smooth error of a network's disparity from one side of the table to the other, relative.
const RAMP: f64 = 0.002;
/// Least relative sd of a disparity (quantisation of a float raster).
const NOISE_FLOOR: f64 = 1e-5;

impl TableSamples {
    /// Pixels of a coarse lattice that no mask covers or touches, within one more width of the scene's things.
    pub(crate) fn collect(
        surface: &Surface<'_>,
        width: usize,
        height: usize,
        masks: &[&Mask],
        near: &[&Mask],
    ) -> Self {
        let step = (((width * height) as f64 / 6000.0).sqrt().ceil() as usize).max(1);
        let (nx, ny) = (width.div_ceil(step), height.div_ceil(step));
        let mut taken = vec![false; nx * ny];
        for mask in masks {
            mask.for_each_run(|x, a, b| {
                if x % step == step / 2 {
                    let j0 = a / step;
                    for j in j0..(b.div_ceil(step)).min(ny) {
                        taken[x / step * ny + j] = true;
                    }
                }
            });
        }
        let (mut x0, mut y0, mut x1, mut y1) = (f64::MAX, f64::MAX, 0.0_f64, 0.0_f64);
        for bbox in near.iter().filter_map(|m| m.bbox()) {
            x0 = x0.min(bbox.x0);
            y0 = y0.min(bbox.y0);
            x1 = x1.max(bbox.x1);
            y1 = y1.max(bbox.y1);
        }
        // One width of what stands there, and never less than a quarter of the photo.
        let (mx, my) = (
            (0.5 * (x1 - x0)).max(0.25 * width as f64),
            (0.5 * (y1 - y0)).max(0.25 * height as f64),
        );
        let mut points = Vec::with_capacity(nx * ny);
        for i in 0..nx {
            for j in 0..ny {
                let (x, y) = (
                    (i * step + step / 2).min(width - 1),
                    (j * step + step / 2).min(height - 1),
                );
                let (fx, fy) = (x as f64, y as f64);
                let close = fx > x0 - mx && fx < x1 + mx && fy > y0 - my && fy < y1 + my;
                let touched = || {
                    (i.saturating_sub(1)..(i + 2).min(nx))
                        .any(|a| (j.saturating_sub(1)..(j + 2).min(ny)).any(|b| taken[a * ny + b]))
                };
                if close && !touched() {
                    let d = surface.at(x, y);
                    if d.is_finite() {
                        points.push([fx + 0.5, fy + 0.5, d]);
                    }
                }
            }
        }
        Self { points }
    }
}

/// Alignment of the raster to the table and what is left over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TableFit {
    pub(crate) alignment: Alignment,
    /// Standard deviation of the slope `a` at fixed table disparity; what is unknown of it is unknown of the shift.
    pub(crate) slope_sigma: f64,
    /// Share of the table in deciding the slope; the rest are priors.
    pub(crate) by_table: f64,
    pub(crate) residual_rel: f64,
    pub(crate) inliers: f64,
    /// Correlation of `d` with `q`; 0 where `q` does not vary.
    pub(crate) correlation: f64,
    /// Spread of `q` over the table.
    pub(crate) q_spread: f64,
    /// Median disparity and `q` of the table.
    pub(crate) level: [f64; 2],
}

/// An independent opinion of the slope `a`, in the raster's units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SlopePrior {
    pub(crate) slope: f64,
    pub(crate) sigma: f64,
}

/// Which table samples agree with one plane: least median of squares over pairs, then twice the Tukey cut.
pub(crate) fn inliers(samples: &TableSamples, view: &View, metric: bool, seed: u64) -> Vec<bool> {
    let points: Vec<[f64; 2]> = samples
        .points
        .iter()
        .map(|p| [view.q(p[0], p[1]), p[2]])
        .collect();
    let mut scratch: Vec<f64> = points.iter().map(|p| p[0]).collect();
    let low = super::random::quantile(&mut scratch, 0.02).unwrap_or(0.0);
    let high = super::random::quantile(&mut scratch, 0.98).unwrap_or(0.0);
    let range = high - low;
    let mut random = Random::new(seed ^ 0x7ab1e);
    // Scoring a few hundred points is enough to rank candidates.
    let stride = (points.len() / 400).max(1);
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
    for k in 0..300 {
        let i = points[random.below(points.len())];
        if metric || k % 10 == 0 {
            score(i[1] / i[0], 0.0, &mut scratch);
            continue;
        }
        let j = points[random.below(points.len())];
        if (i[0] - j[0]).abs() >= 0.3 * range {
            let a = (i[1] - j[1]) / (i[0] - j[0]);
            score(a, i[1] - a * i[0], &mut scratch);
        }
    }
    let (spread, a, b) = best;
    if !spread.is_finite() {
        return vec![true; points.len()];
    }
    let level = a * 0.5 * (low + high) + b;
    let limit = (4.685 * 1.4826 * spread).max(3e-4 * level.abs());
    points
        .iter()
        .map(|p| (p[1] - a * p[0] - b).abs() <= limit)
        .collect()
}

/// Equation (10) by iteratively reweighted least squares (Tukey) over the inliers. With `metric` the shift is zero;
/// otherwise the table's own slope is combined with the priors and with a shift near zero, each left out where it
/// contradicts what came before it. `tilt_sigma` is in radians.
pub(crate) fn fit(
    samples: &TableSamples,
    keep: &[bool],
    view: &View,
    metric: bool,
    priors: &[SlopePrior],
    tilt_sigma: f64,
) -> Option<TableFit> {
    let points: Vec<[f64; 2]> = samples
        .points
        .iter()
        .zip(keep)
        .filter(|(_, k)| **k)
        .map(|(p, _)| [view.q(p[0], p[1]), p[2]])
        .collect();
    if points.len() < 3 {
        return None;
    }
    let mut scratch: Vec<f64> = points.iter().map(|p| p[1]).collect();
    let d_level = median(&mut scratch)?;
    scratch.clear();
    scratch.extend(points.iter().map(|p| p[0]));
    let q_level = median(&mut scratch)?;
    let (mut a, mut b, mut var) = (0.0, d_level, 0.0);
    let (mut q_here, mut d_here) = (q_level, d_level);
    let mut sd = f64::INFINITY;
    for _ in 0..8 {
        let (mut w0, mut wq, mut wd, mut wqq, mut wqd) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for [q, d] in &points {
            let t = if sd.is_finite() {
                (d - a * q - b) / (4.685 * sd)
            } else {
                0.0
            };
            let w = if t.abs() < 1.0 { (1.0 - t * t).powi(2) } else { 0.0 };
            // Metric slopes go through the origin, relative ones through the middle.
            let (q, d) = if metric {
                (*q, *d)
            } else {
                (q - q_level, d - d_level)
            };
            w0 += w;
            wq += w * q;
            wd += w * d;
            wqq += w * q * q;
            wqd += w * q * d;
        }
        if w0 <= 0.0 {
            return None;
        }
        if metric {
            a = wqd / wqq;
            b = 0.0;
        } else {
            let (mq, md) = (wq / w0, wd / w0);
            (q_here, d_here) = (q_level + mq, d_level + md);
            var = (wqq / w0 - mq * mq).max(0.0);
            a = if var > 1e-12 {
                (wqd / w0 - mq * md) / var
            } else {
                0.0
            };
            b = d_here - a * q_here;
        }
        scratch.clear();
        scratch.extend(points.iter().map(|p| (p[1] - a * p[0] - b).abs()));
        let before = sd;
        sd = (1.4826 * median(&mut scratch)?).max(NOISE_FLOOR * d_level.abs().max((a * q_level).abs()));
        if (before - sd).abs() <= 1e-3 * sd {
            break;
        }
    }
    let (mut slope_sigma, mut by_table) = (0.0, 1.0);
    if !metric {
        let unit = d_level.abs().max((a * q_level).abs());
        // A ramp over the photo looks like tilt and leaves no residual.
        let ramp = RAMP * unit / (12.0 * var).sqrt().max(1e-9);
        // And a wrong tilt stretches q: by cot(tilt) a radian.
        let lean = tilt_sigma / view.down[0].hypot(view.down[1]).max(1e-6);
        let stretch = unit / q_here * lean.min(10.0);
        let mut weight = (sd * sd / (INDEPENDENT * var.max(1e-18)) + ramp * ramp + stretch * stretch).recip();
        let of_table = weight;
        let mut combine = |prior: &SlopePrior, a: &mut f64| {
            let sigma = if weight > 0.0 {
                weight.powf(-0.5)
            } else {
                f64::INFINITY
            };
            if prior.slope > 0.0 && (prior.slope - *a).abs() <= 2.5 * sigma.hypot(prior.sigma) {
                let w = prior.sigma.powi(-2);
                *a = (*a * weight + prior.slope * w) / (weight + w);
                weight += w;
            }
        };
        for prior in priors {
            combine(prior, &mut a);
        }
        // The shift is in units of the table as the other opinions have it: a slope that a wrong tilt stretched is none.
        let near_zero = SlopePrior {
            slope: d_here / q_here,
            sigma: SHIFT_PRIOR * d_here.abs().max((a * q_here).abs()) / q_here,
        };
        combine(&near_zero, &mut a);
        if weight <= 0.0 {
            return None;
        }
        slope_sigma = weight.powf(-0.5);
        by_table = of_table / weight;
        // A table that comes nearer where it should recede says nothing of the slope.
        if a <= 0.0 {
            (a, slope_sigma, by_table) = (near_zero.slope, near_zero.sigma, 0.0);
        }
        b = d_here - a * q_here;
    }
    let n = points.len() as f64;
    let (mq, md) = (
        points.iter().map(|p| p[0]).sum::<f64>() / n,
        points.iter().map(|p| p[1]).sum::<f64>() / n,
    );
    let (mut qq, mut dd, mut qd) = (0.0, 0.0, 0.0);
    for [q, d] in &points {
        qq += (q - mq).powi(2);
        dd += (d - md).powi(2);
        qd += (q - mq) * (d - md);
    }
    let alignment = Alignment { a, b };
    Some(TableFit {
        alignment,
        slope_sigma,
        by_table,
        residual_rel: sd / (a * q_level).abs(),
        inliers: n / samples.points.len() as f64,
        correlation: if qq * dd > 0.0 { qd / (qq * dd).sqrt() } else { 0.0 },
        q_spread: (qq / n).sqrt(),
        level: [d_level, q_level],
    })
}

/// The free plane `d = n . ray`: least squares over the inliers, with the covariance of `n`.
pub(crate) fn free_plane(
    samples: &TableSamples,
    keep: &[bool],
    view: &View,
) -> Option<([f64; 3], [[f64; 3]; 3])> {
    let mut m = [[0.0; 4]; 3];
    let mut n = 0.0;
    for (p, _) in samples.points.iter().zip(keep).filter(|(_, k)| **k) {
        let r = view.camera.ray(p[0], p[1]);
        let row = [r[0], r[1], 1.0, p[2]];
        for i in 0..3 {
            for j in 0..4 {
                m[i][j] += row[i] * row[j];
            }
        }
        n += 1.0;
    }
    if n < 12.0 {
        return None;
    }
    let x = solve(m)?;
    let (mut square, mut level) = (0.0, 0.0);
    for (p, _) in samples.points.iter().zip(keep).filter(|(_, k)| **k) {
        square += (p[2] - dot(x, view.camera.ray(p[0], p[1]))).powi(2);
        level += p[2].abs();
    }
    let noise = (square / n).sqrt().max(NOISE_FLOOR * level / n);
    let mut inverse = [[0.0; 3]; 3];
    for k in 0..3 {
        let mut right: [[f64; 4]; 3] =
            std::array::from_fn(|i| std::array::from_fn(|j| if j < 3 { m[i][j] } else { 0.0 }));
        right[k][3] = 1.0;
        let column = solve(right)?;
        for i in 0..3 {
            inverse[i][k] = column[i] * noise * noise * n / INDEPENDENT;
        }
    }
    Some((x, inverse))
}
