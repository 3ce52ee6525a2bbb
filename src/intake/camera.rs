//! Focal length in pixels, from the most trusted source that speaks.

use crate::contract::request::CameraHint;
use crate::contract::{FovSource, ScanError, Warning, WarningCode, bounds};

use super::exif::ExifFacts;
use super::{sensors, validate};

/// Diagonal of the 36 x 24 mm frame.
const DIAGONAL_35_MM: f64 = 43.266_615_3;
/// Field of view of the long side when nothing is known: a phone's main camera.
pub const DEFAULT_FOV_LONG_DEG: f64 = 67.0;

/// Focal length of the upright photo; pixels are square and the principal point is the centre.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CameraGuess {
    pub focal_px: f64,
    /// Standard deviation of ln(focal length).
    pub sigma_ln: f64,
    pub source: FovSource,
}

impl CameraGuess {
    /// Field of view of the long side of a `width` x `height` picture.
    pub fn fov_long_deg(&self, width: usize, height: usize) -> f64 {
        fov_deg(self.focal_px, width.max(height) as f64)
    }
}

fn fov_deg(focal_px: f64, side_px: f64) -> f64 {
    2.0 * (side_px / (2.0 * focal_px)).atan().to_degrees()
}

fn focal_px(fov_deg: f64, side_px: f64) -> f64 {
    side_px / (2.0 * (fov_deg.to_radians() / 2.0).tan())
}

/// Focal length for an upright `width` x `height` photo.
///
/// # Errors
/// `invalid_field` where `hint.focal_px` implies an impossible field of view.
pub fn guess(
    hint: &CameraHint,
    facts: &ExifFacts,
    width: usize,
    height: usize,
    warnings: &mut Vec<Warning>,
) -> Result<CameraGuess, ScanError> {
    let (w, h) = (width as f64, height as f64);
    let from_file = from_exif(facts, w, h, warnings);
    let Some(client) = from_client(hint, facts, w, h, from_file, warnings)? else {
        return Ok(from_file.unwrap_or_else(|| {
            warnings.push(Warning::new(
                WarningCode::FovDefault,
                format!("no focal length known: {DEFAULT_FOV_LONG_DEG} degrees on the long side assumed"),
            ));
            CameraGuess {
                focal_px: focal_px(DEFAULT_FOV_LONG_DEG, w.max(h)),
                sigma_ln: 0.06,
                source: FovSource::Default,
            }
        }));
    };
    Ok(client)
}

/// From the request: focal length, else 35 mm equivalent, else field of view; contradictions are flagged.
fn from_client(
    hint: &CameraHint,
    facts: &ExifFacts,
    w: f64,
    h: f64,
    file: Option<CameraGuess>,
    warnings: &mut Vec<Warning>,
) -> Result<Option<CameraGuess>, ScanError> {
    let long = w.max(h);
    let candidates = [
        hint.focal_px.map(|f| (f, 0.005, FovSource::ClientFocal)),
        hint.f35_mm.map(|f35| {
            (
                f35 * native_diagonal(facts, w, h) / DIAGONAL_35_MM,
                0.02,
                FovSource::ClientF35,
            )
        }),
        hint.fov_long_deg
            .map(|fov| (focal_px(fov, long), 0.01, FovSource::ClientFov)),
    ];
    let mut given = candidates.into_iter().flatten();
    let Some((focal, sigma_ln, source)) = given.next() else {
        return Ok(None);
    };
    validate::within(
        "camera (field of view of the long side)",
        fov_deg(focal, long),
        bounds::FOV_LONG_DEG,
        "degrees",
    )?;
    let mut chosen = CameraGuess {
        focal_px: focal,
        sigma_ln,
        source,
    };
    for (other, _, name) in given {
        if far(other, focal) {
            chosen.sigma_ln = chosen.sigma_ln.max(0.05);
            warnings.push(Warning::new(
                WarningCode::CameraHintsDisagree,
                format!(
                    "{} gives a focal length of {focal:.0} px, {} gives {other:.0}; the first was used",
                    source.as_str(),
                    name.as_str()
                ),
            ));
        }
    }
    if let Some(file) = file.filter(|f| far(f.focal_px, focal)) {
        let swapped = focal * w.min(h) / long;
        if source == FovSource::ClientFov && !far(file.focal_px, swapped) {
            warnings.push(Warning::new(WarningCode::FovSideSwapped,
                "camera.fov_long_deg fits the photo's own data only as the field of view of the short side; used so",
            ));
            chosen.focal_px = swapped;
            chosen.sigma_ln = 0.02;
        } else {
            warnings.push(Warning::new(WarningCode::FovContradictsExif,
                format!(
                    "the request gives a focal length of {focal:.0} px, the photo's own data {:.0}; the request was used",
                    file.focal_px
                ),
            ));
            chosen.sigma_ln = chosen.sigma_ln.max(0.05);
        }
    }
    Ok(Some(chosen))
}

fn far(a: f64, b: f64) -> bool {
    (a / b).ln().abs() > 1.1f64.ln()
}

/// From the file: 35 mm equivalent, else focal length with a sensor table, else with the sensor's resolution.
fn from_exif(facts: &ExifFacts, w: f64, h: f64, warnings: &mut Vec<Warning>) -> Option<CameraGuess> {
    let diagonal = native_diagonal(facts, w, h);
    let sensor = sensors::find(&facts.model, facts.focal_mm);
    let zoom = facts.digital_zoom.unwrap_or(1.0);
    let mut sigma_ln: f64 = if (1.30..=1.36).contains(&(w.max(h) / w.min(h))) {
        0.02
    } else {
        // A few phones recompute the tag for a cropped frame, most do not.
        0.03
    };
    let (focal_px, source) = if let Some(mut f35) = facts.f35_mm {
        if zoom > 1.01 {
            match facts.focal_mm.zip(sensor) {
                Some((mm, sensor)) => {
                    let k = f35 / mm / sensor.crop_factor();
                    if (k / zoom).ln().abs() > k.ln().abs() {
                        f35 *= zoom;
                        warnings.push(Warning::new(
                            WarningCode::DigitalZoomApplied,
                            format!(
                                "digital zoom {zoom:.2} was not in the 35 mm focal length; multiplied in"
                            ),
                        ));
                    }
                }
                None => {
                    sigma_ln = 0.08;
                    warnings.push(Warning::new(
                        WarningCode::DigitalZoomAssumed,
                        format!("digital zoom {zoom:.2}: assumed to be in the 35 mm focal length already"),
                    ));
                }
            }
        }
        if f35 <= 18.0 {
            sigma_ln = sigma_ln.max(0.06);
            warnings.push(Warning::new(
                WarningCode::UltraWide,
                format!("a {f35:.0} mm lens bends the picture at its edges; use the main camera"),
            ));
        }
        (f35 * diagonal / DIAGONAL_35_MM, FovSource::ExifF35)
    } else if let (Some(mm), Some(sensor)) = (facts.focal_mm, sensor) {
        sigma_ln = sigma_ln.max(0.03);
        (
            mm * sensor.crop_factor() * zoom * diagonal / DIAGONAL_35_MM,
            FovSource::SensorTable,
        )
    } else if let (Some(mm), Some(px_per_mm), Some((cw, ch))) =
        (facts.focal_mm, facts.focal_plane_px_per_mm, facts.size_at_capture)
    {
        sigma_ln = sigma_ln.max(0.03);
        let resized = w.max(h) / f64::from(cw.max(ch));
        (mm * px_per_mm * zoom * resized, FovSource::FocalPlane)
    } else {
        return None;
    };
    if !bounds::FOV_LONG_DEG.contains(&fov_deg(focal_px, w.max(h))) {
        warnings.push(Warning::new(
            WarningCode::ExifFocalImplausible,
            format!("the photo's own data imply a focal length of {focal_px:.0} px; ignored"),
        ));
        return None;
    }
    if let Some((cw, ch)) = facts.size_at_capture {
        let then = f64::from(cw.max(ch)) / f64::from(cw.min(ch));
        let now = w.max(h) / w.min(h);
        if (then / now).ln().abs() > 0.02 {
            sigma_ln = sigma_ln.max(0.10);
            warnings.push(Warning::new(WarningCode::PhotoCropped,
                format!(
                    "taken as {cw} x {ch}, received as {w} x {h}: cropped since, so the field of view is uncertain"
                ),
            ));
        }
    }
    Some(CameraGuess {
        focal_px,
        sigma_ln,
        source,
    })
}

/// Diagonal in pixels of the frame the 35 mm equivalent refers to: the sensor's native 4:3 frame for phones, the
/// frame itself for 3:2 bodies.
fn native_diagonal(facts: &ExifFacts, w: f64, h: f64) -> f64 {
    let (long, short) = (w.max(h), w.min(h));
    if is_camera_body(facts) || (1.30..=1.36).contains(&(long / short)) {
        w.hypot(h)
    } else if long / short > 1.36 {
        1.25 * long
    } else {
        5.0 / 3.0 * short
    }
}

/// Interchangeable-lens bodies, whose native frame is 3:2 or as stored. Sony also makes phones.
fn is_camera_body(facts: &ExifFacts) -> bool {
    let make = facts.make.to_ascii_lowercase();
    let model = facts.model.to_ascii_lowercase();
    [
        "canon",
        "nikon",
        "fujifilm",
        "pentax",
        "ricoh",
        "leica",
        "olympus",
        "om digital",
        "panasonic",
        "sigma",
    ]
    .iter()
    .any(|m| make.starts_with(m))
        || (make.starts_with("sony")
            && ["ilce", "ilca", "slt", "nex", "dsc", "dslr", "zv-"]
                .iter()
                .any(|m| model.starts_with(m)))
}
