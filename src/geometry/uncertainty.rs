//! From a solution to intervals: derivatives by a few extra solutions, then Monte-Carlo on those.
//!
//! Every unknown that items share (focal length, tilt, sideways lean, depth shift) is moved by one standard deviation
//! either way and everything is solved again on a part of the samples. The draws then run on the slope and curvature
//! of ln(volume), so their number costs nothing.

use super::error::GeometryError;
use super::limits;
use super::measure::{Prepared, Solution, State};
use super::outline::border_share;
use super::random::{Random, quantile};
use super::scene::{DishKind, ItemGeometry};
use super::shape::ShapeClass;
use crate::contract::Estimated;
use crate::contract::result::VolumeBounds;

/// Draws of the shared unknowns; one row of normals for each.
const DRAWS: usize = 256;
const SHARED: usize = 4;

pub(crate) fn items(
    prepared: &Prepared<'_, '_>,
    state: &State,
    solution: &Solution,
) -> Result<Vec<ItemGeometry>, GeometryError> {
    let n = solution.items.len();
    let ln = |s: &Solution| -> Vec<f64> { s.items.iter().map(|i| i.volume_cm3.max(1e-6).ln()).collect() };
    let middle = ln(&prepared.solve(state, true)?);
    let mut slopes = vec![[0.0; SHARED]; n];
    let mut bends = vec![[0.0; SHARED]; n];
    let lean = state.gravity.lean_sigma();
    for k in 0..SHARED {
        let moved = |sign: f64| {
            let mut s = *state;
            match k {
                0 => s.camera.focal_px *= (sign * s.camera.focal_sigma_ln).exp(),
                1 => s.gravity = s.gravity.leaned([sign * lean[0], 0.0]),
                2 => s.gravity = s.gravity.leaned([0.0, sign * lean[1]]),
                _ => s.shift += sign,
            }
            s
        };
        if (k == 0 && state.camera.focal_sigma_ln == 0.0) || (k == 3 && prepared.metric) {
            continue;
        }
        let up = prepared
            .solve(&moved(1.0), true)
            .map(|s| ln(&s))
            .unwrap_or_else(|_| middle.clone());
        let down = prepared
            .solve(&moved(-1.0), true)
            .map(|s| ln(&s))
            .unwrap_or_else(|_| middle.clone());
        for i in 0..n {
            // An unknown that throws a volume about is worth no more than a factor of e.
            slopes[i][k] = (0.5 * (up[i] - down[i])).clamp(-1.0, 1.0);
            bends[i][k] = (0.5 * (up[i] + down[i]) - middle[i]).clamp(-0.3, 0.3);
        }
    }
    let mut random = Random::new(prepared.scene.seed ^ 0x5ca1e);
    let shared: Vec<[f64; SHARED + 1]> = (0..DRAWS)
        .map(|_| std::array::from_fn(|_| random.normal()))
        .collect();
    let scale_sigma = 3.0 * solution.scale.sigma_ln;
    let mut out = Vec::with_capacity(n);
    for (i, item) in solution.items.iter().enumerate() {
        let region = &prepared.scene.items[i];
        let mut flags = Vec::new();
        let h = solution.scale.height_cm;
        limits::item_flags(&item.integrals, item.volume_cm3, h, &mut flags);
        let mut own = item.shape_sigma.hypot(item.base_sigma);
        let bowl = item
            .dish
            .is_some_and(|d| solution.dishes[d].kind == DishKind::Bowl);
        if bowl {
            flags.push("bowl");
        }
        if region.shape == ShapeClass::Unknown {
            flags.push("shape_unknown");
        }
        if prepared.gaps(i) > 0.1 {
            flags.push("depth_gaps");
            own = own.hypot(prepared.gaps(i));
        }
        // What the raster leaves on the table it also leaves on the food.
        let relief = item.integrals.columns / item.integrals.footprint.max(1e-9);
        own = own.hypot((solution.fit.residual_rel / relief.max(1e-3)).min(0.6));
        let cut = border_share(region.mask);
        if cut > 0.01 {
            flags.push("touches_edge");
            own = own.hypot(2.0 * cut);
        }
        // One pixel of mask edge all round, three quarters of the volume per area.
        let area = region.mask.area() as f64;
        own = own.hypot(0.75 * 2.0 * 0.5 / (area / std::f64::consts::PI).sqrt());
        let collapsed = item.integrals.columns <= 0.0;
        if collapsed {
            flags.push("no_relief");
            own = own.hypot(0.7);
        }
        // Where the visible surface says nothing, two centimetres over the footprint (food.md 2.8).
        let fallback = item.integrals.footprint.abs().max(1e-9) * h * h * 2.0;
        let nominal = if collapsed { fallback } else { item.volume_cm3 };
        let shared_sigma = slopes[i]
            .iter()
            .map(|s| s * s)
            .sum::<f64>()
            .sqrt()
            .hypot(scale_sigma);
        let draws: Vec<f64> = shared
            .iter()
            .map(|z| {
                let mut x = scale_sigma * z[SHARED] + own * random.normal();
                for k in 0..SHARED {
                    x += slopes[i][k] * z[k] + bends[i][k] * (z[k] * z[k] - 1.0);
                }
                nominal * x.clamp(-3.0, 3.0).exp()
            })
            .collect();
        let mut sorted = draws.clone();
        let volume_cm3 = Estimated {
            p10: quantile(&mut sorted, 0.1).unwrap_or(nominal).min(nominal),
            p50: nominal,
            p90: quantile(&mut sorted, 0.9).unwrap_or(nominal).max(nominal),
        };
        out.push(ItemGeometry {
            volume_cm3,
            bounds: VolumeBounds {
                visible_columns_cm3: item.integrals.columns * h.powi(3),
                frustum_cm3: item.integrals.frustum * h.powi(3),
            },
            mean_height_cm: nominal / (item.integrals.footprint * h * h).abs().max(1e-9),
            max_height_cm: item.integrals.max_height * h,
            footprint_cm2: item.integrals.footprint * h * h,
            dish: item.dish,
            flags,
            shared_sigma_ln: shared_sigma,
            own_sigma_ln: own,
            draws,
        });
    }
    Ok(out)
}
