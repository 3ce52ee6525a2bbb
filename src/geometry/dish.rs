//! Plates and bowls as surfaces of revolution: their rim gives scale, their inside gives the base under the food.

use dragunov_models::Mask;

use super::camera::View;
use super::circle::{Circle, fit_circle, fit_circle_robust};
use super::outline::outline;
use super::random::{median, quantile};
use super::scene::DishKind;
use super::surface::{Alignment, Surface};
use super::table::{SlopePrior, TableFit};

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
}

/// Rings of the inner profile.
pub(crate) const RINGS: usize = 28;

/// A dish in units of the camera height.
#[derive(Debug, Clone)]
pub(crate) struct DishModel {
    pub(crate) kind: DishKind,
    /// Rim circle at height `rim`; `None` for boards and for rims that are too hidden.
    pub(crate) circle: Option<Circle>,
    pub(crate) rim: f64,
    /// Height over the table at the middle of each ring from the axis to the rim.
    profile: [f64; RINGS],
    /// Innermost ring that was seen.
    pub(crate) first_seen: usize,
    /// Level base where there is no profile.
    level: f64,
    /// Sd of the base height where it is not seen.
    pub(crate) hidden_sigma: f64,
    /// Axes of a board: centre, unit vector, half sizes.
    frame: Option<([f64; 2], [f64; 2], [f64; 2])>,
}

/// The support under an item: height over the table by ground position.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base<'a> {
    Table,
    Dish(&'a DishModel),
}

impl Base<'_> {
    pub(crate) fn at(&self, ground: [f64; 2]) -> f64 {
        match self {
            Self::Table => 0.0,
            Self::Dish(dish) => dish.base(ground),
        }
    }
}

impl DishSamples {
    pub(crate) fn collect(mask: &Mask, kind: DishKind, surface: &Surface<'_>) -> Self {
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

    /// Height of the rim: median over the far half, where the top of the rim faces the camera.
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
        along.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let half = (along.len() / 2).max(1).min(along.len());
        let mut heights: Vec<f64> = along[..half].iter().map(|x| x.1).collect();
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
        let height = self.rim_height(view, alignment, |i| self.on_rim[i]);
        let circle = fit_circle(&self.rim_points(view, height))
            .filter(|c| c.coverage >= 0.3 && c.residual_rel < 0.04 && c.radius < 3.0);
        if circle.is_none() {
            return self.width_only(view, alignment);
        }
        (circle, height)
    }

    /// A bowl whose rim food hides is still as wide as it looks from the side.
    fn width_only(&self, view: &View, alignment: Alignment) -> (Option<Circle>, f64) {
        if self.kind != DishKind::Bowl || self.rim.len() < 16 {
            return (None, 0.0);
        }
        let height = self.rim_height(view, alignment, |_| true);
        let ahead = [view.e1[2], view.e2[2]];
        let lean = ahead[0].hypot(ahead[1]);
        let side = if lean < 1e-6 {
            [1.0, 0.0]
        } else {
            [ahead[1] / lean, -ahead[0] / lean]
        };
        let mut points: Vec<(f64, [f64; 2])> = self
            .rim
            .iter()
            .map(|p| view.on_level(p[0], p[1], height))
            .map(|g| (g[0] * side[0] + g[1] * side[1], g))
            .collect();
        points.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let n = (points.len() / 40).max(2);
        let mean = |part: &[(f64, [f64; 2])]| {
            let k = part.len() as f64;
            part.iter()
                .fold([0.0; 2], |m, p| [m[0] + p.1[0] / k, m[1] + p.1[1] / k])
        };
        let (left, right) = (mean(&points[..n]), mean(&points[points.len() - n..]));
        let radius = 0.5 * (right[0] - left[0]).hypot(right[1] - left[1]);
        let circle = (radius > 1e-3 && radius < 2.0).then_some(Circle {
            centre: [0.5 * (left[0] + right[0]), 0.5 * (left[1] + right[1])],
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
        let (share, sigma): (f64, f64) = match self.kind {
            DishKind::Plate => (0.074, 0.3),
            DishKind::Bowl => (0.38, 0.2),
            DishKind::Board => return None,
        };
        let circle =
            fit_circle(&self.rim_points(view, 0.0)).filter(|c| c.coverage > 0.4 && c.residual_rel < 0.04)?;
        let tall = 2.0 * share * circle.radius;
        let height = tall / (1.0 + tall);
        let ahead = [view.e1[2], view.e2[2]];
        let along = |p: &[f64; 3]| {
            let g = view.on_level(p[0], p[1], 0.0);
            (g[0] - circle.centre[0]) * ahead[0] + (g[1] - circle.centre[1]) * ahead[1]
        };
        let mut far: Vec<[f64; 2]> = Vec::new();
        for (p, _) in self.rim.iter().zip(&self.on_rim).filter(|(_, k)| **k) {
            if along(p) >= -1e-9 {
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

    pub(crate) fn model(&self, view: &View, alignment: Alignment) -> DishModel {
        let (circle, rim) = self.rim(view, alignment);
        let mut out = DishModel {
            kind: self.kind,
            circle,
            rim,
            profile: [0.0; RINGS],
            first_seen: RINGS,
            level: 0.0,
            hidden_sigma: 0.01,
            frame: None,
        };
        let mut all: Vec<f64> = Vec::with_capacity(self.inside.len());
        let mut rings: [Vec<f64>; RINGS] = std::array::from_fn(|_| Vec::new());
        let mut spots: Vec<[f64; 2]> = Vec::new();
        for p in &self.inside {
            let zeta = alignment.zeta(p[2]);
            let height = view.height(p[0], p[1], zeta);
            if !(zeta > 0.0 && height > -0.1 && height < 0.7) {
                continue;
            }
            all.push(height);
            match &out.circle {
                Some(c) => {
                    // Inside the rim as the camera sees it: not the outer wall.
                    let through = view.on_level(p[0], p[1], rim);
                    if c.offset(&through) < -0.02 * c.radius {
                        let ground = view.on_level(p[0], p[1], height);
                        let ring = (c.offset(&ground) / c.radius + 1.0) * RINGS as f64;
                        if ring >= 0.0 && (ring as usize) < RINGS {
                            rings[ring as usize].push(height);
                        }
                    }
                }
                None => spots.push(view.on_level(p[0], p[1], height)),
            }
        }
        if let Some(c) = out.circle {
            out.fill_profile(&mut rings, c.radius);
        } else {
            // A board is level; of a plate without a usable rim the low part is the well.
            let p = if self.kind == DishKind::Board { 0.5 } else { 0.15 };
            out.level = quantile(&mut all, p).unwrap_or(0.0).max(0.0);
            out.hidden_sigma = if self.kind == DishKind::Board { 0.003 } else { 0.01 };
            out.frame = principal_frame(&spots);
        }
        out
    }
}

/// Well over table as a share of the rim radius: foot and thickness of usual ware, 6 to 7 mm.
fn well_prior(kind: DishKind) -> f64 {
    match kind {
        DishKind::Bowl => 0.09,
        _ => 0.05,
    }
}

impl DishModel {
    fn fill_profile(&mut self, rings: &mut [Vec<f64>; RINGS], radius: f64) {
        let mut seen: [Option<f64>; RINGS] = [None; RINGS];
        for (slot, ring) in seen.iter_mut().zip(rings.iter_mut()) {
            if ring.len() >= 4 {
                *slot = median(ring);
            }
        }
        let step = radius / RINGS as f64;
        let well = well_prior(self.kind) * radius;
        let Some(first) = seen.iter().position(Option::is_some) else {
            // Nothing of the inside shows: a typical section up to the rim.
            let foot = if self.kind == DishKind::Bowl { 0.35 } else { 0.62 };
            let well = well.min(self.rim);
            for (i, y) in self.profile.iter_mut().enumerate() {
                let t = ((i as f64 + 0.5) / RINGS as f64 - foot).max(0.0) / (1.0 - foot);
                *y = well + (self.rim - well) * t.powf(1.2);
            }
            self.hidden_sigma = 0.02 * radius;
            return;
        };
        self.first_seen = first;
        let at = |i: usize| seen.get(i).copied().flatten();
        let inner = at(first).unwrap_or(well);
        // Slope of the wall where the view ends.
        let slope = {
            let (mut n, mut sx, mut sy, mut sxx, mut sxy) = (0.0, 0.0, 0.0, 0.0, 0.0);
            for i in first..(first + 4).min(RINGS) {
                if let Some(y) = at(i) {
                    let x = (i - first) as f64 * step;
                    n += 1.0;
                    sx += x;
                    sy += y;
                    sxx += x * x;
                    sxy += x * y;
                }
            }
            let det: f64 = n * sxx - sx * sx;
            if n >= 2.0 && det > 0.0 {
                (n * sxy - sx * sy) / det
            } else {
                0.0
            }
        };
        let foot = radius * if self.kind == DishKind::Bowl { 0.35 } else { 0.6 };
        let edge = (first as f64 + 0.5) * step;
        // A level stretch is the bottom only where a bottom can be: a plate's rim is level too.
        let low = inner < well + 0.35 * (self.rim - well).max(0.0);
        let flat = slope < 0.12 && (low || edge < 0.8 * foot);
        for i in 0..RINGS {
            self.profile[i] = match at(i) {
                Some(y) => y,
                None if i < first => {
                    if flat || inner <= well || edge <= 0.5 * foot {
                        inner
                    } else {
                        // The wall goes on down with its slope and rounds off into the foot.
                        let foot = foot.min(0.7 * edge);
                        let power = (slope * (edge - foot) / (inner - well)).clamp(1.0, 2.5);
                        let t = ((i as f64 + 0.5) * step - foot).max(0.0) / (edge - foot);
                        well + (inner - well) * t.powf(power)
                    }
                }
                None => {
                    let low = (0..i).rev().find_map(|k| at(k).map(|y| (k, y)));
                    let high = (i..RINGS).find_map(|k| at(k).map(|y| (k, y)));
                    match (low, high) {
                        (Some((k, a)), Some((l, b))) => a + (b - a) * (i - k) as f64 / (l - k) as f64,
                        (Some((_, a)), None) => a.max(self.rim),
                        _ => self.rim,
                    }
                }
            };
        }
        self.hidden_sigma = if flat { 0.006 * radius } else { 0.02 * radius };
    }

    /// Inner height of the middle of a ring.
    pub(crate) fn ring(&self, ring: usize) -> f64 {
        self.profile[ring]
    }

    pub(crate) fn base(&self, ground: [f64; 2]) -> f64 {
        let Some(c) = &self.circle else { return self.level };
        let ring = (c.offset(&ground) / c.radius + 1.0) * RINGS as f64 - 0.5;
        if ring <= 0.0 {
            return self.profile[0];
        }
        let i = ring as usize;
        if i + 1 >= RINGS {
            // Food hanging over the rim rests on it; beyond lies the table.
            return if ring < RINGS as f64 * 1.03 {
                self.profile[RINGS - 1]
            } else {
                0.0
            };
        }
        self.profile[i] + (self.profile[i + 1] - self.profile[i]) * (ring - i as f64)
    }

    /// Sd of the base under an item with this footprint, in camera heights.
    pub(crate) fn base_sigma(&self) -> f64 {
        self.hidden_sigma
    }

    /// Whether something standing at this ground position stands on the dish.
    pub(crate) fn carries(&self, ground: [f64; 2]) -> bool {
        match (&self.circle, &self.frame) {
            (Some(c), _) => c.offset(&ground) < 0.0,
            (None, Some((centre, axis, half))) => {
                let d = [ground[0] - centre[0], ground[1] - centre[1]];
                (d[0] * axis[0] + d[1] * axis[1]).abs() < half[0]
                    && (d[1] * axis[0] - d[0] * axis[1]).abs() < half[1]
            }
            (None, None) => false,
        }
    }

    /// Half of the longer side of a board.
    pub(crate) fn half_length(&self) -> Option<f64> {
        self.frame.map(|(_, _, half)| half[0].max(half[1]))
    }

    /// Size for choosing the innermost of nested dishes.
    pub(crate) fn extent(&self) -> f64 {
        match (&self.circle, &self.frame) {
            (Some(c), _) => c.radius,
            (None, Some((_, _, half))) => half[0],
            (None, None) => f64::INFINITY,
        }
    }
}

/// Centre, long axis and half sizes (98 % quantiles) of a set of ground points.
fn principal_frame(points: &[[f64; 2]]) -> Option<([f64; 2], [f64; 2], [f64; 2])> {
    if points.len() < 12 {
        return None;
    }
    let n = points.len() as f64;
    let m = points
        .iter()
        .fold([0.0; 2], |m, p| [m[0] + p[0] / n, m[1] + p[1] / n]);
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for p in points {
        let d = [p[0] - m[0], p[1] - m[1]];
        xx += d[0] * d[0];
        yy += d[1] * d[1];
        xy += d[0] * d[1];
    }
    let angle = 0.5 * (2.0 * xy).atan2(xx - yy);
    let axis = [angle.cos(), angle.sin()];
    let mut a: Vec<f64> = points
        .iter()
        .map(|p| (p[0] - m[0]) * axis[0] + (p[1] - m[1]) * axis[1])
        .collect();
    let mut b: Vec<f64> = points
        .iter()
        .map(|p| (p[1] - m[1]) * axis[0] - (p[0] - m[0]) * axis[1])
        .collect();
    let ends = |v: &mut [f64]| Some((quantile(v, 0.01)?, quantile(v, 0.99)?));
    let ((a0, a1), (b0, b1)) = (ends(&mut a)?, ends(&mut b)?);
    let (ca, cb) = (0.5 * (a0 + a1), 0.5 * (b0 + b1));
    Some((
        [
            m[0] + ca * axis[0] - cb * axis[1],
            m[1] + ca * axis[1] + cb * axis[0],
        ],
        axis,
        [0.5 * (a1 - a0), 0.5 * (b1 - b0)],
    ))
}
