//! The whole measurement: read the masks and the raster once, then solve for any camera.

use super::camera::View;
use super::error::GeometryError;
use super::gravity::Gravity;
use super::limits;
use super::prepared::Prepared;
use super::scale::LIKELY_CM;
use super::scene::{Measured, Scene};
use super::solve::State;
use super::surface::Surface;
use super::table::TableFit;
use super::uncertainty;
use crate::contract::result::PlaneFit;
use crate::contract::{DishKind, Warning, WarningCode};

/// Volumes of the scene's items with their intervals.
///
/// # Errors
/// See [`GeometryError`]; a scene that can be measured badly is measured, with flags and a wide interval.
pub fn measure(scene: &Scene<'_>) -> Result<Measured, GeometryError> {
    limits::check_camera(&scene.camera)?;
    if let Some(gravity) = &scene.gravity {
        limits::check_gravity(gravity)?;
    }
    limits::check_sizes(scene)?;
    if scene.items.is_empty() {
        return Err(GeometryError::NoFood);
    }
    let mut warnings = Vec::new();
    let surface = Surface::new(scene.depth, scene.camera.width, scene.camera.height)?;
    let mut prepared = Prepared::read(scene, &surface);
    if prepared.table.points.len() < limits::TABLE_SAMPLES {
        return Err(GeometryError::TableNotVisible {
            samples: prepared.table.points.len(),
            needed: limits::TABLE_SAMPLES,
        });
    }
    let camera = prepared.settle_camera(&mut warnings)?;
    let state = State {
        camera: camera.camera,
        gravity: camera.gravity,
        shift: 0.0,
    };
    let solution = prepared.solve(&state, false)?;
    let stated = scene.gravity.is_some();
    check_table(
        &solution.fit,
        &camera.gravity,
        prepared.metric,
        stated,
        &mut warnings,
    )?;
    let tilt = camera.gravity.tilt_deg();
    if tilt < limits::NADIR_DEG {
        warn(
            &mut warnings,
            WarningCode::Nadir,
            "seen from straight above: heights are uncertain; tilt the phone 20 to 45 degrees",
        );
    }
    if solution
        .scale
        .candidates
        .iter()
        .all(|(c, used)| !used || c.source.is_prior())
    {
        warn(
            &mut warnings,
            WarningCode::ScalePrior,
            "nothing of known size was seen: the scale is a guess from usual plates and heights",
        );
    }
    if !LIKELY_CM.contains(&solution.scale.height_cm) {
        warn(
            &mut warnings,
            WarningCode::CameraHeightOdd,
            "the camera seems to be under 15 or over 90 cm away",
        );
    }
    for dish in &solution.dishes {
        if let Some(c) = dish.circle
            && dish.kind == DishKind::Plate
        {
            let d = 2.0 * c.radius * solution.scale.height_cm;
            if !(12.0..=35.0).contains(&d) {
                warn(
                    &mut warnings,
                    WarningCode::PlateSizeOdd,
                    "the plate would be under 12 or over 35 cm wide",
                );
            }
        }
    }
    let items = uncertainty::items(&prepared, &state, &solution)?;
    Ok(Measured {
        items,
        rims: solution
            .dishes
            .iter()
            .filter_map(|dish| dish.rim_pixels(&View::new(camera.camera, &camera.gravity)))
            .collect(),
        camera,
        plane_fit: PlaneFit {
            inlier_fraction: solution.fit.inliers,
            residual_rel: solution.fit.residual_rel,
            correlation: (solution.fit.q_spread > 0.01).then_some(solution.fit.correlation),
            nadir_degenerate: solution.fit.by_table < 0.8,
        },
        scale: solution.scale.info(),
        warnings,
    })
}

pub(crate) fn warn(warnings: &mut Vec<Warning>, code: WarningCode, message: &str) {
    if warnings.iter().all(|w| w.code != code) {
        warnings.push(Warning::new(code, message));
    }
}

/// The table must look like a table under this tilt.
fn check_table(
    fit: &TableFit,
    gravity: &Gravity,
    metric: bool,
    stated: bool,
    warnings: &mut Vec<Warning>,
) -> Result<(), GeometryError> {
    let tilt_deg = gravity.tilt_deg();
    if !metric && tilt_deg >= 15.0 && fit.q_spread > 0.02 {
        if stated && fit.correlation < -0.5 {
            return Err(GeometryError::PitchInconsistent {
                tilt_deg,
                reason: "it comes nearer towards the wrong side of the photo".to_owned(),
            });
        }
        if fit.correlation < 0.9 {
            warn(
                warnings,
                WarningCode::PlaneFitPoor,
                "the depth of the table does not follow a plane well",
            );
        }
    }
    if fit.alignment.a <= 0.0 || !fit.alignment.a.is_finite() {
        return Err(GeometryError::PitchInconsistent {
            tilt_deg,
            reason: "the fitted table lies behind the camera".to_owned(),
        });
    }
    if fit.inliers < 0.4 {
        warn(
            warnings,
            WarningCode::TableCluttered,
            "less than half of what should be table lies in one plane",
        );
    }
    Ok(())
}
