//! What the usual height of a rim says of the slope of relative disparity (geometry.md 3.4).

use super::rim::{ahead, near_rim_share, points};
use super::samples::DishSamples;
use crate::geometry::math::circle::fit_circle;
use crate::geometry::math::stats::median;
use crate::geometry::priors::rim_height;
use crate::geometry::raster::table_fit::{SlopePrior, TableFit};
use crate::geometry::view::camera::View;

/// Fewest points of the rim's far half.
const MIN_FAR_POINTS: usize = 8;

/// `None` where the rim does not stand out of the table: flat ware has no usual height.
pub(crate) fn slope_by_rim(dish: &DishSamples, view: &View, fit: &TableFit) -> Option<SlopePrior> {
    let usual = rim_height(dish.kind)?;
    let circle =
        fit_circle(&points(dish, view, 0.0)).filter(|c| c.coverage > 0.4 && c.residual_rel < 0.04)?;
    // Measured on the table the radius is too large, by what the rim is nearer.
    let on_table = 2.0 * usual.value * circle.radius;
    let height = on_table / (1.0 + on_table);
    let ahead = ahead(view);
    let along = |p: &[f64; 3]| {
        let g = view.on_level(p[0], p[1], 0.0);
        (g[0] - circle.centre[0]) * ahead[0] + (g[1] - circle.centre[1]) * ahead[1]
    };
    let reach = 1.2 * circle.radius * ahead[0].hypot(ahead[1]) * near_rim_share(view);
    let far: Vec<[f64; 2]> = dish
        .edge
        .iter()
        .zip(&dish.on_rim)
        .filter(|(p, on_rim)| **on_rim && along(p) >= -1e-9 - reach)
        .map(|(p, _)| [p[2], view.q(p[0], p[1])])
        .collect();
    if far.len() < MIN_FAR_POINTS {
        return None;
    }
    let level = fit.level;
    let unit = (fit.alignment.a * level[1]).abs();
    let mut rise: Vec<f64> = far
        .iter()
        .map(|[d, q]| d - fit.alignment.a * q - fit.alignment.b)
        .collect();
    if median(&mut rise)? < (4.0 * fit.residual_rel).max(0.005) * unit {
        return None;
    }
    let slope = |eta: f64| {
        let mut slopes: Vec<f64> = far
            .iter()
            .map(|[d, q]| (1.0 - eta) * (d - level[0]) / (q - (1.0 - eta) * level[1]))
            .filter(|a| a.is_finite() && *a > 0.0)
            .collect();
        median(&mut slopes)
    };
    let sigma = usual.sigma.hypot(fit.residual_rel / height);
    let (middle, low, high) = (
        slope(height)?,
        slope(height * (1.0 - sigma.min(0.6)))?,
        slope(height * (1.0 + sigma))?,
    );
    let sd = 0.5 * (low - high).abs();
    (sd.is_finite() && sd > 1e-3 * middle).then_some(SlopePrior {
        slope: middle,
        sigma: sd,
    })
}
