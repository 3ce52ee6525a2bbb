//! What the usual section of ware says of the slope of a network's disparity (geometry.md 3.4).

use super::profile::{RINGS, Section};
use super::rim;
use super::samples::DishSamples;
use crate::geometry::math::vector::dot;
use crate::geometry::priors::{WARE_SIGMA_LN, rim_height};
use crate::geometry::raster::table_fit::{SlopePrior, TableFit};
use crate::geometry::view::camera::View;

/// Fewest clean pixels of a dish that say something.
const MIN_PIXELS: usize = 40;
/// The lip's edge is as wide as a mask is wrong: rings beyond are left out.
const OUTERMOST_RING: f64 = 0.98 * RINGS as f64;
/// Least slope as a share of the table's own disparity: a network that draws the ware level says no more than that.
const LEAST_SLOPE: f64 = 0.02;

/// Least squares of the rise over the table against the usual section, over the dish's pixels that no food's halo touches. `None`
/// for boards, and where the rim or too little of the inside is seen.
pub(crate) fn slope_by_ware(dish: &DishSamples, view: &View, fit: &TableFit) -> Option<SlopePrior> {
    let usual = rim_height(dish.kind)?;
    let circle = rim::fit(dish, view, fit.alignment).0?;
    let rim = 2.0 * usual.value * circle.radius;
    let typical = Section {
        kind: dish.kind,
        rim,
        radius: circle.radius,
        relief_sigma: dish.relief_sigma,
        measured: dish.measured,
    }
    .typical();
    let height_on = |[u, v]: [f64; 2], level: f64| {
        let ground = view.on_level(u, v, level);
        let ring = (circle.offset(&ground) / circle.radius + 1.0) * RINGS as f64;
        (0.0..OUTERMOST_RING)
            .contains(&ring)
            .then(|| typical[ring as usize])
    };
    let table = fit.alignment.plane(view.down);
    let (mut xy, mut xx, mut squares, mut n) = (0.0, 0.0, 0.0, 0.0);
    for pixel in dish.inside.iter().filter(|p| p.clearance_px >= dish.halo_px) {
        // Where the ray meets the section: once from the rim's level is near enough.
        let Some(height) = height_on(pixel.at, rim).and_then(|h| height_on(pixel.at, h)) else {
            continue;
        };
        let ray = view.camera.ray(pixel.at[0], pixel.at[1]);
        let x = view.q(pixel.at[0], pixel.at[1]) * height / (1.0 - height);
        xy += x * (pixel.d - dot(table, ray));
        xx += x * x;
        squares += height * height;
        n += 1.0;
    }
    if n < MIN_PIXELS as f64 || xx <= 0.0 {
        return None;
    }
    let unit = (fit.level[0] / fit.level[1]).abs();
    let slope = (xy / xx).max(LEAST_SLOPE * unit);
    let height = (squares / n).sqrt();
    let sigma = (WARE_SIGMA_LN * slope).hypot(dish.relief_sigma / height * unit);
    sigma.is_finite().then_some(SlopePrior { slope, sigma })
}
