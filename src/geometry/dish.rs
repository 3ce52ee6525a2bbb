//! Plates and bowls as surfaces of revolution: their rim gives scale, their inside gives the base under the food.

mod model;

use dragunov_models::Mask;

use super::camera::View;
use super::circle::{Circle, fit_circle, fit_circle_robust};
use super::outline::outline;
use super::random::median;
use super::surface::{Alignment, Surface};
use super::table::{SlopePrior, TableFit};
use crate::contract::DishKind;
use model::fused;
pub(crate) use model::{Base, DishModel, RINGS};

/// What is read of a dish once, before any camera is assumed.
#[derive(Debug, Clone)]
pub(crate) struct DishSamples {
    pub(crate) kind: DishKind,
    /// Position and disparity of visible pixels.
    pub(crate) inside: Vec<[f64; 3]>,
    /// Edge positions, and the disparity a little inside of each.
    pub(crate) rim: Vec<[f64; 3]>,
    /// Edge points that lie on the rim; set by the first fit.
    pub(crate) on_rim: Vec<bool>,
    /// Error of the raster's heights, sd in camera heights; 0 for true depth.
    pub(crate) relief_sigma: f64,
}

/// How much of the near half of a rim shows its top, and not its outside: all of it from straight above.
fn near_rim(view: &View) -> f64 {
    let tilt_deg = view.down[2].clamp(-1.0, 1.0).acos().to_degrees();
    ((14.0 - tilt_deg) / 8.0).clamp(0.0, 1.0)
}

/// Height of the rim over the table as a share of its diameter, and the relative sd of that.
fn usual_rim(kind: DishKind) -> Option<(f64, f64)> {
    match kind {
        DishKind::Plate => Some((0.074, 0.3)),
        DishKind::Bowl => Some((0.38, 0.2)),
        DishKind::Board => None,
    }
}

/// Share of the circumference under which an arc says nothing of its circle, and over which it says everything.
const SHORTEST_ARC: f64 = 0.2;
const LONG_ARC: f64 = 0.5;
/// What food hides of the width of bowls whose rim is seen so little of: 11 of the 53 bowls of the development scenes.
const WIDTH_HIDDEN: f64 = 1.06;

impl DishSamples {
    pub(crate) fn collect(mask: &Mask, kind: DishKind, surface: &Surface<'_>, relief_sigma: f64) -> Self {
        let stride = ((mask.area() as f64 / 3000.0).sqrt().round() as usize).max(1);
        let mut inside = Vec::with_capacity(4000);
        mask.for_each_run(|x, a, b| {
            if x % stride == 0 {
                for y in (a.next_multiple_of(stride)..b).step_by(stride) {
                    let d = surface.at(x, y);
                    if d.is_finite() {
                        inside.push([x as f64 + 0.5, y as f64 + 0.5, d]);
                    }
                }
            }
        });
        let edge = outline(mask);
        let stride = (edge.len() / 400).max(1);
        let centre = mask
            .bbox()
            .map_or([0.0; 2], |b| [(b.x0 + b.x1) / 2.0, (b.y0 + b.y1) / 2.0]);
        let rim: Vec<[f64; 3]> = edge
            .iter()
            .step_by(stride)
            .filter_map(|p| {
                let (dx, dy) = (centre[0] - p[0], centre[1] - p[1]);
                let length = dx.hypot(dy);
                let t = (2.5 / length).min(1.0);
                let (x, y) = (p[0] + dx * t, p[1] + dy * t);
                let (x, y) = (
                    (x as usize).min(mask.width() - 1),
                    (y as usize).min(mask.height() - 1),
                );
                let d = surface.at(x, y);
                d.is_finite().then_some([p[0], p[1], d])
            })
            .collect();
        let on_rim = vec![true; rim.len()];
        Self {
            kind,
            inside,
            rim,
            on_rim,
            relief_sigma,
        }
    }

    /// Marks which edge points lie on the rim, by a robust fit under this view.
    pub(crate) fn find_rim(&mut self, view: &View, alignment: Alignment, seed: u64) {
        if self.kind == DishKind::Board || self.rim.len() < 16 {
            self.on_rim.fill(false);
            return;
        }
        let ahead = [view.e1[2], view.e2[2]];
        let lean = ahead[0].hypot(ahead[1]);
        let height = self.rim_height(view, alignment, |_| true);
        let points: Vec<[f64; 2]> = self
            .rim
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
        let near_limit = if self.kind == DishKind::Bowl && lean > 0.25 {
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
        match fit_circle_robust(&chosen, seed) {
            Some(circle) => {
                let limit = (4.0 * circle.residual_rel * circle.radius)
                    .clamp(0.006 * circle.radius, 0.03 * circle.radius);
                for ((keep, p), u) in self.on_rim.iter_mut().zip(&points).zip(&used) {
                    *keep = *u && circle.offset(p).abs() <= limit;
                }
            }
            None => self.on_rim.fill(false),
        }
    }

    /// Height of the rim: median over what faces the camera, from aside the far half. Seen from straight above, a wrong tilt
    /// raises one half as much as it lowers the other.
    fn rim_height(&self, view: &View, alignment: Alignment, keep: impl Fn(usize) -> bool) -> f64 {
        let ahead = [view.e1[2], view.e2[2]];
        let mut along: Vec<(f64, f64)> = self
            .rim
            .iter()
            .enumerate()
            .filter(|(i, _)| keep(*i))
            .map(|(_, p)| {
                let g = view.on_level(p[0], p[1], 0.05);
                let height = view.height(p[0], p[1], alignment.zeta(p[2]));
                (g[0] * ahead[0] + g[1] * ahead[1], height)
            })
            .filter(|(_, h)| *h > -0.2 && *h < 0.7)
            .collect();
        let share = 0.5 + 0.5 * near_rim(view);
        let used = ((along.len() as f64 * share) as usize).max(1).min(along.len());
        if used < along.len() {
            along.select_nth_unstable_by(used, |a, b| b.0.total_cmp(&a.0));
        }
        let mut heights: Vec<f64> = along[..used].iter().map(|x| x.1).collect();
        median(&mut heights).unwrap_or(0.05).clamp(0.0, 0.6)
    }

    /// Rim points on the level of the rim.
    pub(crate) fn rim_points(&self, view: &View, height: f64) -> Vec<[f64; 2]> {
        self.rim
            .iter()
            .zip(&self.on_rim)
            .filter(|(_, k)| **k)
            .map(|(p, _)| view.on_level(p[0], p[1], height))
            .collect()
    }

    /// The rim's circle and height under this view.
    pub(crate) fn rim(&self, view: &View, alignment: Alignment) -> (Option<Circle>, f64) {
        let share = self.on_rim.iter().filter(|k| **k).count();
        if share < 16 {
            return self.width_only(view, alignment);
        }
        let mut height = self.rim_height(view, alignment, |i| self.on_rim[i]);
        let fit = |height: f64| {
            let points = self.rim_points(view, height);
            let arc = fit_circle(&points).filter(|c| c.coverage >= SHORTEST_ARC && c.radius < 3.0)?;
            // The shorter the arc, the more a departure from it turns the radius.
            let sound = arc.residual_rel < (0.1 * arc.coverage * arc.coverage).min(0.04);
            sound.then(|| self.widened(arc, &points, view, height))
        };
        let mut circle = fit(height);
        if let (Some(c), Some((share, sigma))) = (circle, usual_rim(self.kind))
            && self.relief_sigma > 0.0
        {
            // A network's rim is fused with the rim of usual ware.
            let usual = 2.0 * share * c.radius;
            height = fused((height, self.relief_sigma), (usual, sigma * usual));
            circle = fit(height);
        }
        if circle.is_none() {
            return self.width_only(view, alignment);
        }
        (circle, height)
    }

    /// The radius of a short arc leans on the tilt; how wide a bowl looks does not, though food may hide a part of it.
    fn widened(&self, arc: Circle, points: &[[f64; 2]], view: &View, height: f64) -> Circle {
        let trust = ((arc.coverage - SHORTEST_ARC) / (LONG_ARC - SHORTEST_ARC)).clamp(0.0, 1.0);
        if self.kind != DishKind::Bowl || trust >= 1.0 {
            return arc;
        }
        let wide = WIDTH_HIDDEN * self.half_width(view, height).0;
        arc.with_radius(trust * arc.radius + (1.0 - trust) * wide, points)
    }

    /// Half of how wide the whole edge is across the view at this height, and the middle of that.
    fn half_width(&self, view: &View, height: f64) -> (f64, [f64; 2]) {
        let ahead = [view.e1[2], view.e2[2]];
        let lean = ahead[0].hypot(ahead[1]);
        let side = if lean < 1e-6 {
            [1.0, 0.0]
        } else {
            [ahead[1] / lean, -ahead[0] / lean]
        };
        let mut across: Vec<(f64, [f64; 2])> = self
            .rim
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
    fn width_only(&self, view: &View, alignment: Alignment) -> (Option<Circle>, f64) {
        if self.kind != DishKind::Bowl || self.rim.len() < 16 {
            return (None, 0.0);
        }
        let height = self.rim_height(view, alignment, |_| true);
        let (radius, centre) = self.half_width(view, height);
        let circle = (radius > 1e-3 && radius < 2.0).then_some(Circle {
            centre,
            radius,
            residual_rel: 0.05,
            inliers: 0.1,
            coverage: 0.2,
        });
        (circle, height)
    }

    /// What the usual height of a rim, as a share of its width, says of the slope of relative disparity. `None` where
    /// the rim does not stand out of the table: flat ware has no usual height.
    pub(crate) fn slope_by_rim(&self, view: &View, fit: &TableFit) -> Option<SlopePrior> {
        let (share, sigma) = usual_rim(self.kind)?;
        let circle =
            fit_circle(&self.rim_points(view, 0.0)).filter(|c| c.coverage > 0.4 && c.residual_rel < 0.04)?;
        let tall = 2.0 * share * circle.radius;
        let height = tall / (1.0 + tall);
        let ahead = [view.e1[2], view.e2[2]];
        let along = |p: &[f64; 3]| {
            let g = view.on_level(p[0], p[1], 0.0);
            (g[0] - circle.centre[0]) * ahead[0] + (g[1] - circle.centre[1]) * ahead[1]
        };
        let reach = 1.2 * circle.radius * ahead[0].hypot(ahead[1]) * near_rim(view);
        let mut far: Vec<[f64; 2]> = Vec::new();
        for (p, _) in self.rim.iter().zip(&self.on_rim).filter(|(_, k)| **k) {
            if along(p) >= -1e-9 - reach {
                far.push([p[2], view.q(p[0], p[1])]);
            }
        }
        if far.len() < 8 {
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
        let sigma = sigma.hypot(fit.residual_rel / height);
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
}
