//! Bounds of the input: what cannot be measured at all.

use std::ops::RangeInclusive;

use super::error::GeometryError;
use super::types::Scene;
use super::view::camera::CameraModel;
use super::view::gravity::Gravity;
use crate::contract::bounds;

/// Under this the shift of relative disparity can hardly be told from its scale.
pub(crate) const NADIR_DEG: f64 = 12.0;
/// Fewest table samples (of some 6,000 over the photo) that make a plane.
pub(crate) const TABLE_SAMPLES: usize = 24;

/// Everything that can be checked before anything is read.
pub(crate) fn check_scene(scene: &Scene<'_>) -> Result<(), GeometryError> {
    check_camera(&scene.camera)?;
    if let Some(gravity) = &scene.gravity {
        check_gravity(gravity)?;
    }
    check_sizes(scene)?;
    if scene.items.is_empty() {
        return Err(GeometryError::NoFood);
    }
    Ok(())
}

fn check_camera(camera: &CameraModel) -> Result<(), GeometryError> {
    let invalid = |field, value, reason| Err(GeometryError::Invalid { field, value, reason });
    if camera.width < 16 || camera.height < 16 {
        return invalid(
            "width",
            camera.width as f64,
            "under 16 pixels nothing can be measured",
        );
    }
    let fov = camera.fov_long_deg();
    if !(camera.focal_px.is_finite() && camera.focal_px > 0.0 && bounds::FOV_LONG_DEG.contains(&fov)) {
        return invalid(
            "focal_px",
            camera.focal_px,
            "the field of view must be 10 to 130 degrees",
        );
    }
    if !(camera.focal_sigma_ln.is_finite() && (0.0..1.0).contains(&camera.focal_sigma_ln)) {
        return invalid("focal_sigma_ln", camera.focal_sigma_ln, "it must be 0 to 1");
    }
    let inside = |c: f64, n: usize| c.is_finite() && c > -(n as f64) && c < 2.0 * n as f64;
    if !inside(camera.cx, camera.width) || !inside(camera.cy, camera.height) {
        return invalid("cx", camera.cx, "the principal point lies far outside the photo");
    }
    Ok(())
}

pub(crate) fn check_gravity(gravity: &Gravity) -> Result<(), GeometryError> {
    let tilt = gravity.tilt_deg();
    if !tilt.is_finite() || !gravity.tilt_sigma_deg.is_finite() {
        return Err(GeometryError::Invalid {
            field: "gravity",
            value: tilt,
            reason: "it must be a finite vector",
        });
    }
    if tilt > bounds::TILT_MAX_DEG {
        return Err(GeometryError::TiltTooLarge { tilt_deg: tilt });
    }
    Ok(())
}

fn check_sizes(scene: &Scene<'_>) -> Result<(), GeometryError> {
    let expected = [scene.camera.width, scene.camera.height];
    let masks = scene
        .items
        .iter()
        .map(|r| ("item mask", r.mask))
        .chain(scene.dishes.iter().map(|d| ("dish mask", d.mask)))
        .chain(scene.references.iter().map(|r| ("reference mask", r.mask)))
        .chain(scene.others.iter().map(|m| ("mask", *m)));
    for (what, mask) in masks {
        let found = [mask.width(), mask.height()];
        if found != expected {
            return Err(GeometryError::SizeMismatch {
                what,
                found,
                expected,
            });
        }
    }
    let within = |field, value: Option<f64>, range: RangeInclusive<f64>| match value {
        Some(v) if !range.contains(&v) => Err(GeometryError::Invalid {
            field,
            value: v,
            reason: "out of any sensible range",
        }),
        _ => Ok(()),
    };
    for dish in &scene.dishes {
        within("plate diameter_cm", dish.diameter_cm, bounds::PLATE_CM)?;
    }
    for object in &scene.references {
        within("coin diameter_cm", object.diameter_cm, bounds::COIN_CM)?;
    }
    within(
        "camera height_cm",
        scene.camera_height_cm.map(|h| h.p50),
        bounds::CAMERA_HEIGHT_CM,
    )
}
