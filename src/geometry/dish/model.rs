//! A dish under one view: its rim's circle, and the base that it gives the food.

use super::DishSamples;
use crate::contract::DishKind;
use crate::geometry::camera::View;
use crate::geometry::circle::Circle;
use crate::geometry::random::{median, quantile};
use crate::geometry::surface::Alignment;

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
    /// Error of the raster that the heights were read from, sd in camera heights.
    relief_sigma: f64,
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
    pub(crate) fn model(&self, view: &View, alignment: Alignment) -> DishModel {
        let (circle, rim) = self.rim(view, alignment);
        let mut out = DishModel {
            kind: self.kind,
            circle,
            rim,
            profile: [0.0; RINGS],
            first_seen: RINGS,
            level: 0.0,
            relief_sigma: self.relief_sigma,
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

/// Base of ware whose rim is not seen, and how far bases are off what is usual, in camera heights.
const USUAL_BASE: f64 = 0.02;
const USUAL_BASE_SIGMA: f64 = 0.008;

/// Well over table as a share of the rim radius: foot and thickness of usual ware, 6 to 7 mm.
fn well_prior(kind: DishKind) -> f64 {
    match kind {
        DishKind::Bowl => 0.09,
        _ => 0.05,
    }
}

/// Rings of a bowl's profile that are lip.
const LIP: usize = 2;
/// Rings that the slope of a wall is read off, and samples with which a ring counts half.
const WALL_RINGS: f64 = 3.5;
const WALL_SAMPLES: f64 = 20.0;
/// Departure of a wall's rings from a straight line under the lip, as a share of the rim's radius.
const WALL_BEND: f64 = 0.02;
/// Walls of bowls rise from the foot by this power of the distance: 53 bowls of the 245 development scenes, and their spread.
const WALL_POWER: (f64, f64) = (1.85, 0.35);

/// How far inner profiles of bowls are off a typical section, as a share of the rim's radius.
const USUAL_SECTION_SIGMA: f64 = 0.1;

/// Mean of what was seen and what is usual, each with its sd, by the inverse of their variances.
pub(super) fn fused(seen: (f64, f64), usual: (f64, f64)) -> f64 {
    let (w_seen, w_usual) = (seen.1.powi(-2), usual.1.powi(-2));
    (seen.0 * w_seen + usual.0 * w_usual) / (w_seen + w_usual)
}

/// By which power of the distance from the foot a wall rises: as its slope shows where it ends, and as bowls usually do.
fn wall_power(kind: DishKind, seen: f64, sd: f64) -> f64 {
    let power = match kind {
        DishKind::Bowl => {
            let (usual, spread) = WALL_POWER;
            let (w_seen, w_usual) = (sd.powi(-2), spread.powi(-2));
            // Infinity times nought: nothing was seen.
            let seen = if w_seen > 0.0 { seen } else { usual };
            (seen * w_seen + usual * w_usual) / (w_seen + w_usual)
        }
        _ => seen,
    };
    power.clamp(1.0, 2.5)
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
            self.profile = self.usual_profile(radius);
            self.hidden_sigma = 0.02 * radius;
            return;
        };
        self.first_seen = first;
        let at = |i: usize| seen.get(i).copied().flatten();
        let inner = at(first).unwrap_or(well);
        let counts: [usize; RINGS] = std::array::from_fn(|i| rings[i].len());
        let (slope, slope_sd) = self.wall(&seen, &counts, first, radius);
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
                        let reach = (edge - foot) / (inner - well);
                        let power = wall_power(self.kind, slope * reach, slope_sd * reach);
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
        self.hidden_sigma = if flat { 0.005 * radius } else { 0.02 * radius };
        if self.kind == DishKind::Bowl && self.relief_sigma > 0.0 {
            // A network draws a wall too high where it meets what the bowl holds, and so too far in.
            let usual = self.usual_profile(radius);
            for (y, usual) in self.profile.iter_mut().zip(usual) {
                *y = fused((*y, self.relief_sigma), (usual, USUAL_SECTION_SIGMA * radius));
            }
        }
    }

    /// A typical section from the well up to the rim.
    fn usual_profile(&self, radius: f64) -> [f64; RINGS] {
        let (foot, power) = match self.kind {
            DishKind::Bowl => (0.35, WALL_POWER.0),
            _ => (0.62, 1.2),
        };
        let well = (well_prior(self.kind) * radius).min(self.rim);
        std::array::from_fn(|i| {
            let t = ((i as f64 + 0.5) / RINGS as f64 - foot).max(0.0) / (1.0 - foot);
            well + (self.rim - well) * t.powf(power)
        })
    }

    /// Slope of the wall where the view of it ends, and its sd. A ring of which little shows weighs little, so that the slope
    /// does not jump where a ring comes into view.
    fn wall(
        &self,
        seen: &[Option<f64>; RINGS],
        counts: &[usize; RINGS],
        first: usize,
        radius: f64,
    ) -> (f64, f64) {
        let step = radius / RINGS as f64;
        // The lip of a bowl rounds off: it says nothing of the wall under it.
        let lip = if self.kind == DishKind::Bowl { LIP } else { 0 };
        let mut room = WALL_RINGS;
        let points: Vec<[f64; 3]> = (first..RINGS - lip)
            .filter_map(|i| {
                let count = counts[i] as f64;
                let weight = (count / (count + WALL_SAMPLES)).min(room);
                room -= weight;
                (weight > 0.0).then_some([(i - first) as f64 * step, seen[i]?, weight])
            })
            .collect();
        let sum = |of: &dyn Fn(&[f64; 3]) -> f64| points.iter().map(|p| p[2] * of(p)).sum::<f64>();
        let n = sum(&|_| 1.0);
        if n < 1.5 || points.len() < 2 {
            return (0.0, f64::INFINITY);
        }
        let (mx, my) = (sum(&|p| p[0]) / n, sum(&|p| p[1]) / n);
        let xx = sum(&|p| (p[0] - mx).powi(2));
        let slope = sum(&|p| (p[0] - mx) * (p[1] - my)) / xx;
        let left = sum(&|p| (p[1] - my - slope * (p[0] - mx)).powi(2));
        // Walls are not straight up to the lip, and neighbouring rings of a poor raster go wrong together.
        let least = (WALL_BEND * radius).hypot(0.2 * self.relief_sigma);
        let noise = left / (n - 2.0).max(1.0) + least * least;
        (slope, (noise / xx).sqrt())
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

    /// The base at this ground position, fused with that of usual ware by how far the raster can be trusted. For what
    /// hangs on the base alone; relief is measured from [`Self::base`], whose errors it shares.
    pub(crate) fn likely_base(&self, ground: [f64; 2]) -> f64 {
        let seen = self.base(ground);
        if self.relief_sigma <= 0.0 {
            return seen;
        }
        let usual = match &self.circle {
            Some(c) => well_prior(self.kind) * c.radius,
            None => USUAL_BASE,
        };
        fused((seen, self.relief_sigma), (usual, USUAL_BASE_SIGMA)).clamp(0.0, 0.2)
    }

    /// Sd of the base under an item with this footprint, in camera heights.
    pub(crate) fn base_sigma(&self) -> f64 {
        self.hidden_sigma
    }

    /// The rim's circle as the camera sees it; `None` where the rim was not well seen.
    pub(crate) fn rim_pixels(&self, view: &View) -> Option<Vec<[f64; 2]>> {
        let circle = self.circle.filter(|c| c.coverage >= 0.3)?;
        (0..96)
            .map(|i| {
                let (s, c) = (f64::from(i) / 96.0 * std::f64::consts::TAU).sin_cos();
                let ground = [
                    circle.centre[0] + circle.radius * c,
                    circle.centre[1] + circle.radius * s,
                ];
                view.pixel_of(ground, self.rim)
            })
            .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn bowl(relief_sigma: f64) -> DishModel {
        DishModel {
            kind: DishKind::Bowl,
            circle: None,
            rim: 0.2,
            profile: [0.0; RINGS],
            first_seen: RINGS,
            level: 0.0,
            relief_sigma,
            hidden_sigma: 0.01,
            frame: None,
        }
    }

    #[test]
    fn a_wall_that_a_network_draws_level_is_drawn_to_a_usual_one() {
        let radius = 0.25;
        let level: [Vec<f64>; RINGS] =
            std::array::from_fn(|i| if i < RINGS / 2 { vec![] } else { vec![0.19; 50] });
        let (mut exact, mut network) = (bowl(0.0), bowl(0.045));
        exact.fill_profile(&mut level.clone(), radius);
        network.fill_profile(&mut level.clone(), radius);
        let usual = network.usual_profile(radius);
        assert!((exact.ring(16) - 0.19).abs() < 1e-9 && usual[16] < 0.08);
        // Sd 0.045 against a tenth of the radius: the usual section counts more than three times.
        assert!((network.ring(16) - (0.19 + 3.24 * usual[16]) / 4.24).abs() < 1e-9);
    }
}
