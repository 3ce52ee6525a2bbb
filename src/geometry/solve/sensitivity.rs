//! What one sd of each shared unknown does to every volume, by solving again (geometry.md 8.1).

use super::fusion::SHARED;
use super::readings::Readings;
use super::solution::{Detail, Solution, State, solve};
use crate::geometry::error::GeometryError;

/// First and second differences of ln(volume) by each shared unknown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sensitivity {
    pub(crate) slopes: [f64; SHARED],
    pub(crate) curvatures: [f64; SHARED],
}

/// An unknown that throws a volume about counts as a factor of e at most.
const MAX_SLOPE: f64 = 1.0;
const MAX_CURVATURE: f64 = 0.3;

/// The state with the `k`-th unknown moved by so many sigmas: focal length, tilt, lean across the tilt, depth shift.
fn moved(state: &State, k: usize, sigmas: f64) -> State {
    let mut s = *state;
    let lean = state.gravity.lean_sigma();
    match k {
        0 => s.camera.focal_px *= (sigmas * s.camera.focal_sigma_ln).exp(),
        1 => s.gravity = s.gravity.leaned([sigmas * lean[0], 0.0]),
        2 => s.gravity = s.gravity.leaned([0.0, sigmas * lean[1]]),
        _ => s.shift += sigmas,
    }
    s
}

/// ln(volume) of every item by relief and by outline.
fn ln_volumes(solution: &Solution) -> Vec<[f64; 2]> {
    let h = solution.scale.height_cm;
    solution
        .items
        .iter()
        .map(|item| {
            let by_outline = item.by_outline(h).map_or(1.0, |o| o.volume_cm3);
            [item.volume.cm3(h), by_outline].map(|v| v.max(1e-6).ln())
        })
        .collect()
}

/// Sensitivity of every item's volume by relief and by outline.
pub(crate) fn sensitivities(
    readings: &Readings<'_, '_>,
    state: &State,
) -> Result<Vec<[Sensitivity; 2]>, GeometryError> {
    let middle = ln_volumes(&solve(readings, state, Detail::Coarse)?);
    let mut out = vec![[Sensitivity::default(); 2]; middle.len()];
    for k in 0..SHARED {
        if (k == 0 && state.camera.focal_sigma_ln == 0.0) || (k == 3 && readings.metric) {
            continue;
        }
        // A state that has no solution says nothing.
        let at = |sigmas: f64| {
            let solved = solve(readings, &moved(state, k, sigmas), Detail::Coarse);
            solved.map_or_else(|_| middle.clone(), |s| ln_volumes(&s))
        };
        let (up, down) = (at(1.0), at(-1.0));
        for (i, item) in out.iter_mut().enumerate() {
            for (j, d) in item.iter_mut().enumerate() {
                let (up, down, middle) = (up[i][j], down[i][j], middle[i][j]);
                d.slopes[k] = (0.5 * (up - down)).clamp(-MAX_SLOPE, MAX_SLOPE);
                d.curvatures[k] = (0.5 * (up + down) - middle).clamp(-MAX_CURVATURE, MAX_CURVATURE);
            }
        }
    }
    Ok(out)
}
