//! Values that parse but cannot be. Each refusal names its field.

use crate::contract::depth_map::DepthMap;
use crate::contract::recompute::MAX_NOTE_CHARS;
use crate::contract::request::{CameraHint, CameraPose, ImageSource, ItemHint};
use crate::contract::{ErrorCode, ReferenceKind, ScanError, ScanRequest, bounds};

use super::{Shot, depth_map};

pub(crate) fn invalid(field: &str, why: impl std::fmt::Display) -> ScanError {
    ScanError::new(ErrorCode::InvalidField, format!("{field}: {why}"))
}

/// `value` is finite and within `range`.
pub(crate) fn within(
    field: &str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
    unit: &str,
) -> Result<(), ScanError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(invalid(
        field,
        format_args!(
            "{value} is not between {} and {} {unit}",
            range.start(),
            range.end()
        ),
    ))
}

/// What a request may ask for; the rest of its bounds are the same for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// Hints; each with a place costs a mask.
    pub hints: usize,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self { hints: bounds::HINTS }
    }
}

fn short(field: &str, text: &str, most: usize) -> Result<(), ScanError> {
    if text.len() > most {
        return Err(invalid(
            field,
            format_args!("has {} bytes; the limit is {most}", text.len()),
        ));
    }
    Ok(())
}

fn is_pixel(c: f64) -> bool {
    bounds::PIXEL.contains(&c)
}

fn source(image: &ImageSource) -> Result<(), ScanError> {
    match image {
        ImageSource::Url(url) => short("image.url", url, bounds::ADDRESS_BYTES),
        ImageSource::S3(uri) => short("image.s3", uri, bounds::ADDRESS_BYTES),
        // Photos have a limit of their own.
        ImageSource::Base64(_) | ImageSource::Bytes(_) => Ok(()),
    }
}

/// Everything of a request but the photo itself.
///
/// # Errors
/// `invalid_field`, naming the first field at fault.
pub fn request(request: &ScanRequest, limits: &RequestLimits) -> Result<(), ScanError> {
    source(&request.image)?;
    for (field, text) in [("scan_id", &request.scan_id), ("user_id", &request.user_id)] {
        if let Some(text) = text {
            short(field, text, bounds::ID_BYTES)?;
        }
    }
    shot(&Shot::from_request(request))?;
    if let Some(note) = &request.note
        && note.chars().count() > MAX_NOTE_CHARS
    {
        return Err(invalid(
            "note",
            format_args!("has over {MAX_NOTE_CHARS} characters"),
        ));
    }
    request.depth.as_ref().map_or(Ok(()), depth)?;
    for (i, photo) in request.more.iter().enumerate() {
        source(&photo.image)
            .and_then(|()| shot(&Shot::from_photo(photo)))
            .and_then(|()| photo.depth.as_ref().map_or(Ok(()), depth))
            .map_err(|e| e.of(&format!("images[{}]", i + 1)))?;
    }
    if let Some(reference) = &request.reference {
        let (range, needed) = match reference.kind {
            ReferenceKind::Plate => (bounds::PLATE_CM, true),
            ReferenceKind::Coin => (bounds::COIN_CM, true),
            ReferenceKind::Card => (bounds::PLATE_CM, false),
        };
        match reference.diameter_cm {
            Some(d) => within("reference.diameter_cm", d, range, "cm")?,
            None if needed => {
                return Err(invalid(
                    "reference.diameter_cm",
                    "is needed for a plate or a coin",
                ));
            }
            None => {}
        }
    }
    let hints = request.hints.items.len();
    if hints > limits.hints {
        return Err(invalid(
            "hints.items",
            format_args!("has {hints} items; the limit is {}", limits.hints),
        ));
    }
    request
        .hints
        .items
        .iter()
        .enumerate()
        .try_for_each(|(i, item)| hint(i, item, request.photos()))
}

/// A depth map but for its values.
fn depth(map: &DepthMap) -> Result<(), ScanError> {
    source(&map.data).map_err(|e| e.of("depth.data"))?;
    if let Some(confidence) = &map.confidence {
        source(&confidence.data).map_err(|e| e.of("depth.confidence.data"))?;
    }
    depth_map::check(map)
}

/// The fields that say how the photo was taken.
///
/// # Errors
/// `invalid_field`, naming the first field at fault.
pub fn shot(shot: &Shot) -> Result<(), ScanError> {
    if let Some(pitch) = shot.pitch_deg {
        self::pitch("pitch_deg", pitch)?;
    }
    if let Some(roll) = shot.roll_deg {
        within("roll_deg", roll, bounds::ROLL_DEG, "degrees")?;
    }
    if let Some(gravity) = shot.gravity {
        self::gravity("gravity", gravity)?;
    }
    camera(&shot.camera)
}

/// 0 = lens straight down, 90 = level.
pub(crate) fn pitch(field: &str, value: f64) -> Result<(), ScanError> {
    if (-180.0..*bounds::PITCH_DEG.start()).contains(&value) {
        return Err(invalid(
            field,
            format_args!("{value} is negative: 0 must mean straight down and 90 upright"),
        )
        .next_step(
            "Android's getOrientation() gives the negative of this pitch: send it without the sign; \
             an elevation above the horizon (-90 = straight down) becomes 90 + elevation",
        ));
    }
    within(field, value, bounds::PITCH_DEG, "degrees")
        .map_err(|e| e.next_step("0 = phone flat with the lens straight down, 90 = upright"))
}

/// Finite, not a null vector, and down rather than up.
pub(crate) fn gravity(field: &str, v: [f64; 3]) -> Result<(), ScanError> {
    let norm = v.iter().map(|c| c * c).sum::<f64>().sqrt();
    if !norm.is_finite() || norm < 1e-3 {
        return Err(invalid(field, format_args!("{v:?} is not a direction")));
    }
    if v[2] / norm > 0.2 {
        return Err(invalid(
            field,
            format_args!("{v:?} points out of the screen: the lens would look upward"),
        )
        .next_step(
            "send the direction of down in device axes (x right, y to the top, z out of the screen); \
             Android's TYPE_GRAVITY points up: negate all three",
        ));
    }
    Ok(())
}

fn camera(camera: &CameraHint) -> Result<(), ScanError> {
    if let Some(fov) = camera.fov_long_deg {
        within("camera.fov_long_deg", fov, bounds::FOV_LONG_DEG, "degrees")?;
    }
    if let Some(f35) = camera.f35_mm {
        within("camera.f35_mm", f35, bounds::F35_MM, "mm")?;
    }
    if let Some(f) = camera.focal_px {
        within("camera.focal_px", f, bounds::FOCAL_PX, "pixels")?;
    }
    if let Some(h) = camera.height_cm {
        within("camera.height_cm", h, bounds::CAMERA_HEIGHT_CM, "cm")?;
    }
    camera.pose.as_ref().map_or(Ok(()), pose)
}

/// A rotation and a place over the table, from which the camera does not look up.
fn pose(pose: &CameraPose) -> Result<(), ScanError> {
    const FIELD: &str = "camera.pose.transform";
    let t = &pose.transform;
    for number in t {
        within(FIELD, *number, bounds::POSE_M, "metres")?;
    }
    let column = |k: usize| [t[4 * k], t[4 * k + 1], t[4 * k + 2]];
    let dot = |a: [f64; 3], b: [f64; 3]| a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
    let (x, y, z) = (column(0), column(1), column(2));
    let right = |v: f64, want: f64| (v - want).abs() < 0.02;
    let lengths = [dot(x, x), dot(y, y), dot(z, z)].iter().all(|v| right(*v, 1.0));
    let angles = [dot(x, y), dot(y, z), dot(z, x)].iter().all(|v| right(*v, 0.0));
    // A mirror has the lengths and angles of a rotation.
    let handed = dot(
        [
            x[1] * y[2] - x[2] * y[1],
            x[2] * y[0] - x[0] * y[2],
            x[0] * y[1] - x[1] * y[0],
        ],
        z,
    ) > 0.0;
    if !lengths || !angles || !handed {
        return Err(invalid(FIELD, "its first three columns are no rotation")
            .next_step("send camera to world, column by column, as ARKit's camera.transform and ARCore's getPose().toMatrix()"));
    }
    if pose.down()[2] > 0.2 {
        return Err(invalid(FIELD, "the lens would look upward")
            .next_step("send camera to world and not its inverse, in a world whose y points up"));
    }
    match pose.height_cm() {
        Some(height) => within(
            "camera.pose (height over table_y_m)",
            height,
            bounds::CAMERA_HEIGHT_CM,
            "cm",
        ),
        None => Ok(()),
    }
}

/// A point or box in pixels of the upright photo.
pub(crate) fn place(field: &str, point: Option<[f64; 2]>, bbox: Option<[f64; 4]>) -> Result<(), ScanError> {
    if let Some(p) = point
        && !p.iter().all(|c| is_pixel(*c))
    {
        return Err(invalid(
            &format!("{field}point"),
            format_args!("{p:?} is not a pixel"),
        ));
    }
    if let Some(b) = bbox {
        let ok = b.iter().all(|c| is_pixel(*c)) && b[0] < b[2] && b[1] < b[3];
        if !ok {
            return Err(invalid(
                &format!("{field}box"),
                format_args!("{b:?} is not x0, y0, x1, y1 with x0 < x1 and y0 < y1"),
            ));
        }
    }
    Ok(())
}

fn hint(i: usize, item: &ItemHint, photos: usize) -> Result<(), ScanError> {
    if item.photo >= photos {
        return Err(invalid(
            &format!("hints.items[{i}].photo"),
            format_args!("there is no photo {} among {photos}", item.photo),
        ));
    }
    place(&format!("hints.items[{i}]."), item.point, item.bbox)?;
    match &item.label {
        Some(label) => short(&format!("hints.items[{i}].label"), label, bounds::LABEL_BYTES),
        None => Ok(()),
    }
}
