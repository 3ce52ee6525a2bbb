//! Correcting gravity by what is seen: circles must be round, the table must be level.

use super::camera::{CameraModel, View, dot, normalised};
use super::gravity::Gravity;

/// Edge points of one circle seen in the photo, at a known height over the table.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    pub(crate) pixels: Vec<[f64; 2]>,
    pub(crate) height: f64,
    /// Sd of the rectified ellipticity of a perfect estimate.
    pub(crate) sigma: f64,
}

/// An opinion of the direction of gravity from the depth raster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DepthOpinion {
    pub(crate) down: [f64; 3],
    /// Radians along the tilt and across it; infinite where it says nothing.
    pub(crate) sigma: [f64; 2],
}

pub(crate) struct Refined {
    pub(crate) gravity: Gravity,
    pub(crate) by_circle: bool,
    pub(crate) by_depth: bool,
}

/// Least visible part of a circle that can speak about tilt.
const COVERAGE: f64 = 0.5;

fn ellipticity(camera: CameraModel, gravity: &Gravity, ring: &Ring) -> Option<[f64; 2]> {
    let view = View::new(camera, gravity);
    let points: Vec<[f64; 2]> = ring
        .pixels
        .iter()
        .map(|p| view.on_level(p[0], p[1], ring.height))
        .collect();
    super::circle::fit_circle(&points)?.ellipticity(&points, COVERAGE)
}

/// Maximum a posteriori tilt and sideways lean by Gauss and Newton, from the prior, the circles and the depth.
pub(crate) fn refine(
    camera: CameraModel,
    prior: &Gravity,
    rings: &[Ring],
    depth: Option<DepthOpinion>,
) -> Refined {
    let sigma = prior.lean_sigma();
    let (along, across) = prior.lean_axes();
    let mut lean = [0.0; 2];
    let mut normal = [[0.0; 2]; 2];
    let (mut by_circle, mut by_depth) = (false, false);
    for _ in 0..6 {
        let here = prior.leaned(lean);
        let mut m = [[0.0; 3]; 2];
        for k in 0..2 {
            let w = sigma[k].powi(-2);
            m[k][k] += w;
            m[k][2] -= w * lean[k];
        }
        if let Some(opinion) = depth {
            let at = [
                dot(opinion.down, along) / dot(opinion.down, prior.down),
                dot(opinion.down, across) / dot(opinion.down, prior.down),
            ];
            for k in 0..2 {
                if opinion.sigma[k].is_finite() {
                    let w = opinion.sigma[k].powi(-2);
                    m[k][k] += w;
                    m[k][2] += w * (at[k] - lean[k]);
                    by_depth |= w > sigma[k].powi(-2);
                }
            }
        }
        for ring in rings {
            let Some(e) = ellipticity(camera, &here, ring) else {
                continue;
            };
            let step = 0.01;
            let mut jacobian = [[0.0; 2]; 2];
            let mut ok = true;
            for k in 0..2 {
                let mut moved = lean;
                moved[k] += step;
                match ellipticity(camera, &prior.leaned(moved), ring) {
                    Some(d) => jacobian[k] = [(d[0] - e[0]) / step, (d[1] - e[1]) / step],
                    None => ok = false,
                }
            }
            if !ok {
                continue;
            }
            by_circle = true;
            let w = ring.sigma.powi(-2);
            for i in 0..2 {
                for j in 0..2 {
                    m[i][j] += w * (jacobian[i][0] * jacobian[j][0] + jacobian[i][1] * jacobian[j][1]);
                }
                m[i][2] -= w * (jacobian[i][0] * e[0] + jacobian[i][1] * e[1]);
            }
        }
        normal = [[m[0][0], m[0][1]], [m[1][0], m[1][1]]];
        let Some(step) = super::circle::solve(m) else {
            break;
        };
        // A step longer than the linearisation holds is shortened.
        let length = step[0].hypot(step[1]);
        let factor = (0.15 / length).min(1.0);
        lean[0] += factor * step[0];
        lean[1] += factor * step[1];
        if length < 1e-6 {
            break;
        }
    }
    let det = normal[0][0] * normal[1][1] - normal[0][1] * normal[1][0];
    let mut gravity = prior.leaned(lean);
    if det > 0.0 {
        gravity.tilt_sigma_deg = (normal[1][1] / det).sqrt().to_degrees().min(prior.tilt_sigma_deg);
        let flat = gravity.down[0].hypot(gravity.down[1]).max(0.05);
        gravity.roll_sigma_deg = ((normal[0][0] / det).sqrt().to_degrees() / flat).min(prior.roll_sigma_deg);
    }
    Refined {
        gravity,
        by_circle,
        by_depth,
    }
}

/// How many sigmas a circle is from round under this gravity. `None` where too little of it shows.
pub(crate) fn off_round(camera: CameraModel, gravity: &Gravity, ring: &Ring) -> Option<f64> {
    ellipticity(camera, gravity, ring).map(|e| e[0].hypot(e[1]) / ring.sigma)
}

/// Direction of gravity from a plane `d = n . ray` whose shift is zero (metric depth).
pub(crate) fn from_metric_plane(n: [f64; 3], covariance: [[f64; 3]; 3], prior: &Gravity) -> DepthOpinion {
    let length = dot(n, n).sqrt();
    let (along, across) = prior.lean_axes();
    let sd = |axis: [f64; 3]| {
        let mut sum = 0.0;
        for i in 0..3 {
            for j in 0..3 {
                sum += axis[i] * covariance[i][j] * axis[j];
            }
        }
        sum.max(0.0).sqrt() / length
    };
    DepthOpinion {
        down: normalised(n),
        sigma: [sd(along).max(2e-4), sd(across).max(2e-4)],
    }
}

/// Sideways lean from the direction in which relative disparity grows; the tilt itself hides in the shift.
pub(crate) fn from_relative_plane(
    n: [f64; 3],
    covariance: [[f64; 3]; 3],
    prior: &Gravity,
) -> Option<DepthOpinion> {
    let g = prior.down;
    let flat = g[0].hypot(g[1]);
    let grow = n[0].hypot(n[1]);
    if flat < 0.2 || grow <= 0.0 {
        return None;
    }
    // Turn the prior about the optical axis until its horizontal part points along the growth.
    let down = [n[0] / grow * flat, n[1] / grow * flat, g[2]];
    let side = [-n[1] / grow, n[0] / grow];
    let var = side[0] * side[0] * covariance[0][0]
        + 2.0 * side[0] * side[1] * covariance[0][1]
        + side[1] * side[1] * covariance[1][1];
    let angle = var.max(0.0).sqrt() / grow;
    Some(DepthOpinion {
        down,
        sigma: [f64::INFINITY, (angle * flat).max(5e-4)],
    })
}
