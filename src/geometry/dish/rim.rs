//! The rim of a plate or bowl: which edge points lie on it, its height and its circle (geometry.md 5.1).

use super::samples::DishSamples;
use crate::contract::DishKind;
use crate::geometry::math::circle::{Circle, fit_circle, fit_circle_robust};
use crate::geometry::math::stats::{inverse_variance_mean, median};
use crate::geometry::priors::{BOWL_WIDTH_HIDDEN, rim_height};
use crate::geometry::raster::surface::Alignment;
use crate::geometry::view::camera::View;

/// Fewest edge points that make a rim.
const MIN_POINTS: usize = 16;
/// Rim height where the raster gives none, and largest one, in camera heights.
const DEFAULT_HEIGHT: f64 = 0.05;
const MAX_HEIGHT: f64 = 0.6;
/// Share of the circumference under which an arc says nothing of its circle, and over which it says everything.
const SHORTEST_ARC: f64 = 0.2;
const LONG_ARC: f64 = 0.5;
/// Largest residual of a rim's circle, relative to the radius.
const MAX_RESIDUAL: f64 = 0.04;
/// Between these tilts, degrees, the near half of a rim stops to show its top and begins to show its outside.
const NEAR_RIM_DEG: [f64; 2] = [6.0, 14.0];

/// How much of the near half of a rim shows its top: all of it from straight above.
pub(super) fn near_rim_share(view: &View) -> f64 {
    let tilt_deg = view.down[2].clamp(-1.0, 1.0).acos().to_degrees();
    let [all, none] = NEAR_RIM_DEG;
    ((none - tilt_deg) / (none - all)).clamp(0.0, 1.0)
}

/// Ground direction away from the camera; its length is the sine of the tilt.
pub(super) fn ahead(view: &View) -> [f64; 2] {
    [view.e1[2], view.e2[2]]
}

/// Marks which edge points lie on the rim, by a robust fit under this view.
pub(crate) fn find(dish: &mut DishSamples, view: &View, alignment: Alignment, seed: u64) {
    if dish.kind == DishKind::Board || dish.edge.len() < MIN_POINTS {
        dish.on_rim.fill(false);
        return;
    }
    let ahead = ahead(view);
    let lean = ahead[0].hypot(ahead[1]);
    let height = height(dish, view, alignment, |_| true);
    let points: Vec<[f64; 2]> = dish
        .edge
        .iter()
        .map(|p| view.on_level(p[0], p[1], height))
        .collect();
    let n = points.len() as f64;
    let middle = points
        .iter()
        .fold([0.0; 2], |m, p| [m[0] + p[0] / n, m[1] + p[1] / n]);
    let size = points
        .iter()
        .map(|p| (p[0] - middle[0]).hypot(p[1] - middle[1]))
        .sum::<f64>()
        / n;
    // A bowl shows its outer wall below the near rim when it is looked at from the side.
    let near_limit = if dish.kind == DishKind::Bowl && lean > 0.25 {
        -0.2 * size
    } else {
        f64::NEG_INFINITY
    };
    let far = |p: &[f64; 2]| {
        lean < 1e-9 || ((p[0] - middle[0]) * ahead[0] + (p[1] - middle[1]) * ahead[1]) / lean > near_limit
    };
    let used: Vec<bool> = points.iter().map(far).collect();
    let chosen: Vec<[f64; 2]> = points
        .iter()
        .zip(&used)
        .filter(|(_, u)| **u)
        .map(|(p, _)| *p)
        .collect();
    let Some(circle) = fit_circle_robust(&chosen, seed) else {
        dish.on_rim.fill(false);
        return;
    };
    let limit =
        (4.0 * circle.residual_rel * circle.radius).clamp(0.006 * circle.radius, 0.03 * circle.radius);
    for ((on_rim, p), u) in dish.on_rim.iter_mut().zip(&points).zip(&used) {
        *on_rim = *u && circle.offset(p).abs() <= limit;
    }
}

/// Height of the rim: median over what faces the camera, from aside the far half. Seen from straight above, a wrong tilt
/// raises one half as much as it lowers the other.
fn height(dish: &DishSamples, view: &View, alignment: Alignment, keep: impl Fn(usize) -> bool) -> f64 {
    let ahead = ahead(view);
    let mut along: Vec<(f64, f64)> = dish
        .edge
        .iter()
        .enumerate()
        .filter(|(i, _)| keep(*i))
        .map(|(_, p)| {
            let g = view.on_level(p[0], p[1], DEFAULT_HEIGHT);
            let height = view.height(p[0], p[1], alignment.zeta(p[2], view.camera.ray(p[0], p[1])));
            (g[0] * ahead[0] + g[1] * ahead[1], height)
        })
        .filter(|(_, h)| *h > -0.2 && *h < 0.7)
        .collect();
    let share = 0.5 + 0.5 * near_rim_share(view);
    let used = ((along.len() as f64 * share) as usize).max(1).min(along.len());
    if used < along.len() {
        along.select_nth_unstable_by(used, |a, b| b.0.total_cmp(&a.0));
    }
    let mut heights: Vec<f64> = along[..used].iter().map(|x| x.1).collect();
    median(&mut heights)
        .unwrap_or(DEFAULT_HEIGHT)
        .clamp(0.0, MAX_HEIGHT)
}

/// The rim's points on the level of this height.
pub(super) fn points(dish: &DishSamples, view: &View, height: f64) -> Vec<[f64; 2]> {
    dish.edge
        .iter()
        .zip(&dish.on_rim)
        .filter(|(_, k)| **k)
        .map(|(p, _)| view.on_level(p[0], p[1], height))
        .collect()
}

/// The rim's circle and height under this view.
pub(crate) fn fit(dish: &DishSamples, view: &View, alignment: Alignment) -> (Option<Circle>, f64) {
    if dish.on_rim.iter().filter(|k| **k).count() < MIN_POINTS {
        return by_width(dish, view, alignment);
    }
    let mut height = height(dish, view, alignment, |i| dish.on_rim[i]);
    let at = |height: f64| {
        let points = points(dish, view, height);
        let arc = fit_circle(&points).filter(|c| c.coverage >= SHORTEST_ARC && c.radius < 3.0)?;
        // The shorter the arc, the more a departure from it turns the radius.
        let sound = arc.residual_rel < (0.1 * arc.coverage * arc.coverage).min(MAX_RESIDUAL);
        sound.then(|| widened(dish, arc, &points, view, height))
    };
    let mut circle = at(height);
    if let (Some(c), Some(usual)) = (circle, rim_height(dish.kind))
        && dish.relief_sigma > 0.0
    {
        let usual_height = 2.0 * usual.value * c.radius;
        height = inverse_variance_mean(
            (height, dish.relief_sigma),
            (usual_height, usual.sigma * usual_height),
        );
        circle = at(height);
    }
    if circle.is_none() {
        return by_width(dish, view, alignment);
    }
    (circle, height)
}

/// The radius of a short arc leans on the tilt; how wide a bowl looks does not, though food may hide a part of it.
fn widened(dish: &DishSamples, arc: Circle, points: &[[f64; 2]], view: &View, height: f64) -> Circle {
    let trust = ((arc.coverage - SHORTEST_ARC) / (LONG_ARC - SHORTEST_ARC)).clamp(0.0, 1.0);
    if dish.kind != DishKind::Bowl || trust >= 1.0 {
        return arc;
    }
    let wide = BOWL_WIDTH_HIDDEN * half_width(dish, view, height).0;
    arc.with_radius(trust * arc.radius + (1.0 - trust) * wide, points)
}

/// Half of how wide the whole edge is across the view at this height, and the middle of that.
fn half_width(dish: &DishSamples, view: &View, height: f64) -> (f64, [f64; 2]) {
    let ahead = ahead(view);
    let lean = ahead[0].hypot(ahead[1]);
    let side = if lean < 1e-6 {
        [1.0, 0.0]
    } else {
        [ahead[1] / lean, -ahead[0] / lean]
    };
    let mut across: Vec<(f64, [f64; 2])> = dish
        .edge
        .iter()
        .map(|p| view.on_level(p[0], p[1], height))
        .map(|g| (g[0] * side[0] + g[1] * side[1], g))
        .collect();
    across.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let n = (across.len() / 40).max(2).min(across.len());
    let mean = |part: &[(f64, [f64; 2])]| {
        let k = part.len().max(1) as f64;
        part.iter()
            .fold([0.0; 2], |m, p| [m[0] + p.1[0] / k, m[1] + p.1[1] / k])
    };
    let (left, right) = (mean(&across[..n]), mean(&across[across.len() - n..]));
    (
        0.5 * (right[0] - left[0]).hypot(right[1] - left[1]),
        [0.5 * (left[0] + right[0]), 0.5 * (left[1] + right[1])],
    )
}

/// A bowl whose rim food hides is still as wide as it looks from the side.
fn by_width(dish: &DishSamples, view: &View, alignment: Alignment) -> (Option<Circle>, f64) {
    if dish.kind != DishKind::Bowl || dish.edge.len() < MIN_POINTS {
        return (None, 0.0);
    }
    let height = height(dish, view, alignment, |_| true);
    let (radius, centre) = half_width(dish, view, height);
    let circle = (radius > 1e-3 && radius < 2.0).then_some(Circle {
        centre,
        radius,
        residual_rel: 0.05,
        inliers: 0.1,
        coverage: 0.2,
    });
    (circle, height)
}
