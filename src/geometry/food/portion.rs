//! Volume by outline and label: food comes in usual portions and in its own shape (geometry.md 7.6, 7.7).
//!
//! From straight above, or with a poor depth raster, the outline of a food is well seen and its height hardly. Its label then
//! says most of what can be known: apples are as high as wide, toast is not.

use crate::geometry::priors::{HEIGHT_GROWTH, PLAN_AREA_SIGMA_LN};
use crate::geometry::raster::samples::CastOutline;
use crate::geometry::types::{Portion, ShapeClass};

/// The volume grows with this power of the camera's height: area squared, height with area to [`HEIGHT_GROWTH`].
pub(crate) const SCALE_POWER: f64 = 2.0 + 2.0 * HEIGHT_GROWTH;
/// What a slanting view adds to an outline is taken off again with this relative error.
const SWEEP_SIGMA: f64 = 0.3;
/// Least distance of an outline from the camera, in camera heights.
const MIN_NEARNESS: f64 = 0.3;

/// What a label says of an item's size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct PortionPrior {
    pub(crate) shape: ShapeClass,
    pub(crate) portion: Portion,
}

/// Volume and plan area by outline and label.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct ByOutline {
    pub(crate) volume_cm3: f64,
    pub(crate) area_cm2: f64,
    /// Standard deviation of ln(volume), without the scale's and the camera's part.
    pub(crate) sigma_ln: f64,
}

/// Peak over mean height, and the height of the outline as seen from above over the peak.
fn peak_profile(shape: ShapeClass) -> (f64, f64) {
    match shape {
        ShapeClass::Ball | ShapeClass::Tapered => (1.5, 0.5),
        ShapeClass::Rod | ShapeClass::RoundedSlab => (1.36, 0.5),
        ShapeClass::Cup => (1.6, 1.0),
        ShapeClass::Dome => (1.5, 0.0),
        ShapeClass::Slab => (1.1, 0.5),
        ShapeClass::Pile => (1.85, 0.0),
        ShapeClass::Cluster => (2.0, 0.6),
        ShapeClass::Liquid => (1.0, 1.0),
        ShapeClass::Unknown => (1.5, 0.4),
    }
}

/// How many times the plan area the outline is under slanting rays, for a body of this `peak` over the plan's mean
/// `radius` (both in one unit), along parallel rays. By Cauchy's theorem the mean width of a plan is its perimeter
/// over pi, so a prism sweeps `peak * slant * perimeter / pi` beside its plan.
fn spread(shape: ShapeClass, peak: f64, radius: f64, slant: f64) -> f64 {
    let reach = slant * peak / radius.max(1e-9);
    match shape {
        ShapeClass::Ball | ShapeClass::Tapered | ShapeClass::Rod | ShapeClass::Cluster => {
            (1.0 + 0.25 * reach * reach).sqrt()
        }
        ShapeClass::Dome | ShapeClass::Pile | ShapeClass::Cup => 0.5 + 0.5 * (1.0 + reach * reach).sqrt(),
        // Edges of steaks, slices and toast are rounded: three quarters of what a prism sweeps (117 slabs of the training
        // scenes).
        ShapeClass::Slab => 1.0 + 0.75 * reach * std::f64::consts::FRAC_2_PI,
        ShapeClass::Liquid => 1.0 + reach * std::f64::consts::FRAC_2_PI,
        ShapeClass::RoundedSlab | ShapeClass::Unknown => 1.0 + 0.7 * reach * std::f64::consts::FRAC_2_PI,
    }
}

impl PortionPrior {
    /// Volume of what casts this outline, standing `base_cm` over the table under a camera at `camera_cm`. `None`
    /// where the outline is empty.
    pub(crate) fn volume(&self, outline: &CastOutline, base_cm: f64, camera_cm: f64) -> Option<ByOutline> {
        if outline.area.is_nan() || outline.area <= 0.0 || outline.perimeter <= 0.0 {
            return None;
        }
        let (peak_ratio, at) = peak_profile(self.shape);
        let cast = outline.area * camera_cm * camera_cm;
        let radius = 2.0 * outline.area / outline.perimeter * camera_cm;
        let mut area = cast;
        let mut height = self.portion.height_cm;
        let mut swept = 1.0;
        for _ in 0..12 {
            height = self.portion.height_cm * (area / self.portion.area_cm2).powf(HEIGHT_GROWTH);
            let peak = peak_ratio * height;
            // The outline is nearer than the table, so it casts a larger one there.
            let near = (1.0 - (base_cm + at * peak) / camera_cm).clamp(MIN_NEARNESS, 1.0);
            swept = spread(self.shape, peak, radius * near, outline.slant);
            area = cast * near * near / swept;
        }
        Some(ByOutline {
            volume_cm3: area * height,
            area_cm2: area,
            sigma_ln: self.portion.height_sigma_ln.hypot(SWEEP_SIGMA * swept.ln()),
        })
    }

    /// Camera height at which the outline would be of the usual area, and the sd of its logarithm.
    pub(crate) fn camera_height(
        &self,
        outline: &CastOutline,
        base: f64,
        start_cm: f64,
    ) -> Option<(f64, f64)> {
        let mut height = start_cm;
        for _ in 0..4 {
            let seen = self.volume(outline, base * height, height)?;
            height *= (self.portion.area_cm2 / seen.area_cm2).sqrt().clamp(0.5, 2.0);
        }
        Some((height, 0.5 * self.portion.area_sigma_ln.hypot(PLAN_AREA_SIGMA_LN)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const APPLE: Portion = Portion {
        area_cm2: 50.0,
        area_sigma_ln: 0.2,
        height_cm: 5.3,
        height_sigma_ln: 0.15,
    };

    fn apple() -> PortionPrior {
        PortionPrior {
            shape: ShapeClass::Ball,
            portion: APPLE,
        }
    }

    /// Outline of a ball of radius 4 cm on a table 40 cm below the camera, straight down: the cone that touches it.
    fn ball_from_above() -> CastOutline {
        let (radius, distance): (f64, f64) = (4.0, 36.0);
        let half = (radius / distance).asin().tan();
        CastOutline {
            area: std::f64::consts::PI * half * half,
            perimeter: std::f64::consts::TAU * half,
            slant: 0.0,
        }
    }

    #[test]
    fn a_ball_from_above_has_its_volume() {
        let seen = apple().volume(&ball_from_above(), 0.0, 40.0).unwrap();
        let truth = 4.0 / 3.0 * std::f64::consts::PI * 64.0;
        assert!((seen.volume_cm3 / truth - 1.0).abs() < 0.04, "{seen:?} {truth}");
        // Taken at face value the outline is a quarter too large.
        assert!(ball_from_above().area * 1600.0 > 1.2 * seen.area_cm2);
    }

    #[test]
    fn the_usual_area_gives_the_camera_height_back() {
        let (h, sigma) = apple().camera_height(&ball_from_above(), 0.0, 30.0).unwrap();
        assert!((h / 40.0 - 1.0).abs() < 0.03, "{h}");
        assert!(sigma > 0.1);
    }

    #[test]
    fn a_slanting_view_adds_no_volume() {
        // A prism of 3 cm over a disc of radius 5 cm under parallel rays at 45 degrees.
        let plan = std::f64::consts::PI * 25.0;
        let far = 4000.0_f64;
        let outline = CastOutline {
            area: (plan + 10.0 * 3.0) / far / far,
            perimeter: (std::f64::consts::TAU * 5.0 + 6.0) / far,
            slant: 1.0,
        };
        let prism = PortionPrior {
            shape: ShapeClass::Liquid,
            portion: Portion {
                area_cm2: plan,
                height_cm: 3.0,
                ..APPLE
            },
        };
        let seen = prism.volume(&outline, 0.0, far).unwrap();
        assert!((seen.area_cm2 / plan - 1.0).abs() < 0.06, "{seen:?}");
        assert!(prism.volume(&CastOutline::default(), 0.0, far).is_none());
    }
}
