//! Inner profile of a dish as a surface of revolution: what is seen of it, and what is hidden (geometry.md 5.2, 5.3).

use crate::contract::DishKind;
use crate::geometry::math::circle::Circle;
use crate::geometry::math::stats::{inverse_variance_mean, median};
use crate::geometry::priors::{
    BOWL_SECTION_SIGMA, BOWL_WALL_POWER, PLATE_SECTION_SIGMA, PLATE_WALL_POWER, foot_radius, well_height,
};

/// Rings from the axis to the rim.
pub(crate) const RINGS: usize = 28;

/// Samples that make a ring's height.
const MIN_RING_SAMPLES: usize = 4;
/// Rings of a bowl's profile that are lip.
const LIP_RINGS: usize = 2;
/// Rings that the slope of a wall is read off, and samples with which a ring counts half.
const WALL_RINGS: f64 = 3.5;
const WALL_HALF_SAMPLES: f64 = 20.0;
/// Departure of a wall's rings from a straight line under the lip, as a share of the rim's radius.
const WALL_BEND: f64 = 0.02;
/// Least slope of a wall; under it the stretch is level.
const LEVEL_SLOPE: f64 = 0.12;
/// Sd of the hidden part of a profile, as a share of the rim's radius: where it goes on level, and elsewhere.
const LEVEL_SIGMA: f64 = 0.005;
const HIDDEN_SIGMA: f64 = 0.02;
/// Food that hangs over the rim by this share of the rings rests on it; beyond lies the table.
const OVERHANG: f64 = 1.03;

/// Of which dish a profile is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section {
    pub(crate) kind: DishKind,
    /// Height and radius of the rim, in camera heights.
    pub(crate) rim: f64,
    pub(crate) radius: f64,
    /// Error of the raster's heights, sd in camera heights; 0 for true depth.
    pub(crate) relief_sigma: f64,
    /// By a sensor: the section is as it is seen.
    pub(crate) measured: bool,
}

/// Heights of a dish's visible pixels by ring.
pub(crate) type Rings = [Vec<f64>; RINGS];

/// Height over the table at the middle of each ring from the axis to the rim, in camera heights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Profile([f64; RINGS]);

/// Where the view of the inside ends, seen from the rim.
struct InnerEdge {
    /// Distance of the innermost seen ring from the axis, and its height.
    radius: f64,
    height: f64,
    /// Slope of the wall there, and its sd.
    slope: f64,
    slope_sigma: f64,
}

impl Profile {
    pub(crate) fn ring(&self, ring: usize) -> f64 {
        self.0[ring]
    }

    /// Height at a ground position.
    pub(crate) fn height(&self, circle: &Circle, ground: [f64; 2]) -> f64 {
        self.at(circle.offset(&ground) / circle.radius + 1.0)
    }

    /// Height at this distance from the axis, in radii of the rim.
    pub(crate) fn at(&self, distance: f64) -> f64 {
        let ring = distance * RINGS as f64 - 0.5;
        if ring <= 0.0 {
            return self.0[0];
        }
        let i = ring as usize;
        if i + 1 >= RINGS {
            return if ring < RINGS as f64 * OVERHANG {
                self.0[RINGS - 1]
            } else {
                0.0
            };
        }
        self.0[i] + (self.0[i + 1] - self.0[i]) * (ring - i as f64)
    }
}

impl Section {
    /// As far as a network shows it, fused with usual ware ring by ring.
    fn of_network(&self, rings: &mut Rings) -> (Profile, f64) {
        let usual_sigma = match self.kind {
            DishKind::Bowl => BOWL_SECTION_SIGMA * self.radius,
            DishKind::Plate | DishKind::Board => PLATE_SECTION_SIGMA,
        };
        let mut profile = self.typical();
        for (y, ring) in profile.iter_mut().zip(rings.iter_mut()) {
            if ring.len() >= MIN_RING_SAMPLES
                && let Some(seen) = median(ring)
            {
                *y = inverse_variance_mean((seen, self.relief_sigma), (*y, usual_sigma));
            }
        }
        (Profile(profile), usual_sigma)
    }

    /// The profile that these pixels show, and the sd of its hidden part. What lies in the halo of food must not be among them.
    pub(crate) fn profile(&self, rings: &mut Rings) -> (Profile, f64) {
        if self.relief_sigma > 0.0 && !self.measured {
            return self.of_network(rings);
        }
        let counts: [usize; RINGS] = std::array::from_fn(|i| rings[i].len());
        let mut seen: [Option<f64>; RINGS] = [None; RINGS];
        for (slot, ring) in seen.iter_mut().zip(rings.iter_mut()) {
            if ring.len() >= MIN_RING_SAMPLES {
                *slot = median(ring);
            }
        }
        let Some((ring, height)) = seen.iter().enumerate().find_map(|(i, y)| y.map(|y| (i, y))) else {
            return (Profile(self.typical()), HIDDEN_SIGMA * self.radius);
        };
        let (slope, slope_sigma) = self.wall(&seen, &counts, ring);
        let edge = InnerEdge {
            radius: (ring as f64 + 0.5) * self.step(),
            height,
            slope,
            slope_sigma,
        };
        let level = self.is_level(&edge);
        let profile: [f64; RINGS] = std::array::from_fn(|i| match seen[i] {
            Some(y) => y,
            None if i < ring && level => height,
            None if i < ring => self.hidden(i, &edge),
            None => self.between(&seen, i),
        });
        let hidden = if level { LEVEL_SIGMA } else { HIDDEN_SIGMA };
        (Profile(profile), hidden * self.radius)
    }

    fn step(&self) -> f64 {
        self.radius / RINGS as f64
    }

    fn well(&self) -> f64 {
        well_height(self.kind) * self.radius
    }

    /// Where the wall meets the well, at most.
    fn foot(&self) -> f64 {
        self.radius * if self.kind == DishKind::Bowl { 0.35 } else { 0.6 }
    }

    /// Whether the view ends on the bottom. A level stretch is the bottom only where a bottom can be: a plate's rim is
    /// level too.
    fn is_level(&self, edge: &InnerEdge) -> bool {
        let well = self.well();
        let low = edge.height < well + 0.35 * (self.rim - well).max(0.0);
        edge.slope < LEVEL_SLOPE && (low || edge.radius < 0.8 * self.foot())
    }

    /// The wall goes on down with its slope and rounds off into the foot.
    fn hidden(&self, ring: usize, edge: &InnerEdge) -> f64 {
        let (well, foot) = (self.well(), self.foot());
        if edge.height <= well || edge.radius <= 0.5 * foot {
            return edge.height;
        }
        let foot = foot.min(0.7 * edge.radius);
        let reach = (edge.radius - foot) / (edge.height - well);
        let power = self.wall_power(edge.slope * reach, edge.slope_sigma * reach);
        let t = ((ring as f64 + 0.5) * self.step() - foot).max(0.0) / (edge.radius - foot);
        well + (edge.height - well) * t.powf(power)
    }

    /// By which power of the distance from the foot a wall rises: as its slope shows where it ends, and as bowls usually do.
    fn wall_power(&self, seen: f64, sigma: f64) -> f64 {
        let power = match self.kind {
            DishKind::Bowl => {
                let usual = (BOWL_WALL_POWER.value, BOWL_WALL_POWER.sigma);
                // Without a sigma nothing was seen, and the weight of 0 must not meet an infinite value.
                let seen = if sigma.powi(-2) > 0.0 { seen } else { usual.0 };
                inverse_variance_mean((seen, sigma), usual)
            }
            DishKind::Plate | DishKind::Board => seen,
        };
        power.clamp(1.0, 2.5)
    }

    /// A ring outside the innermost seen one that is not seen itself: between its neighbours, and up to the rim.
    fn between(&self, seen: &[Option<f64>; RINGS], ring: usize) -> f64 {
        let inside = (0..ring).rev().find_map(|k| seen[k].map(|y| (k, y)));
        let outside = (ring..RINGS).find_map(|k| seen[k].map(|y| (k, y)));
        match (inside, outside) {
            (Some((k, a)), Some((l, b))) => a + (b - a) * (ring - k) as f64 / (l - k) as f64,
            (Some((_, a)), None) => a.max(self.rim),
            _ => self.rim,
        }
    }

    /// A typical section from the well up to the rim.
    pub(super) fn typical(&self) -> [f64; RINGS] {
        let foot = foot_radius(self.kind);
        let power = match self.kind {
            DishKind::Bowl => BOWL_WALL_POWER.value,
            DishKind::Plate | DishKind::Board => PLATE_WALL_POWER,
        };
        let well = self.well().min(self.rim);
        std::array::from_fn(|i| {
            let t = ((i as f64 + 0.5) / RINGS as f64 - foot).max(0.0) / (1.0 - foot);
            well + (self.rim - well) * t.powf(power)
        })
    }

    /// Slope of the wall where the view of it ends, and its sd. A ring of which little shows weighs little, so that the slope
    /// does not jump where a ring comes into view.
    fn wall(&self, seen: &[Option<f64>; RINGS], counts: &[usize; RINGS], first: usize) -> (f64, f64) {
        let step = self.step();
        // The lip of a bowl rounds off: it says nothing of the wall under it.
        let lip = if self.kind == DishKind::Bowl { LIP_RINGS } else { 0 };
        let mut room = WALL_RINGS;
        let points: Vec<[f64; 3]> = (first..RINGS - lip)
            .filter_map(|i| {
                let count = counts[i] as f64;
                let weight = (count / (count + WALL_HALF_SAMPLES)).min(room);
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
        // Walls are not straight up to the lip.
        let least = WALL_BEND * self.radius;
        let noise = left / (n - 2.0).max(1.0) + least * least;
        (slope, (noise / xx).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bowl(relief_sigma: f64) -> Section {
        Section {
            kind: DishKind::Bowl,
            rim: 0.2,
            radius: 0.25,
            relief_sigma,
            measured: false,
        }
    }

    #[test]
    fn a_wall_that_a_network_draws_level_is_drawn_to_a_usual_one() {
        let level: Rings = std::array::from_fn(|i| if i < RINGS / 2 { vec![] } else { vec![0.19; 50] });
        let (exact, _) = bowl(0.0).profile(&mut level.clone());
        let (network, _) = bowl(0.045).profile(&mut level.clone());
        let usual = bowl(0.045).typical();
        assert!((exact.ring(16) - 0.19).abs() < 1e-9 && usual[16] < 0.08);
        // Sd 0.045 against a tenth of the radius: the usual section counts more than three times.
        assert!((network.ring(16) - (0.19 + 3.24 * usual[16]) / 4.24).abs() < 1e-9);
    }
}
