//! Fields of a scan that come apart from a JSON body: parts of a form, SageMaker's custom attributes.

use axum::http::HeaderMap;

use super::problem::Problem;
use crate::contract::quote::said;
use crate::contract::request::{ImageSource, Reference};
use crate::contract::{ErrorCode, ReferenceKind, ScanRequest};

const ATTRIBUTES: &str = "x-amzn-sagemaker-custom-attributes";

/// Sets one field: `pitch_deg`, `roll_deg`, `plate_cm`, `height_cm`, `fov_long_deg`, `scan_id`, `user_id`, `note`. An empty
/// value says nothing. False for any other name.
///
/// # Errors
/// 400 that names the field, for a value that is no number.
pub fn set(scan: &mut ScanRequest, name: &str, value: &str) -> Result<bool, Problem> {
    let value = value.trim();
    let known = [
        "pitch_deg",
        "roll_deg",
        "height_cm",
        "fov_long_deg",
        "plate_cm",
        "scan_id",
        "user_id",
        "note",
    ];
    if !known.contains(&name) {
        return Ok(false);
    }
    if value.is_empty() {
        return Ok(true);
    }
    let number = || {
        value
            .parse::<f64>()
            .ok()
            .filter(|n| n.is_finite())
            .ok_or_else(|| {
                let text = format!("{name} is not a number: {:?}", said(value));
                Problem::new(ErrorCode::BadRequest, text)
            })
    };
    match name {
        "pitch_deg" => scan.pitch_deg = Some(number()?),
        "roll_deg" => scan.roll_deg = Some(number()?),
        "height_cm" => scan.camera.height_cm = Some(number()?),
        "fov_long_deg" => scan.camera.fov_long_deg = Some(number()?),
        "plate_cm" => {
            scan.reference = Some(Reference {
                kind: ReferenceKind::Plate,
                diameter_cm: Some(number()?),
            });
        }
        "scan_id" => scan.scan_id = Some(value.to_owned()),
        "note" => scan.note = Some(value.to_owned()),
        _ => scan.user_id = Some(value.to_owned()),
    }
    Ok(true)
}

/// Fills what the body does not say from `X-Amzn-SageMaker-Custom-Attributes: pitch_deg=40,plate_cm=26`. The header
/// may hold anything else as well (AWS puts trace ids there), which is left alone.
///
/// # Errors
/// As [`set`].
pub fn fill(scan: &mut ScanRequest, headers: &HeaderMap) -> Result<(), Problem> {
    let mut told = ScanRequest::new(ImageSource::Bytes(Vec::new()));
    for line in headers.get_all(ATTRIBUTES) {
        let pairs = line.to_str().unwrap_or_default().split([',', ';']);
        for (name, value) in pairs.filter_map(|pair| pair.split_once('=')) {
            let name = name.trim().to_ascii_lowercase().replace('-', "_");
            set(&mut told, &name, value)?;
        }
    }
    // Of several photos it says nothing: which one would it be of?
    if scan.more.is_empty() {
        scan.pitch_deg = scan.pitch_deg.or(told.pitch_deg);
        scan.roll_deg = scan.roll_deg.or(told.roll_deg);
        scan.camera.height_cm = scan.camera.height_cm.or(told.camera.height_cm);
        scan.camera.fov_long_deg = scan.camera.fov_long_deg.or(told.camera.fov_long_deg);
    }
    scan.reference = scan.reference.take().or(told.reference);
    scan.scan_id = scan.scan_id.take().or(told.scan_id);
    scan.user_id = scan.user_id.take().or(told.user_id);
    Ok(())
}
