//! A stated gravity against what the photo shows (geometry.md 4.5).
//!
//! The statement is one witness among the circles and the table of the raster. Each errs by its own sigma, and each may be
//! grossly wrong: the thing is no circle, the network was misled, the app sent its slider's default. So the loss of each is that of
//! a normal distribution up to a cap, which is what gross errors of its kind are worth.

use super::readings::Readings;
use super::sight::{gravity_by_table, rings_by_plates};
use crate::contract::{DishKind, TiltSource};
use crate::geometry::view::camera::CameraModel;
use crate::geometry::view::gravity::Gravity;
use crate::geometry::view::level::candidates;
use crate::geometry::view::tilt::{DepthTilt, Ring, refine, sigmas_off_round};

/// Losses that gross errors are worth: of something taken for a circle, of the raster's table, of the statement.
const RING_CAP: f64 = 9.0;
const TABLE_CAP: f64 = 12.0;
const STATED_CAP: f64 = 11.0;
/// What the statement may be off without being wrong, degrees: a hand that moves between sensor and shutter.
const NEAR_DEG: f64 = 4.0;
/// A bowl's rim before any fit: its height in camera heights, and the sd of its ellipticity.
const BOWL_RIM_HEIGHT: f64 = 0.15;
const BOWL_RIM_SIGMA: f64 = 0.04;
/// Witnesses against the statement that are worth this much are told, whoever wins.
const DOUBT: f64 = 5.0;
/// A witness beyond so many sigmas of the settled gravity is left out of it.
const OUTLIER_SIGMAS: f64 = 4.0;
/// Sd that a gravity has on top where it overruled the statement, degrees, and a doubted one as a share of what it may be off.
pub(super) const OVERRULED_SIGMA_DEG: f64 = 3.0;
const DOUBTED_SHARE: f64 = 0.3;

/// What became of the statement.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict {
    Stands,
    /// It is used, with this sigma of its tilt in degrees: the photo shows another tilt, but not surely.
    Doubted {
        seen_deg: f64,
        sigma_deg: f64,
    },
    /// Independent witnesses agree against it.
    Overruled {
        seen: Gravity,
        source: TiltSource,
    },
}

/// The square of so many sigmas, up to the cap.
fn capped(sigmas: f64, cap: f64) -> f64 {
    let floor = (-0.5 * cap).exp();
    -2.0 * (((-0.5 * sigmas * sigmas).exp() + floor) / (1.0 + floor)).ln()
}

/// A bowl's edge is its rim but for some of its outer wall at the near side.
fn rings_by_bowls<'r>(readings: &'r Readings<'_, '_>) -> impl Iterator<Item = Ring> + 'r {
    let bowls = readings.dishes.iter().filter(|d| d.kind == DishKind::Bowl);
    bowls.map(|d| Ring {
        pixels: d.edge.iter().map(|p| [p[0], p[1]]).collect(),
        height: BOWL_RIM_HEIGHT,
        sigma: BOWL_RIM_SIGMA,
    })
}

/// Everything on the photo that shows a tilt.
struct Witnesses {
    camera: CameraModel,
    rings: Vec<Ring>,
    table: Option<Gravity>,
}

impl Witnesses {
    fn of(readings: &Readings<'_, '_>, coins: &[Ring]) -> Self {
        let rings = coins.iter().cloned();
        Self {
            camera: readings.scene.camera,
            rings: rings
                .chain(rings_by_plates(readings))
                .chain(rings_by_bowls(readings))
                .collect(),
            table: gravity_by_table(readings),
        }
    }

    /// How much speaks against this gravity.
    fn against(&self, g: &Gravity) -> f64 {
        let off = |ring: &Ring| sigmas_off_round(self.camera, g, ring);
        let by_rings = self
            .rings
            .iter()
            .map(|ring| off(ring).map_or(RING_CAP, |x| capped(x, RING_CAP)));
        let by_table = self
            .table
            .iter()
            .map(|t| capped(g.angle_deg(t) / t.tilt_sigma_deg, TABLE_CAP));
        by_rings.chain(by_table).sum()
    }

    /// What those show together that agree about here, and by what.
    fn refined(&self, seen: &Gravity) -> (Gravity, TiltSource) {
        let round = |r: &&Ring| sigmas_off_round(self.camera, seen, r).is_some_and(|x| x < OUTLIER_SIGMAS);
        let supporters: Vec<Ring> = self.rings.iter().filter(round).cloned().collect();
        let depth = self
            .table
            .filter(|t| seen.angle_deg(t) < OUTLIER_SIGMAS * t.tilt_sigma_deg)
            .map(|t| DepthTilt {
                down: t.down,
                sigma: [t.tilt_sigma_deg.to_radians(); 2],
            });
        let refined = refine(self.camera, seen, &supporters, depth);
        let source = if refined.by_circle {
            TiltSource::Circle
        } else {
            TiltSource::Depth
        };
        (refined.gravity, source)
    }
}

/// Whether the statement stands: the evidence is how much more speaks against every gravity near it than against the likeliest one.
pub(super) fn judge(readings: &Readings<'_, '_>, coins: &[Ring], stated: &Gravity) -> Verdict {
    let witnesses = Witnesses::of(readings, coins);
    let tried = || candidates([Some(stated), witnesses.table.as_ref()]).chain([*stated]);
    let least = |near_deg: f64| {
        tried()
            .filter(|g| g.angle_deg(stated) <= near_deg)
            .map(|g| (witnesses.against(&g), g))
            .min_by(|a, b| a.0.total_cmp(&b.0))
    };
    let (Some((near, _)), Some((anywhere, seen))) = (least(NEAR_DEG), least(f64::INFINITY)) else {
        return Verdict::Stands;
    };
    let evidence = near - anywhere;
    if evidence < DOUBT {
        return Verdict::Stands;
    }
    let (seen, source) = witnesses.refined(&seen);
    if evidence < STATED_CAP {
        return Verdict::Doubted {
            seen_deg: seen.tilt_deg(),
            sigma_deg: stated
                .tilt_sigma_deg
                .hypot(DOUBTED_SHARE * seen.angle_deg(stated)),
        };
    }
    Verdict::Overruled { seen, source }
}
