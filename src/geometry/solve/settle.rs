//! The camera that masks and raster agree on, and which samples are table and rim on the way.

use super::readings::Readings;
use super::sight::gravity_by_sight;
use super::warnings::warn;
use crate::contract::{DishKind, Estimated, TiltSource, Warning, WarningCode, bounds};
use crate::geometry::dish::rim;
use crate::geometry::dish::slope::slope_by_rim;
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
/// A stated pitch is doubted if gravity moved by so many of its sigmas (of at least a degree), or if the circles alone show a
/// tilt that is so many degrees off.
const MOVED_SIGMAS: f64 = 4.0;
const CIRCLE_OFF_DEG: f64 = 12.0;

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
        Some(g) => (g, TiltSource::Gravity),
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
    if let Some(stated) = &readings.scene.gravity {
        doubt_stated(stated, &gravity, from_circle, warnings);
    }
    limits::check_gravity(&gravity)?;
    Ok(CameraFit {
        camera,
        gravity,
        tilt_source,
        tilt_from_circle_deg: from_circle,
    })
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
    for (i, dish) in readings.dishes.iter_mut().enumerate() {
        if scene.relief_sigma > 0.0 {
            dish.relief_sigma = scene.relief_sigma.hypot(fit.residual_rel);
        }
        rim::find(dish, view, fit.alignment, scene.seed ^ i as u64);
    }
    if readings.metric {
        return Ok(fit.alignment);
    }
    readings.slopes = readings
        .dishes
        .iter()
        .filter_map(|d| slope_by_rim(d, view, &fit))
        .collect();
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
    if readings.metric {
        Some(tilt::from_metric_plane(n, covariance, start))
    } else {
        tilt::from_relative_plane(n, covariance, start)
    }
}

/// Warns where the photo contradicts the stated gravity.
fn doubt_stated(
    stated: &Gravity,
    settled: &Gravity,
    from_circle_deg: Option<f64>,
    warnings: &mut Vec<Warning>,
) {
    if settled.angle_deg(stated) > MOVED_SIGMAS * stated.tilt_sigma_deg.max(1.0) {
        warn(
            warnings,
            WarningCode::PitchInconsistent,
            "the stated pitch does not fit the plate and the table in the photo",
        );
    }
    if from_circle_deg.is_some_and(|seen| (seen - stated.tilt_deg()).abs() > CIRCLE_OFF_DEG) {
        warn(
            warnings,
            WarningCode::PitchInconsistent,
            "the plate's ellipse shows another tilt than the stated pitch",
        );
    }
}
