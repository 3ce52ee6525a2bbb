//! From a solution to intervals: derivatives by a few extra solutions, then Monte-Carlo on those.
//!
//! Every unknown that items share (focal length, tilt, sideways lean, depth shift) is moved by one standard deviation
//! either way and everything is solved again on a part of the samples. The draws then run on the slope and curvature
//! of ln(volume), so their number costs nothing. The volume by relief and the volume by outline are fused before.

use super::error::GeometryError;
use super::fusion::{Opinion, SHARED, fuse};
use super::limits;
use super::outline::border_share;
use super::portion::SCALE_POWER;
use super::prepared::Prepared;
use super::random::{Random, quantile};
use super::scene::ItemGeometry;
use super::shape::ShapeClass;
use super::solve::{ItemSolution, Solution, State};
use crate::contract::result::VolumeBounds;
use crate::contract::{DishKind, Estimated, ItemFlag};

/// Draws of the shared unknowns; one row of normals for each.
const DRAWS: usize = 256;

/// What one sd of each shared unknown does to ln(volume).
#[derive(Debug, Clone, Copy, Default)]
struct Derivatives {
    slopes: [f64; SHARED],
    bends: [f64; SHARED],
}

/// Derivatives of every item's volume by relief and by outline.
fn derivatives(prepared: &Prepared<'_, '_>, state: &State) -> Result<Vec<[Derivatives; 2]>, GeometryError> {
    let ln = |s: &Solution| -> Vec<[f64; 2]> {
        s.items
            .iter()
            .map(|i| [i.volume_cm3, i.by_outline.map_or(1.0, |o| o.volume_cm3)].map(|v| v.max(1e-6).ln()))
            .collect()
    };
    let middle = ln(&prepared.solve(state, true)?);
    let mut out = vec![[Derivatives::default(); 2]; middle.len()];
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
        let at = |sign: f64| {
            let solved = prepared.solve(&moved(sign), true);
            solved.map_or_else(|_| middle.clone(), |s| ln(&s))
        };
        let (up, down) = (at(1.0), at(-1.0));
        for (i, item) in out.iter_mut().enumerate() {
            for (j, d) in item.iter_mut().enumerate() {
                // An unknown that throws a volume about is worth no more than a factor of e.
                d.slopes[k] = (0.5 * (up[i][j] - down[i][j])).clamp(-1.0, 1.0);
                d.bends[k] = (0.5 * (up[i][j] + down[i][j]) - middle[i][j]).clamp(-0.3, 0.3);
            }
        }
    }
    Ok(out)
}

/// Largest sd of ln(volume) by what the raster is off, where the view slants.
const RELIEF_DOUBT_MAX: f64 = 0.8;

/// The volume by relief, with flags for what makes it doubtful.
fn by_relief(
    prepared: &Prepared<'_, '_>,
    solution: &Solution,
    index: usize,
    tilt_deg: f64,
    of: &Derivatives,
    flags: &mut Vec<ItemFlag>,
) -> Opinion {
    let item = &solution.items[index];
    let h = solution.scale.height_cm;
    let mut own = item.shape_sigma.hypot(item.base_sigma);
    let gaps = prepared.gaps(index);
    if gaps > 0.1 {
        flags.push(ItemFlag::DepthGaps);
        own = own.hypot(gaps);
    }
    // What the raster leaves on the table it also leaves on the food, and the network's own error with it.
    let relief = (item.integrals.columns / item.integrals.footprint.max(1e-9)).max(1e-3);
    // From straight above a network sees hardly any relief: four times the median error (model card of `plate-tiny`), and some
    // show none, which then says nothing.
    let from_above = 1.0 + 4.0 * (1.0 - tilt_deg / 20.0).max(0.0);
    let off = solution
        .fit
        .residual_rel
        .hypot(prepared.scene.relief_sigma * from_above);
    own = own.hypot((off / relief).min(RELIEF_DOUBT_MAX * from_above));
    let collapsed = item.integrals.columns <= 0.0;
    if collapsed {
        flags.push(ItemFlag::NoRelief);
        own = own.hypot(0.7);
    }
    // Where the visible surface says nothing, two centimetres over the footprint (food.md 2.8).
    let fallback = item.integrals.footprint.abs().max(1e-9) * h * h * 2.0;
    let nominal = if collapsed { fallback } else { item.volume_cm3 };
    Opinion {
        ln: nominal.max(1e-6).ln(),
        slopes: of.slopes,
        bends: of.bends,
        power: 3.0,
        own,
    }
}

/// Least height over the table that the raster must show of something that is not on a dish.
const FLAT_CM: f64 = 0.25;

fn is_flat(item: &ItemSolution, solution: &Solution, relief_sigma: f64) -> bool {
    let h = solution.scale.height_cm;
    let mean = item.integrals.columns / item.integrals.footprint.max(1e-9) * h;
    let sure = solution.fit.residual_rel.hypot(relief_sigma) * h < FLAT_CM;
    item.dish.is_none() && sure && mean < FLAT_CM
}

pub(crate) fn items(
    prepared: &Prepared<'_, '_>,
    state: &State,
    solution: &Solution,
) -> Result<Vec<ItemGeometry>, GeometryError> {
    let derivatives = derivatives(prepared, state)?;
    let mut random = Random::new(prepared.scene.seed ^ 0x5ca1e);
    let shared: Vec<[f64; SHARED + 1]> = (0..DRAWS)
        .map(|_| std::array::from_fn(|_| random.normal()))
        .collect();
    let scale_sigma = solution.scale.sigma_ln;
    let tilt_deg = state.gravity.tilt_deg();
    let h = solution.scale.height_cm;
    let mut out = Vec::with_capacity(solution.items.len());
    for (i, item) in solution.items.iter().enumerate() {
        let region = &prepared.scene.items[i];
        let mut flags = Vec::new();
        let relief = by_relief(prepared, solution, i, tilt_deg, &derivatives[i][0], &mut flags);
        let outline = item.by_outline.map(|o| Opinion {
            ln: o.volume_cm3.max(1e-6).ln(),
            slopes: derivatives[i][1].slopes,
            bends: derivatives[i][1].bends,
            power: SCALE_POWER,
            own: o.sigma_ln,
        });
        let (mut volume, share) = match &outline {
            // Nothing rises there: the outline alone speaks, and is doubted for it.
            Some(outline) if item.integrals.columns <= 0.0 => {
                let own = outline.own.hypot(0.15);
                (Opinion { own, ..*outline }, 0.0)
            }
            Some(outline) => {
                let (fused, share, apart) = fuse(&relief, outline);
                if apart > 2.5 {
                    flags.push(ItemFlag::UnusualSize);
                }
                (fused, share)
            }
            None => (relief, 1.0),
        };
        let bowl = item
            .dish
            .is_some_and(|d| solution.dishes[d].kind == DishKind::Bowl);
        if bowl {
            flags.push(ItemFlag::Bowl);
        }
        if region.shape == ShapeClass::Unknown {
            flags.push(ItemFlag::ShapeUnknown);
        }
        if is_flat(item, solution, prepared.scene.relief_sigma) {
            flags.push(ItemFlag::Flat);
        }
        let cut = border_share(region.mask);
        if cut > 0.01 {
            flags.push(ItemFlag::TouchesEdge);
            volume.own = volume.own.hypot(2.0 * cut);
        }
        // One pixel of mask edge all round, three quarters of the volume per area.
        let area = region.mask.area() as f64;
        volume.own = volume.own.hypot(0.75 / (area / std::f64::consts::PI).sqrt());
        let nominal = volume.ln.exp();
        // The plan area by the opinion that decides.
        let by_depth = item.integrals.footprint.abs() * h * h;
        let plan = match item.by_outline {
            Some(o) if by_depth > 0.0 => (share * by_depth.ln() + (1.0 - share) * o.area_cm2.ln()).exp(),
            Some(o) => o.area_cm2,
            None => by_depth,
        };
        let mean_height_cm = nominal / plan.max(1e-3);
        limits::item_flags(&item.integrals, nominal, mean_height_cm, share, &mut flags);
        let draws: Vec<f64> = shared
            .iter()
            .map(|z| {
                let mut x = volume.power * scale_sigma * z[SHARED] + volume.own * random.normal();
                for ((slope, bend), z) in volume.slopes.iter().zip(&volume.bends).zip(z) {
                    x += slope * z + bend * (z * z - 1.0);
                }
                nominal * x.clamp(-3.0, 3.0).exp()
            })
            .collect();
        let mut sorted = draws.clone();
        out.push(ItemGeometry {
            volume_cm3: Estimated {
                p10: quantile(&mut sorted, 0.1).unwrap_or(nominal).min(nominal),
                p50: nominal,
                p90: quantile(&mut sorted, 0.9).unwrap_or(nominal).max(nominal),
            },
            bounds: VolumeBounds {
                visible_columns_cm3: item.integrals.columns * h.powi(3),
                frustum_cm3: item.integrals.frustum * h.powi(3),
            },
            mean_height_cm,
            max_height_cm: item.integrals.max_height * h,
            footprint_cm2: plan,
            depth_share: share,
            dish: item.dish,
            flags,
            shared_sigma_ln: volume
                .slopes
                .iter()
                .map(|s| s * s)
                .sum::<f64>()
                .sqrt()
                .hypot(volume.power * scale_sigma),
            own_sigma_ln: volume.own,
            draws,
        });
    }
    Ok(out)
}
