//! From the two integrals to the solid: what a class of shape hides behind and under its visible surface.
//!
//! A view along parallel rays and a vertical stretch are both affine, so for one kind of solid both integrals depend
//! on a single number, the tilt of the equivalent unit solid. Their ratio, which is measured, gives that number; no
//! constant is fitted.

use super::integral::Integrals;

/// The kind of solid that a food's label implies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeClass {
    /// Ball or ellipsoid resting on its underside: whole fruit, egg, meatball. Taken for [`Self::Cup`] when its top
    /// is seen to be flat, because fruit and potatoes are often served cut in half.
    Ball,
    /// Round in section but tapering or bent off the plate: banana, croissant, drumstick.
    Tapered,
    /// Straight lying cylinder: sausage, corn cob.
    Rod,
    /// Ball cut in half, flat side up: half egg, half avocado.
    Cup,
    /// Ball cut in half or cap, flat side down: bread roll, dumpling.
    Dome,
    /// Steep sides and a flat base: cake, steak, cut slices, tofu.
    Slab,
    /// Slab with round sides: nugget, doughnut, pancakes, thick slices of round things.
    RoundedSlab,
    /// Heap of grains, strands, leaves or mash: gaps and ridges hide each other, but are filled behind.
    Pile,
    /// Head on a narrower stalk: broccoli, cauliflower.
    Cluster,
    /// Level surface; in a bowl the bowl gives the shape.
    Liquid,
    /// Nothing known.
    #[default]
    Unknown,
}

use std::f64::consts::PI;

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
enum Rule {
    /// By a solid, times the share of it that is really there.
    Solid(Solid, f64),
    /// Columns plus this share of the shadow behind them, times a share for the rounded underside.
    Shadow { filled: f64, under: f64 },
}

/// Largest equivalent tilt; beyond it the far side is a guess anyway.
const THETA_MAX: f64 = 1.35;

/// A ball seen from above has half of its outline over 88 % of its height, a half ball nearly all; and the half ball
/// is no higher than three quarters of its width.
fn cut_in_half(integrals: &Integrals) -> bool {
    let aspect = integrals.max_height / (4.0 * integrals.spread[1]).max(1e-9);
    integrals.flat_top > 0.8 || (integrals.flat_top > 0.62 && aspect < 0.75)
}

/// Best volume and the standard deviation of its logarithm that the shape alone leaves.
pub fn corrected(shape: ShapeClass, integrals: &Integrals) -> (f64, f64) {
    let (columns, frustum) = (integrals.columns.max(1e-12), integrals.frustum.max(1e-12));
    let shadow = (frustum - columns).max(0.0);
    let cut = cut_in_half(integrals);
    let (rule, own): (Rule, f64) = match shape {
        ShapeClass::Ball if cut => (Rule::Solid(Solid::Cup, 1.0), 0.08),
        ShapeClass::Ball => (Rule::Solid(Solid::Ball, 1.0), 0.045),
        ShapeClass::Tapered => (Rule::Solid(Solid::Ball, 1.0), 0.07),
        ShapeClass::Rod => (Rule::Solid(Solid::Cylinder, 1.0), 0.035),
        ShapeClass::Cup => (Rule::Solid(Solid::Cup, 1.0), 0.06),
        ShapeClass::Dome => (Rule::Solid(Solid::Dome, 1.0), 0.045),
        // The stalk leaves about an eighth of the ball's underside empty.
        ShapeClass::Cluster => (Rule::Solid(Solid::Ball, 0.87), 0.12),
        ShapeClass::Slab => (
            Rule::Shadow {
                filled: 0.1,
                under: 1.0,
            },
            0.022,
        ),
        ShapeClass::RoundedSlab => (
            Rule::Shadow {
                filled: 0.1,
                under: 0.92,
            },
            0.05,
        ),
        ShapeClass::Pile => (
            Rule::Shadow {
                filled: 0.75,
                under: 1.0,
            },
            0.043,
        ),
        ShapeClass::Liquid => (
            Rule::Shadow {
                filled: 0.5,
                under: 1.0,
            },
            0.1,
        ),
        // Between a slab and a ball.
        ShapeClass::Unknown => (
            Rule::Shadow {
                filled: 0.3,
                under: 0.92,
            },
            0.14,
        ),
    };
    let ratio = (frustum / columns).max(1.0);
    let (volume, occlusion) = match rule {
        Rule::Solid(solid, share) => {
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
            let [c, _, v] = unit(solid, low);
            (share * columns * v / c, 0.03 * ratio.ln())
        }
        Rule::Shadow { filled, under } => {
            // Rounded edges hold little; a tall slab's shadow is empty.
            let most = if filled < 0.2 {
                0.03 * columns
            } else {
                f64::INFINITY
            };
            let volume = columns + (filled * shadow).min(most);
            (under * volume, 0.065 * shadow / volume)
        }
    };
    (volume, own.hypot(occlusion))
}
