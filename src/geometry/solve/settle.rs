//! The camera that masks and raster agree on, and which samples are table and rim on the way.

use super::readings::Readings;
use super::sight::gravity_by_sight;
use super::stated::{OVERRULED_SIGMA_DEG, Verdict, judge};
use super::warnings::warn;
use crate::contract::{DishKind, Estimated, TiltSource, Warning, WarningCode, bounds};
use crate::geometry::dish::rim;
use crate::geometry::dish::samples::DishSamples;
use crate::geometry::dish::slope::slope_by_rim;
use crate::geometry::dish::ware::slope_by_ware;
use crate::geometry::error::GeometryError;
use crate::geometry::limits;
use crate::geometry::raster::free_plane::free_plane;
use crate::geometry::raster::reference::RefSamples;
use crate::geometry::raster::surface::Alignment;
use crate::geometry::raster::table;
use crate::geometry::types::CameraFit;
use crate::geometry::view::camera::View;
use crate::geometry::view::gravity::Gravity;
use crate::geometry::view::level::consensus;
use crate::geometry::view::tilt::{self, DepthTilt, Ring};

/// A rim shows the tilt with this much of it seen and at most this residual; sd of its ellipticity.
const RIM_COVERAGE: f64 = 0.6;
const RIM_RESIDUAL: f64 = 0.03;
const RIM_SIGMA: f64 = 0.008;
/// Refines gravity by circles and by the table, and settles which samples are table and rim.
pub(crate) fn settle_camera(
    readings: &mut Readings<'_, '_>,
    warnings: &mut Vec<Warning>,
) -> Result<CameraFit, GeometryError> {
    let camera = readings.scene.camera;
    let coins: Vec<Ring> = readings
        .references
        .iter()
        .flatten()
        .filter_map(RefSamples::ring)
        .collect();
    let (start, source) = match readings.scene.gravity {
        Some(stated) => weigh_stated(readings, &coins, stated, warnings),
        None => gravity_by_sight(readings, &coins, warnings)?,
    };
    limits::check_gravity(&start)?;
    // Read off the depth alone, the tilt may be over the limit where its p50 is not.
    let steepest = start.tilt_deg() + Estimated::Z90 * start.tilt_sigma_deg;
    if source == TiltSource::Depth && steepest > bounds::TILT_MAX_DEG {
        return Err(GeometryError::TiltTooLarge { tilt_deg: steepest });
    }
    let mut gravity = start;
    let mut tilt_source = vec![source];
    let mut from_circle = None;
    for round in 0..2 {
        let view = View::new(camera, &gravity);
        let alignment = settle_samples(readings, &view, gravity.tilt_sigma_deg.to_radians())?;
        let mut rings = plate_rims(readings, &view, alignment);
        if rings.is_empty() {
            rings.clone_from(&coins);
        }
        if round == 0 && !rings.is_empty() {
            from_circle = consensus(camera, &rings, None).map(|l| l.gravity.tilt_deg());
        }
        let refined = tilt::refine(camera, &start, &rings, depth_tilt(readings, &view, &start));
        gravity = refined.gravity;
        if source == TiltSource::Gravity {
            let refined_by = [
                (TiltSource::Circle, refined.by_circle),
                (TiltSource::Depth, refined.by_depth),
            ];
            tilt_source.truncate(1);
            tilt_source.extend(refined_by.into_iter().filter(|(_, yes)| *yes).map(|(by, _)| by));
        }
    }
    if readings.scene.gravity.is_some() && source != TiltSource::Gravity {
        gravity.tilt_sigma_deg = gravity.tilt_sigma_deg.hypot(OVERRULED_SIGMA_DEG);
    }
    limits::check_gravity(&gravity)?;
    Ok(CameraFit {
        camera,
        gravity,
        tilt_source,
        tilt_from_circle_deg: from_circle,
    })
}

/// The stated gravity, wider where the photo doubts it, or what the photo shows where that is sure.
fn weigh_stated(
    readings: &Readings<'_, '_>,
    coins: &[Ring],
    stated: Gravity,
    warnings: &mut Vec<Warning>,
) -> (Gravity, TiltSource) {
    match judge(readings, coins, &stated) {
        Verdict::Stands => (stated, TiltSource::Gravity),
        Verdict::Doubted { seen_deg, sigma_deg } => {
            let message = format!(
                "the stated tilt is {:.0} degrees, the photo looks as if taken from {seen_deg:.0}: the stated one is used, with a \
                 wider interval",
                stated.tilt_deg()
            );
            warn(warnings, WarningCode::PitchInconsistent, &message);
            let tilt_sigma_deg = sigma_deg;
            (
                Gravity {
                    tilt_sigma_deg,
                    ..stated
                },
                TiltSource::Gravity,
            )
        }
        Verdict::Overruled { seen, source } => {
            let message = format!(
                "the stated tilt is {:.0} degrees, but the round things and the table on the photo agree on {:.0}, which is used",
                stated.tilt_deg(),
                seen.tilt_deg()
            );
            warn(warnings, WarningCode::PitchInconsistent, &message);
            (seen, source)
        }
    }
}

/// Settles under this view which samples are table and rim, and what rims say of the raster's slope; the alignment by that.
fn settle_samples(
    readings: &mut Readings<'_, '_>,
    view: &View,
    tilt_sigma: f64,
) -> Result<Alignment, GeometryError> {
    let scene = readings.scene;
    readings.on_table = table::inliers(&readings.table, view, readings.metric, scene.seed);
    let fit = readings.fit_table(view, tilt_sigma)?;
    let by_network = readings.by_network();
    let halo_px = if by_network {
        readings.halo.width_px(view, fit.alignment)
    } else {
        0.0
    };
    for (i, dish) in readings.dishes.iter_mut().enumerate() {
        if by_network {
            let left_over = if readings.measured {
                fit.noise.of_mean(dish.ring_px())
            } else {
                fit.residual_rel
            };
            dish.relief_sigma = scene.relief_sigma.hypot(left_over);
            dish.halo_px = halo_px;
        }
        rim::find(dish, view, fit.alignment, scene.seed ^ i as u64);
    }
    if readings.metric {
        return Ok(fit.alignment);
    }
    let by_dish = |dish: &DishSamples| {
        if by_network {
            slope_by_ware(dish, view, &fit)
        } else {
            slope_by_rim(dish, view, &fit)
        }
    };
    readings.slopes = readings.dishes.iter().filter_map(by_dish).collect();
    Ok(readings.fit_table(view, tilt_sigma)?.alignment)
}

/// Rims of plates of which enough is seen.
fn plate_rims(readings: &Readings<'_, '_>, view: &View, alignment: Alignment) -> Vec<Ring> {
    let plates = readings.dishes.iter().filter(|d| d.kind == DishKind::Plate);
    plates
        .filter_map(|d| {
            let (circle, height) = rim::fit(d, view, alignment);
            let circle = circle?;
            (circle.coverage > RIM_COVERAGE && circle.residual_rel < RIM_RESIDUAL).then(|| Ring {
                pixels: d
                    .edge
                    .iter()
                    .zip(&d.on_rim)
                    .filter(|(_, k)| **k)
                    .map(|(p, _)| [p[0], p[1]])
                    .collect(),
                height,
                sigma: RIM_SIGMA,
            })
        })
        .collect()
}

fn depth_tilt(readings: &Readings<'_, '_>, view: &View, start: &Gravity) -> Option<DepthTilt> {
    let (n, covariance) = free_plane(&readings.table, &readings.on_table, view)?;
    let mut depth = if readings.metric {
        tilt::from_metric_plane(n, covariance, start)
    } else {
        tilt::from_relative_plane(n, covariance, start)?
    };
    // A network's plane leans by more than its residual tells.
    if readings.by_network() {
        let lean = readings.scene.table_tilt_sigma_deg.to_radians();
        depth.sigma = depth.sigma.map(|sigma| sigma.hypot(lean));
    }
    Some(depth)
}
