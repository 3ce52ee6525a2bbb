//! Which way is down where the client did not state it: every circle and the table of the raster are witnesses, and the tilt that
//! most of them support wins (geometry.md 4.3).

use super::camera::CameraModel;
use super::gravity::Gravity;
use super::tilt::{DepthTilt, Ring, refine, sigmas_off_round};

/// A witness that is this many sigmas off no longer counts fully: something else taken for a coin must not decide.
const CAUCHY_SIGMAS: f64 = 3.0;
/// A witness beyond this many sigmas is left out.
const OUTLIER_SIGMAS: f64 = 4.0;
/// Tilts of the first search: the largest, and how far apart they are.
const STEEPEST_DEG: f64 = 80.0;
const STEP_DEG: f64 = 2.5;
/// Gravity's sigma before any witness, degrees.
const START_SIGMA_DEG: f64 = 20.0;
/// Least slope of the table in the raster that has a direction.
const MIN_SLOPE: f64 = 0.02;

/// Gravity that most witnesses support.
pub(crate) struct Consensus {
    pub(crate) gravity: Gravity,
    /// Which rings are round under it.
    pub(crate) round: Vec<bool>,
}

/// Tilt that makes the circles round and the table level. `None` without a usable circle.
pub(crate) fn consensus(camera: CameraModel, rings: &[Ring], table: Option<&Gravity>) -> Option<Consensus> {
    let off = |g: &Gravity, ring: &Ring| sigmas_off_round(camera, g, ring);
    let loss = |g: &Gravity| {
        let seen: Vec<f64> = rings.iter().filter_map(|r| off(g, r)).collect();
        let by_table = table.map_or(0.0, |t| cauchy_loss(g.angle_deg(t) / t.tilt_sigma_deg));
        (!seen.is_empty()).then(|| by_table + seen.iter().map(|x| cauchy_loss(*x)).sum::<f64>())
    };
    let start = candidates([table, None])
        .filter_map(|g| loss(&g).map(|s| (s, g)))
        .min_by(|a, b| a.0.total_cmp(&b.0))?
        .1;
    let round = |g: &Gravity| -> Vec<bool> {
        rings
            .iter()
            .map(|r| off(g, r).is_some_and(|x| x < OUTLIER_SIGMAS))
            .collect()
    };
    let supporters: Vec<Ring> = rings
        .iter()
        .zip(round(&start))
        .filter(|(_, round)| *round)
        .map(|(r, _)| r.clone())
        .collect();
    let depth = table
        .filter(|t| start.angle_deg(t) < OUTLIER_SIGMAS * t.tilt_sigma_deg)
        .map(|t| DepthTilt {
            down: t.down,
            sigma: [t.tilt_sigma_deg.to_radians(); 2],
        });
    let gravity = refine(camera, &start, &supporters, depth).gravity;
    Some(Consensus {
        round: round(&gravity),
        gravity,
    })
}

/// The square of small errors, but only the logarithm of large ones.
fn cauchy_loss(sigmas: f64) -> f64 {
    CAUCHY_SIGMAS * CAUCHY_SIGMAS * (sigmas / CAUCHY_SIGMAS).powi(2).ln_1p()
}

/// Every tilt of the first search, in every direction in which the photo's bottom may be: a phone's is, and where these lean to.
pub(crate) fn candidates(leaning: [Option<&Gravity>; 2]) -> impl Iterator<Item = Gravity> {
    let upright = Gravity::from_pitch(0.0, 0.0, START_SIGMA_DEG);
    let ways = leaning.map(|g| {
        let g = g?;
        let flat = g.down[0].hypot(g.down[1]);
        (flat > MIN_SLOPE).then(|| [g.down[0] / flat, g.down[1] / flat])
    });
    let ways = std::iter::once([0.0, 1.0]).chain(ways.into_iter().flatten());
    ways.flat_map(move |[x, y]| {
        (0..=(STEEPEST_DEG / STEP_DEG) as usize).map(move |i| {
            let (sin, cos) = (STEP_DEG * i as f64).to_radians().sin_cos();
            Gravity {
                down: [sin * x, sin * y, cos],
                ..upright
            }
        })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::geometry::view::camera::View;

    fn camera() -> CameraModel {
        CameraModel::centred(640, 480, 520.0, 0.01)
    }

    /// A circle on the table, seen at this tilt.
    fn ring(tilt: f64, at: [f64; 2], radius: f64) -> Ring {
        let view = View::new(camera(), &Gravity::from_pitch(tilt, 0.0, 1.0));
        let middle = view.on_level(at[0], at[1], 0.0);
        let pixels = (0..120)
            .map(|i| {
                let (s, c) = (f64::from(i) * 3.0_f64.to_radians()).sin_cos();
                view.pixel_of([middle[0] + radius * c, middle[1] + radius * s], 0.0)
                    .unwrap()
            })
            .collect();
        Ring {
            pixels,
            height: 0.0,
            sigma: 0.014,
        }
    }

    #[test]
    fn a_thing_that_is_no_coin_is_outvoted() {
        let (plate, coin) = (ring(8.0, [330.0, 250.0], 0.3), ring(8.0, [120.0, 90.0], 0.05));
        let plug = ring(45.0, [560.0, 400.0], 0.04);
        let found = consensus(camera(), &[plug.clone(), coin, plate], None).unwrap();
        assert!(
            (found.gravity.tilt_deg() - 8.0).abs() < 1.0,
            "{:?}",
            found.gravity
        );
        assert_eq!(found.round, [false, true, true]);
        // The table decides between two.
        let table = Gravity::from_pitch(3.0, 0.0, 5.0);
        let coin = ring(8.0, [120.0, 90.0], 0.05);
        let found = consensus(camera(), &[plug, coin], Some(&table)).unwrap();
        assert_eq!(found.round, [false, true]);
        assert!(found.gravity.tilt_deg() < 10.0);
    }

    #[test]
    fn half_a_circle_counts_and_a_short_arc_does_not() {
        let mut plate = ring(25.0, [330.0, 250.0], 0.3);
        plate.pixels.truncate(66);
        let found = consensus(camera(), std::slice::from_ref(&plate), None).unwrap();
        assert!(
            (found.gravity.tilt_deg() - 25.0).abs() < 2.0,
            "{:?}",
            found.gravity
        );
        plate.pixels.truncate(20);
        assert!(consensus(camera(), &[plate], None).is_none());
    }

    #[test]
    fn the_table_shows_which_way_a_coin_leans() {
        let coin = ring(30.0, [300.0, 300.0], 0.05);
        let turned = Gravity::from_camera([0.0, -0.45, 0.9], 5.0).unwrap();
        let found = consensus(camera(), &[coin], Some(&turned)).unwrap();
        assert!(found.gravity.down[1] < -0.3, "{:?}", found.gravity);
        assert!(consensus(camera(), &[], Some(&turned)).is_none());
    }
}
