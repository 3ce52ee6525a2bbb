//! The whole measurement: read the masks and the raster once, then solve for any camera.

use super::error::GeometryError;
use super::limits;
use super::priors::CAMERA_HEIGHT_RANGE_CM;
use super::raster::surface::Surface;
use super::raster::table_fit::TableFit;
use super::solve::readings::Readings;
use super::solve::settle::settle_camera;
use super::solve::solution::{Detail, Solution, State, solve};
use super::solve::uncertainty;
use super::solve::warnings::warn;
use super::types::{Measured, Scene};
use super::view::camera::View;
use super::view::gravity::Gravity;
use crate::contract::result::PlaneFit;
use crate::contract::{DishKind, Warning, WarningCode};

/// Diameters of plates, cm.
const PLATE_RANGE_CM: std::ops::RangeInclusive<f64> = 12.0..=35.0;
/// From where a meal can be photographed at all, cm.
const POSSIBLE_HEIGHT_CM: std::ops::RangeInclusive<f64> = 5.0..=300.0;
/// The table's share in the slope under which the view is degenerate: priors decide.
const DEGENERATE_SHARE: f64 = 0.8;
/// From this tilt on a table must slope in the raster, and spread of `q` over it that shows a slope.
const SLOPING_DEG: f64 = 15.0;
const SLOPING_SPREAD: f64 = 0.02;
/// Correlation of the table's disparity with its plane: good, and surely wrong.
const GOOD_CORRELATION: f64 = 0.9;
const WRONG_CORRELATION: f64 = -0.5;
/// Share of the table samples in one plane under which the table is cluttered.
const CLUTTERED: f64 = 0.4;

/// Volumes of the scene's items with their intervals.
///
/// # Errors
/// See [`GeometryError`]; a scene that can be measured badly is measured, with flags and a wide interval.
pub fn measure(scene: &Scene<'_>) -> Result<Measured, GeometryError> {
    limits::check_scene(scene)?;
    let mut warnings = Vec::new();
    let surface = Surface::new(scene.depth, scene.camera.width, scene.camera.height)?;
    let mut readings = Readings::read(scene, &surface);
    if readings.table.points.len() < limits::TABLE_SAMPLES {
        return Err(GeometryError::TableNotVisible {
            samples: readings.table.points.len(),
            needed: limits::TABLE_SAMPLES,
        });
    }
    let camera = settle_camera(&mut readings, &mut warnings)?;
    let state = State {
        camera: camera.camera,
        gravity: camera.gravity,
        shift: 0.0,
    };
    let solution = solve(&readings, &state, Detail::All)?;
    let height_cm = solution.scale.height_cm;
    if !POSSIBLE_HEIGHT_CM.contains(&height_cm) {
        return Err(GeometryError::Implausible { height_cm });
    }
    check_table(
        &solution.fit,
        &camera.gravity,
        readings.metric,
        scene.gravity.is_some(),
        &mut warnings,
    )?;
    warn_of_view(&camera.gravity, &mut warnings);
    warn_of_scale(&solution, &mut warnings);
    let items = uncertainty::items(&readings, &state, &solution)?;
    let view = View::new(camera.camera, &camera.gravity);
    Ok(Measured {
        items,
        rims: solution
            .dishes
            .iter()
            .filter_map(|dish| dish.rim_pixels(&view))
            .collect(),
        camera,
        plane_fit: PlaneFit {
            inlier_fraction: solution.fit.inliers,
            residual_rel: solution.fit.residual_rel,
            correlation: (solution.fit.q_spread > 0.01).then_some(solution.fit.correlation),
            nadir_degenerate: solution.fit.by_table < DEGENERATE_SHARE,
        },
        scale: solution.scale.info(),
        warnings,
    })
}

fn warn_of_view(gravity: &Gravity, warnings: &mut Vec<Warning>) {
    if gravity.tilt_deg() < limits::NADIR_DEG {
        warn(
            warnings,
            WarningCode::Nadir,
            "seen from straight above: heights are uncertain; tilt the phone 20 to 45 degrees",
        );
    }
}

fn warn_of_scale(solution: &Solution, warnings: &mut Vec<Warning>) {
    let scale = &solution.scale;
    if scale
        .candidates
        .iter()
        .all(|(c, used)| !used || c.source.is_prior())
    {
        warn(
            warnings,
            WarningCode::ScalePrior,
            "nothing of known size was seen: the scale is a guess from usual plates and heights",
        );
    }
    if !CAMERA_HEIGHT_RANGE_CM.contains(&scale.height_cm) {
        warn(
            warnings,
            WarningCode::CameraHeightOdd,
            "the camera seems to be under 15 or over 90 cm away",
        );
    }
    let plates = solution.dishes.iter().filter(|d| d.kind == DishKind::Plate);
    for circle in plates.filter_map(|d| d.circle()) {
        if !PLATE_RANGE_CM.contains(&(2.0 * circle.radius * scale.height_cm)) {
            warn(
                warnings,
                WarningCode::PlateSizeOdd,
                "the plate would be under 12 or over 35 cm wide",
            );
        }
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
    if !metric && tilt_deg >= SLOPING_DEG && fit.q_spread > SLOPING_SPREAD {
        if stated && fit.correlation < WRONG_CORRELATION {
            return Err(GeometryError::PitchInconsistent {
                tilt_deg,
                reason: "it comes nearer towards the wrong side of the photo".to_owned(),
            });
        }
        if fit.correlation < GOOD_CORRELATION {
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
    if fit.inliers < CLUTTERED {
        warn(
            warnings,
            WarningCode::TableCluttered,
            "less than half of what should be table lies in one plane",
        );
    }
    Ok(())
}
