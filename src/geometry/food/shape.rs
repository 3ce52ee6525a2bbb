//! From the two integrals to the solid: what a class of shape hides behind and under its visible surface (geometry.md 7.3, 7.4).

use std::f64::consts::PI;

use super::integral::Integrals;
use super::volume::CubicHeights;
use crate::geometry::types::ShapeClass;

/// Columns, frustum and true volume of the unit solid seen at `theta` from straight down.
fn unit(solid: Solid, theta: f64) -> [f64; 3] {
    let (s, c) = theta.sin_cos();
    match solid {
        Solid::Ball => [PI * c + 2.0 * PI / 3.0, PI / c + 2.0 * PI / 3.0, 4.0 * PI / 3.0],
        Solid::Cylinder => [2.0 * c + PI / 2.0, 2.0 / c + PI / 2.0, PI],
        Solid::Cup => [
            PI - PI / 2.0 * (1.0 - c) + 2.0 / 3.0 * (theta - s * c),
            PI + (PI / 2.0 * (1.0 - c) - 2.0 / 3.0 * (s - theta * c)) / c,
            2.0 * PI / 3.0,
        ],
        Solid::Dome => [
            2.0 * PI / 3.0 - 2.0 / 3.0 * (theta - s * c),
            2.0 * PI / 3.0 + 2.0 / 3.0 * (s / c - theta),
            2.0 * PI / 3.0,
        ],
    }
}

/// Solids whose two integrals have closed forms under parallel rays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Solid {
    Ball,
    Cylinder,
    Cup,
    Dome,
}

/// How a class gets from the integrals to the volume.
#[derive(Debug, Clone, Copy)]
enum Rule {
    /// By a solid, times the share of it that is really there.
    Solid { solid: Solid, present: f64 },
    /// Columns plus this share of the occluded wedge behind them, times a share for the rounded underside.
    Filled { filled: f64, under: f64 },
}

/// Largest equivalent tilt, radians; beyond it the far side is a guess anyway.
const THETA_MAX: f64 = 1.35;
/// Sd of ln(volume) by the occluded part: of solids per ln(frustum / columns), of others per share of the wedge.
const SOLID_OCCLUSION_SIGMA: f64 = 0.03;
const WEDGE_OCCLUSION_SIGMA: f64 = 0.065;
/// Steep sides hide an empty wedge: under this filled share it adds at most so much of the columns.
const STEEP_FILLED: f64 = 0.2;
const STEEP_EXTRA: f64 = 0.03;

/// A ball seen from above has half of its outline over 88 % of its height, a half ball nearly all; and the half ball
/// is no higher than three quarters of its width.
fn cut_in_half(integrals: &Integrals) -> bool {
    let aspect = integrals.max_height / (4.0 * integrals.spread[1]).max(1e-9);
    integrals.flat_top > 0.8 || (integrals.flat_top > 0.62 && aspect < 0.75)
}

/// The rule of a class, and the sd of ln(volume) that its members leave. Set on the ray-marched solids of the tests and on the
/// scenes' foods.
fn rule(shape: ShapeClass, integrals: &Integrals) -> (Rule, f64) {
    let solid = |solid, sigma| (Rule::Solid { solid, present: 1.0 }, sigma);
    let filled = |filled, under, sigma| (Rule::Filled { filled, under }, sigma);
    match shape {
        ShapeClass::Ball if cut_in_half(integrals) => solid(Solid::Cup, 0.08),
        ShapeClass::Ball => solid(Solid::Ball, 0.045),
        ShapeClass::Tapered => solid(Solid::Ball, 0.07),
        ShapeClass::Rod => solid(Solid::Cylinder, 0.035),
        ShapeClass::Cup => solid(Solid::Cup, 0.06),
        ShapeClass::Dome => solid(Solid::Dome, 0.045),
        // The stalk leaves about an eighth of the ball's underside empty.
        ShapeClass::Cluster => {
            let rule = Rule::Solid {
                solid: Solid::Ball,
                present: 0.87,
            };
            (rule, 0.12)
        }
        ShapeClass::Slab => filled(0.1, 1.0, 0.022),
        ShapeClass::RoundedSlab => filled(0.1, 0.92, 0.05),
        ShapeClass::Pile => filled(0.75, 1.0, 0.043),
        ShapeClass::Liquid => filled(0.5, 1.0, 0.1),
        // Between a slab and a ball.
        ShapeClass::Unknown => filled(0.3, 0.92, 0.14),
    }
}

/// Best volume and the standard deviation of its logarithm that the shape alone leaves.
pub(crate) fn corrected(shape: ShapeClass, integrals: &Integrals) -> (CubicHeights, f64) {
    let columns = integrals.columns.0.max(1e-12);
    let frustum = integrals.frustum.0.max(1e-12);
    let (rule, own) = rule(shape, integrals);
    let (volume, occlusion) = match rule {
        Rule::Solid { solid, present } => {
            let ratio = (frustum / columns).max(1.0);
            let [c, _, v] = unit(solid, equivalent_tilt(solid, ratio));
            (present * columns * v / c, SOLID_OCCLUSION_SIGMA * ratio.ln())
        }
        Rule::Filled { filled, under } => {
            let wedge = (frustum - columns).max(0.0);
            let most = if filled < STEEP_FILLED {
                STEEP_EXTRA * columns
            } else {
                f64::INFINITY
            };
            let volume = columns + (filled * wedge).min(most);
            (under * volume, WEDGE_OCCLUSION_SIGMA * wedge / volume)
        }
    };
    (CubicHeights(volume), own.hypot(occlusion))
}

/// The tilt at which the unit solid's integrals have this ratio, frustum over columns, by bisection.
fn equivalent_tilt(solid: Solid, ratio: f64) -> f64 {
    let (mut low, mut high) = (0.0, THETA_MAX);
    for _ in 0..40 {
        let mid = 0.5 * (low + high);
        let [c, f, _] = unit(solid, mid);
        if f / c < ratio {
            low = mid;
        } else {
            high = mid;
        }
    }
    low
}
