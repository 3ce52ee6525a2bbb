//! Correcting gravity by what is seen: circles must be round, the table must be level (geometry.md 4.1, 4.2).

use super::camera::{CameraModel, View};
use super::gravity::Gravity;
use crate::geometry::math::circle::fit_circle;
use crate::geometry::math::linear::solve;
use crate::geometry::math::vector::{V3, dot, normalised};

/// Edge points of one circle seen in the photo, at a known height over the table.
#[derive(Debug, Clone)]
pub(crate) struct Ring {
    pub(crate) pixels: Vec<[f64; 2]>,
    pub(crate) height: f64,
    /// Sd of the rectified ellipticity of a perfect estimate.
    pub(crate) sigma: f64,
}

/// The direction of gravity by the depth raster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct DepthTilt {
    pub(crate) down: [f64; 3],
    /// Radians along the tilt and across it; infinite where it says nothing.
    pub(crate) sigma: [f64; 2],
}

pub(crate) struct Refined {
    pub(crate) gravity: Gravity,
    pub(crate) by_circle: bool,
    pub(crate) by_depth: bool,
}

/// Least visible part of a circle that says something of the tilt.
const MIN_COVERAGE: f64 = 0.5;
/// Rotation for numerical derivatives, and the longest step, radians.
const DIFFERENCE: f64 = 0.01;
const MAX_STEP: f64 = 0.15;
/// Least sd of a lean by a metric plane and by the direction of a relative one, radians.
const METRIC_SIGMA_MIN: f64 = 2e-4;
const RELATIVE_SIGMA_MIN: f64 = 5e-4;
/// Least sine of the tilt at which the growth of relative disparity has a direction.
const MIN_SIN_TILT: f64 = 0.2;

fn ellipticity(camera: CameraModel, gravity: &Gravity, ring: &Ring) -> Option<[f64; 2]> {
    let view = View::new(camera, gravity);
    let points: Vec<[f64; 2]> = ring
        .pixels
        .iter()
        .map(|p| view.on_level(p[0], p[1], ring.height))
        .collect();
    fit_circle(&points)?.ellipticity(&points, MIN_COVERAGE)
}

/// The prior gravity and two small rotations of it.
struct Leans<'a> {
    camera: CameraModel,
    prior: &'a Gravity,
    along: V3,
    across: V3,
    sigma: [f64; 2],
    lean: [f64; 2],
}

/// Normal equations of the two leans, with their right side.
type Normal = [[f64; 3]; 2];

impl Leans<'_> {
    fn add_prior(&self, m: &mut Normal) {
        for (k, row) in m.iter_mut().enumerate() {
            let w = self.sigma[k].powi(-2);
            row[k] += w;
            row[2] -= w * self.lean[k];
        }
    }

    /// Whether the depth counts more than the prior.
    fn add_depth(&self, depth: &DepthTilt, m: &mut Normal) -> bool {
        let fall = dot(depth.down, self.prior.down);
        let at = [
            dot(depth.down, self.along) / fall,
            dot(depth.down, self.across) / fall,
        ];
        let mut decides = false;
        for k in 0..2 {
            if depth.sigma[k].is_finite() {
                let w = depth.sigma[k].powi(-2);
                m[k][k] += w;
                m[k][2] += w * (at[k] - self.lean[k]);
                decides |= w > self.sigma[k].powi(-2);
            }
        }
        decides
    }

    /// `None` where too little of the circle shows.
    fn add_ring(&self, ring: &Ring, m: &mut Normal) -> Option<()> {
        let e = ellipticity(self.camera, &self.prior.leaned(self.lean), ring)?;
        let mut jacobian = [[0.0; 2]; 2];
        for k in 0..2 {
            let mut moved = self.lean;
            moved[k] += DIFFERENCE;
            let d = ellipticity(self.camera, &self.prior.leaned(moved), ring)?;
            jacobian[k] = [(d[0] - e[0]) / DIFFERENCE, (d[1] - e[1]) / DIFFERENCE];
        }
        let w = ring.sigma.powi(-2);
        for i in 0..2 {
            for j in 0..2 {
                m[i][j] += w * (jacobian[i][0] * jacobian[j][0] + jacobian[i][1] * jacobian[j][1]);
            }
            m[i][2] -= w * (jacobian[i][0] * e[0] + jacobian[i][1] * e[1]);
        }
        Some(())
    }

    /// The leaned gravity, its sigmas by the normal equations and never larger than the prior's.
    fn gravity(&self, normal: &Normal) -> Gravity {
        let prior = self.prior;
        let mut gravity = prior.leaned(self.lean);
        let det = normal[0][0] * normal[1][1] - normal[0][1] * normal[1][0];
        if det > 0.0 {
            gravity.tilt_sigma_deg = (normal[1][1] / det).sqrt().to_degrees().min(prior.tilt_sigma_deg);
            let flat = gravity.down[0].hypot(gravity.down[1]).max(0.05);
            gravity.roll_sigma_deg =
                ((normal[0][0] / det).sqrt().to_degrees() / flat).min(prior.roll_sigma_deg);
        }
        gravity
    }
}

/// Maximum a posteriori tilt and sideways lean by Gauss and Newton, from the prior, the circles and the depth.
pub(crate) fn refine(
    camera: CameraModel,
    prior: &Gravity,
    rings: &[Ring],
    depth: Option<DepthTilt>,
) -> Refined {
    let (along, across) = prior.lean_axes();
    let mut leans = Leans {
        camera,
        prior,
        along,
        across,
        sigma: prior.lean_sigma(),
        lean: [0.0; 2],
    };
    let mut normal = Normal::default();
    let (mut by_circle, mut by_depth) = (false, false);
    for _ in 0..6 {
        let mut m = Normal::default();
        leans.add_prior(&mut m);
        if let Some(depth) = &depth {
            by_depth |= leans.add_depth(depth, &mut m);
        }
        for ring in rings {
            by_circle |= leans.add_ring(ring, &mut m).is_some();
        }
        normal = m;
        let Some(step) = solve(m) else {
            break;
        };
        // A step longer than the linearisation holds is shortened.
        let length = step[0].hypot(step[1]);
        let factor = (MAX_STEP / length).min(1.0);
        leans.lean[0] += factor * step[0];
        leans.lean[1] += factor * step[1];
        if length < 1e-6 {
            break;
        }
    }
    Refined {
        gravity: leans.gravity(&normal),
        by_circle,
        by_depth,
    }
}

/// How many sigmas a circle is from round under this gravity. `None` where too little of it shows.
pub(crate) fn sigmas_off_round(camera: CameraModel, gravity: &Gravity, ring: &Ring) -> Option<f64> {
    ellipticity(camera, gravity, ring).map(|e| e[0].hypot(e[1]) / ring.sigma)
}

/// Direction of gravity from a plane `d = n . ray` whose shift is zero (metric depth).
pub(crate) fn from_metric_plane(n: [f64; 3], covariance: [[f64; 3]; 3], prior: &Gravity) -> DepthTilt {
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
    DepthTilt {
        down: normalised(n),
        sigma: [sd(along).max(METRIC_SIGMA_MIN), sd(across).max(METRIC_SIGMA_MIN)],
    }
}

/// Sideways lean from the direction in which relative disparity grows; the tilt itself hides in the shift.
pub(crate) fn from_relative_plane(
    n: [f64; 3],
    covariance: [[f64; 3]; 3],
    prior: &Gravity,
) -> Option<DepthTilt> {
    let g = prior.down;
    let flat = g[0].hypot(g[1]);
    let grow = n[0].hypot(n[1]);
    if flat < MIN_SIN_TILT || grow <= 0.0 {
        return None;
    }
    // Turn the prior about the optical axis until its horizontal part points along the growth.
    let down = [n[0] / grow * flat, n[1] / grow * flat, g[2]];
    let side = [-n[1] / grow, n[0] / grow];
    let var = side[0] * side[0] * covariance[0][0]
        + 2.0 * side[0] * side[1] * covariance[0][1]
        + side[1] * side[1] * covariance[1][1];
    let angle = var.max(0.0).sqrt() / grow;
    Some(DepthTilt {
        down,
        sigma: [f64::INFINITY, (angle * flat).max(RELATIVE_SIGMA_MIN)],
    })
}
