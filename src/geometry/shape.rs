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
    /// Ball or ellipsoid resting on its underside: whole fruit, egg, meatball, cherry tomato.
    Ball,
    /// Lying cylinder with round ends: banana, sausage, corn cob, croissant.
    Rod,
    /// Ball cut in half, flat side up: half egg, half avocado, half kiwi.
    Cup,
    /// Ball cut in half or cap, flat side down: bun, mound.
    Dome,
    /// Steep sides and a flat base: cake, steak, slices, tofu.
    Slab,
    /// A heap with slopes that the camera sees: rice, peas, mash.
    Pile,
    /// Ball on a narrower stalk: broccoli, cauliflower.
    Cluster,
    /// Tapering bone side: chicken drumstick.
    Drumstick,
    /// Liquid or a heap that fills its dish.
    Liquid,
    /// Nothing known.
    #[default]
    Unknown,
}

use std::f64::consts::PI;

/// Columns, frustum and true volume of the unit solid seen at `theta` from straight down.
fn unit(shape: ShapeClass, theta: f64) -> [f64; 3] {
    let (s, c) = theta.sin_cos();
    match shape {
        ShapeClass::Ball => [PI * c + 2.0 * PI / 3.0, PI / c + 2.0 * PI / 3.0, 4.0 * PI / 3.0],
        ShapeClass::Rod | ShapeClass::Drumstick => [2.0 * c + PI / 2.0, 2.0 / c + PI / 2.0, PI],
        ShapeClass::Cup => [
            PI - PI / 2.0 * (1.0 - c) + 2.0 / 3.0 * (theta - s * c),
            PI + (PI / 2.0 * (1.0 - c) - 2.0 / 3.0 * (s - theta * c)) / c,
            2.0 * PI / 3.0,
        ],
        ShapeClass::Dome => [
            2.0 * PI / 3.0 - 2.0 / 3.0 * (theta - s * c),
            2.0 * PI / 3.0 + 2.0 / 3.0 * (s / c - theta),
            2.0 * PI / 3.0,
        ],
        _ => [1.0, 1.0 + s / c, 1.0],
    }
}

/// Largest equivalent tilt; beyond it the far side is a guess anyway.
const THETA_MAX: f64 = 1.35;

/// Best volume and the standard deviation of its logarithm that the shape alone leaves.
pub fn corrected(shape: ShapeClass, integrals: &Integrals) -> (f64, f64) {
    let (columns, frustum) = (integrals.columns.max(1e-12), integrals.frustum.max(1e-12));
    let ratio = (frustum / columns).max(1.0);
    let (mut low, mut high) = (0.0, THETA_MAX);
    for _ in 0..40 {
        let mid = 0.5 * (low + high);
        let [c, f, _] = unit(shape, mid);
        if f / c < ratio {
            low = mid;
        } else {
            high = mid;
        }
    }
    let [c, _, v] = unit(shape, low);
    let volume = columns * v / c;
    let occlusion = 0.25 * ratio.ln();
    let own: f64 = match shape {
        ShapeClass::Slab | ShapeClass::Pile => 0.04,
        ShapeClass::Ball | ShapeClass::Rod => 0.05,
        ShapeClass::Cup | ShapeClass::Dome => 0.07,
        ShapeClass::Cluster | ShapeClass::Drumstick => 0.12,
        ShapeClass::Liquid => 0.2,
        ShapeClass::Unknown => 0.15,
    };
    (volume, own.hypot(occlusion))
}
