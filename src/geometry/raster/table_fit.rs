//! Aligning the raster to the table: `d = a q + b`, robust, with what else is known of the slope (geometry.md 3.3, 3.4).

use super::noise::Noise;
use super::surface::Alignment;
use super::table::TableSamples;
use crate::geometry::math::stats::{MAD_TO_SD, TUKEY, median};
use crate::geometry::view::camera::View;

/// Neighbouring values of a network's depth err together: all samples are worth so many independent ones.
pub(super) const INDEPENDENT_SAMPLES: f64 = 20.0;
/// Least relative sd of a disparity: quantisation of a float raster.
pub(super) const NOISE_FLOOR: f64 = 1e-5;
/// Smooth error of a network's disparity from one side of the table to the other, relative.
const RAMP_SHARE: f64 = 0.002;
/// A witness of the slope that is more combined sigmas off than this is left out.
const CONTRADICTION_SIGMAS: f64 = 2.5;

/// Alignment of the raster to the table and what is left over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct TableFit {
    pub(crate) alignment: Alignment,
    /// Standard deviation of the slope `a` at fixed table disparity; what is unknown of it is unknown of the shift.
    pub(crate) slope_sigma: f64,
    /// Share of the table in deciding the slope; the rest are priors.
    pub(crate) by_table: f64,
    pub(crate) residual_rel: f64,
    pub(crate) noise: Noise,
    pub(crate) inliers: f64,
    /// Correlation of `d` with `q`; 0 where `q` does not vary.
    pub(crate) correlation: f64,
    /// Spread of `q` over the table.
    pub(crate) q_spread: f64,
    /// Median disparity and `q` of the table.
    pub(crate) level: [f64; 2],
}

/// An independent estimate of the slope `a`, in the raster's units.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct SlopePrior {
    pub(crate) slope: f64,
    pub(crate) sigma: f64,
}

/// How far the raster and the view may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct FitErrors {
    /// Smooth error of a network's heights over the table, sd in camera heights; 0 for true depth.
    pub(crate) relief: f64,
    /// Shift of the disparity, sd as a share of the table's.
    pub(crate) shift: f64,
    /// Of the tilt, radians.
    pub(crate) tilt: f64,
}

/// Fits the samples that are kept. With `metric` the shift is zero; otherwise the table's own slope is combined with the
/// priors and with a shift near zero. `None` for under 3 samples.
pub(crate) fn fit(
    samples: &TableSamples,
    keep: &[bool],
    view: &View,
    metric: bool,
    priors: &[SlopePrior],
    errors: FitErrors,
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
    let line = Line::fit(&points, metric)?;
    let (a, slope_sigma, by_table) = if metric {
        (line.a, 0.0, 1.0)
    } else {
        // A wrong tilt stretches q: by cot(tilt) a radian.
        let lean = errors.tilt / view.down[0].hypot(view.down[1]).max(1e-6);
        line.combined(priors, lean, errors)?
    };
    let (correlation, q_spread) = correlation(&points);
    Some(TableFit {
        alignment: Alignment {
            a,
            b: if metric { 0.0 } else { line.d - a * line.q },
            trend: [0.0; 3],
        },
        slope_sigma,
        by_table,
        residual_rel: line.sd / (a * line.level[1]).abs(),
        noise: Noise::of(
            samples,
            keep,
            &line.residuals(&points, metric),
            line.sd,
            (a * line.level[1]).abs(),
        ),
        inliers: points.len() as f64 / samples.points.len() as f64,
        correlation,
        q_spread,
        level: line.level,
    })
}

/// The line `d = a q + b` through the table's own samples.
struct Line {
    a: f64,
    /// Weighted mean of `q` and of `d`, and variance of `q`; of a metric raster the medians, and 0.
    q: f64,
    d: f64,
    q_variance: f64,
    /// Sd of the residual.
    sd: f64,
    /// Median `d` and `q`.
    level: [f64; 2],
}

impl Line {
    /// Least squares, reweighted by Tukey's weights until the residual's spread stands still.
    fn fit(points: &[[f64; 2]], metric: bool) -> Option<Self> {
        let mut scratch: Vec<f64> = points.iter().map(|p| p[1]).collect();
        let d_level = median(&mut scratch)?;
        scratch.clear();
        scratch.extend(points.iter().map(|p| p[0]));
        let q_level = median(&mut scratch)?;
        let (mut a, mut b) = (0.0, d_level);
        let mut line = Self {
            a,
            q: q_level,
            d: d_level,
            q_variance: 0.0,
            sd: f64::INFINITY,
            level: [d_level, q_level],
        };
        for _ in 0..8 {
            let (mut w0, mut wq, mut wd, mut wqq, mut wqd) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for [q, d] in points {
                let t = if line.sd.is_finite() {
                    (d - a * q - b) / (TUKEY * line.sd)
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
                (line.q, line.d) = (q_level + mq, d_level + md);
                line.q_variance = (wqq / w0 - mq * mq).max(0.0);
                a = if line.q_variance > 1e-12 {
                    (wqd / w0 - mq * md) / line.q_variance
                } else {
                    0.0
                };
                b = line.d - a * line.q;
            }
            scratch.clear();
            scratch.extend(points.iter().map(|p| (p[1] - a * p[0] - b).abs()));
            let before = line.sd;
            line.sd =
                (MAD_TO_SD * median(&mut scratch)?).max(NOISE_FLOOR * d_level.abs().max((a * q_level).abs()));
            if (before - line.sd).abs() <= 1e-3 * line.sd {
                break;
            }
        }
        line.a = a;
        Some(line)
    }

    fn residuals(&self, points: &[[f64; 2]], metric: bool) -> Vec<f64> {
        let b = if metric { 0.0 } else { self.d - self.a * self.q };
        points.iter().map(|[q, d]| d - self.a * q - b).collect()
    }

    /// The slope with all witnesses, its sd, and the table's share in it. `lean` is the relative error of `q` by the tilt's.
    fn combined(&self, priors: &[SlopePrior], lean: f64, errors: FitErrors) -> Option<(f64, f64, f64)> {
        let [d_level, q_level] = self.level;
        let unit = d_level.abs().max((self.a * q_level).abs());
        let q_sd = self.q_variance.sqrt().max(1e-9);
        let ramp = (RAMP_SHARE / 12.0_f64.sqrt()).hypot(errors.relief) * unit / q_sd;
        let stretch = unit / self.q * lean.min(10.0);
        let noise = self.sd * self.sd / (INDEPENDENT_SAMPLES * q_sd * q_sd);
        let of_table = (noise + ramp * ramp + stretch * stretch).recip();
        let table = SlopePrior {
            slope: self.a,
            sigma: of_table.powf(-0.5),
        };
        // The shift is in units of the table as the other witnesses have it: a slope that a wrong tilt stretched is none.
        let near_zero = SlopePrior {
            slope: self.d / self.q,
            sigma: errors.shift * unit / self.q,
        };
        let mut witnesses: Vec<SlopePrior> = priors.iter().copied().chain([near_zero, table]).collect();
        witnesses.retain(|w| w.slope.is_finite() && w.sigma.is_finite() && w.sigma > 0.0);
        witnesses.sort_by(|a, b| a.sigma.total_cmp(&b.sigma));
        let (mut a, mut weight, mut by_table) = (0.0, 0.0_f64, 0.0);
        // The surest comes first; one that contradicts those before it is left out.
        for witness in &witnesses {
            let off = (witness.slope - a).abs();
            if weight > 0.0 && off > CONTRADICTION_SIGMAS * weight.powf(-0.5).hypot(witness.sigma) {
                continue;
            }
            let w = witness.sigma.powi(-2);
            a = (a * weight + witness.slope * w) / (weight + w);
            weight += w;
            if *witness == table {
                by_table = w;
            }
        }
        if weight <= 0.0 {
            return None;
        }
        // A table that comes nearer where it should recede says nothing of the slope.
        Some(if a <= 0.0 {
            (near_zero.slope, near_zero.sigma, 0.0)
        } else {
            (a, weight.powf(-0.5), by_table / weight)
        })
    }
}

/// Correlation of `d` with `q` and the spread of `q`.
fn correlation(points: &[[f64; 2]]) -> (f64, f64) {
    let n = points.len() as f64;
    let (mq, md) = (
        points.iter().map(|p| p[0]).sum::<f64>() / n,
        points.iter().map(|p| p[1]).sum::<f64>() / n,
    );
    let (mut qq, mut dd, mut qd) = (0.0, 0.0, 0.0);
    for [q, d] in points {
        qq += (q - mq).powi(2);
        dd += (d - md).powi(2);
        qd += (q - mq) * (d - md);
    }
    let correlation = if qq * dd > 0.0 { qd / (qq * dd).sqrt() } else { 0.0 };
    (correlation, (qq / n).sqrt())
}
