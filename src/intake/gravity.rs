//! Which way is down in the picture, from whatever says so.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::contract::bounds::{ROLL_DEG, TILT_MAX_DEG};
use crate::contract::quote::said;
use crate::contract::request::CameraPose;
use crate::contract::{ErrorCode, GravitySource, ScanError, Warning, WarningCode};

use super::exif::ExifFacts;
use super::{Shot, validate};

/// Gravity in the upright camera frame (x right, y down, z forward).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gravity {
    /// Unit vector pointing down.
    pub down: [f64; 3],
    /// Standard deviation of the tilt, degrees.
    pub sigma_deg: f64,
    /// Standard deviation of the roll, degrees.
    pub sigma_roll_deg: f64,
    pub source: GravitySource,
}

impl Gravity {
    /// Angle between the optical axis and down.
    pub fn tilt_deg(&self) -> f64 {
        self.down[2].clamp(-1.0, 1.0).acos().to_degrees()
    }

    /// Rotation about the optical axis; 0 where the view is straight down.
    pub fn roll_deg(&self) -> f64 {
        if self.down[0].hypot(self.down[1]) < 1e-6 {
            0.0
        } else {
            self.down[0].atan2(self.down[1]).to_degrees()
        }
    }
}

/// What a photo's storage says of the shot: S3 user metadata `pitch`, `roll`, `gravity`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SourceMeta {
    pub pitch_deg: Option<f64>,
    pub roll_deg: Option<f64>,
    /// Down, in device axes.
    pub gravity: Option<[f64; 3]>,
}

impl SourceMeta {
    /// From user metadata, names without `x-amz-meta-` and in any case: `pitch`, `roll` (also `pitch_deg`,
    /// `pitch-deg`), `gravity` as `x,y,z`.
    ///
    /// # Errors
    /// `invalid_field` naming the header, for a value that does not parse or cannot be.
    pub fn from_pairs<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self, ScanError> {
        let pairs: BTreeMap<String, &str> = pairs.map(|(k, v)| (k.to_ascii_lowercase(), v)).collect();
        let given = |name: &str| {
            let spellings = [name.to_owned(), format!("{name}-deg"), format!("{name}_deg")];
            let found = spellings.into_iter().find_map(|s| pairs.get_key_value(&s));
            found.map(|(name, text)| (format!("x-amz-meta-{name}"), *text))
        };
        let mut meta = Self::default();
        if let Some((field, text)) = given("pitch") {
            let v = number(&field, text)?;
            validate::pitch(&field, v)?;
            meta.pitch_deg = Some(v);
        }
        if let Some((field, text)) = given("roll") {
            let v = number(&field, text)?;
            validate::within(&field, v, ROLL_DEG, "degrees")?;
            meta.roll_deg = Some(v);
        }
        if let Some((field, text)) = given("gravity") {
            let v = text
                .trim_matches(|c: char| c == '[' || c == ']' || c.is_whitespace())
                .split(',')
                .map(|part| number(&field, part))
                .collect::<Result<Vec<_>, _>>()?;
            let v: [f64; 3] = v
                .try_into()
                .map_err(|_| validate::invalid(&field, "is not three numbers x,y,z"))?;
            validate::gravity(&field, v)?;
            meta.gravity = Some(v);
        }
        Ok(meta)
    }
}

fn number(field: &str, text: &str) -> Result<f64, ScanError> {
    f64::from_str(text.trim())
        .map_err(|e| validate::invalid(field, format_args!("{:?} is not a number", said(text))).source(e))
}

/// Down in the upright camera frame, from the first of: client gravity, client pitch, client pose, storage gravity, storage
/// pitch, Apple's MakerNote. `size` is the upright picture's width and height.
///
/// # Errors
/// `tilt_too_large` above [`TILT_MAX_DEG`].
pub fn resolve(
    shot: &Shot,
    meta: &SourceMeta,
    facts: &ExifFacts,
    orientation: u8,
    size: (usize, usize),
    warnings: &mut Vec<Warning>,
) -> Result<Option<Gravity>, ScanError> {
    use GravitySource::*;
    let device = |v, source| Gravity {
        down: to_upright(v, orientation, size),
        sigma_deg: 1.0,
        sigma_roll_deg: 1.0,
        source,
    };
    let note = facts
        .apple_acceleration
        .filter(|v| validate::gravity("MakerNote 0x0008", *v).is_ok())
        .map(|v| device(v, MakerNote));
    let found = if let Some(v) = shot.gravity {
        Some(device(v, ClientGravity))
    } else if let Some(pitch) = shot.pitch_deg {
        Some(from_angles(pitch, shot.roll_deg, ClientPitch))
    } else if let Some(pose) = &shot.camera.pose {
        Some(from_pose(pose, orientation))
    } else if let Some(v) = meta.gravity {
        Some(device(v, S3Gravity))
    } else if let Some(pitch) = meta.pitch_deg {
        Some(from_angles(pitch, shot.roll_deg.or(meta.roll_deg), S3Pitch))
    } else {
        note
    };
    if facts.apple_acceleration.is_some() && note.is_none() {
        warnings.push(Warning::new(
            WarningCode::MakerNoteGravityImplausible,
            "the photo's own gravity vector points upward or is null; it was ignored",
        ));
    }
    let Some(gravity) = found else {
        if shot.roll_deg.is_some() {
            warnings.push(Warning::new(
                WarningCode::RollIgnored,
                "roll_deg without pitch_deg says nothing",
            ));
        }
        warnings.push(Warning::new(
            WarningCode::TiltUnknown,
            "no pitch, gravity or MakerNote: the tilt must be estimated from a round object",
        ));
        return Ok(None);
    };
    if let (Some(note), true) = (note, gravity.source != MakerNote) {
        let apart = (note.tilt_deg() - gravity.tilt_deg()).abs();
        if apart > 12.0 {
            warnings.push(Warning::new(
                WarningCode::PitchContradictsMakerNote,
                format!(
                    "the stated tilt is {:.0} degrees, the photo's own gravity says {:.0}",
                    gravity.tilt_deg(),
                    note.tilt_deg()
                ),
            ));
        }
    }
    let vector = matches!(gravity.source, ClientGravity | ClientPose | S3Gravity | MakerNote);
    if vector && gravity.tilt_deg() > 20.0 && gravity.roll_deg().abs() > 45.0 {
        warnings.push(Warning::new(WarningCode::GravitySideways,
            format!(
                "gravity lies {:.0} degrees off the picture's vertical: the EXIF orientation or the device axes are wrong",
                gravity.roll_deg()
            ),
        ));
    }
    if gravity.tilt_deg() > TILT_MAX_DEG {
        return Err(ScanError::new(
            ErrorCode::TiltTooLarge,
            format!(
                "the lens looks {:.0} degrees away from straight down; above {TILT_MAX_DEG:.0} the table is seen edge-on",
                gravity.tilt_deg()
            ),
        )
        .next_step("hold the phone above the meal, tilted 20 to 45 degrees from straight down"));
    }
    Ok(Some(gravity))
}

/// Pitch is the tilt; positive roll turns the camera clockwise as seen from behind it.
fn from_angles(pitch_deg: f64, roll_deg: Option<f64>, source: GravitySource) -> Gravity {
    let (st, ct) = pitch_deg.to_radians().sin_cos();
    let (sr, cr) = roll_deg.unwrap_or(0.0).to_radians().sin_cos();
    Gravity {
        down: [st * sr, st * cr, ct],
        sigma_deg: 1.0,
        // Hand-held phones roll by a few degrees that a lone pitch does not tell.
        sigma_roll_deg: if roll_deg.is_some() { 1.0 } else { 5.0 },
        source,
    }
}

/// Device axes (x right, y to the top of a portrait screen, z out of it) to the upright camera frame.
///
/// The sensor is mounted the usual way: stored rows run along -y, columns along -x of the device. A stored picture
/// with orientation 1 that is taller than wide was rewritten upright and lost that link; then the portrait rule
/// holds.
fn to_upright(g: [f64; 3], orientation: u8, (width, height): (usize, usize)) -> [f64; 3] {
    let norm = g.iter().map(|c| c * c).sum::<f64>().sqrt();
    let [gx, gy, gz] = g.map(|c| c / norm);
    if orientation == 1 && height >= width {
        return [gx, -gy, -gz];
    }
    let [x, y] = turned([-gy, -gx], orientation);
    [x, y, -gz]
}

/// A direction on the stored picture (x right, y down), upright.
fn turned([x, y]: [f64; 2], orientation: u8) -> [f64; 2] {
    match orientation {
        2 => [-x, y],
        3 => [-x, -y],
        4 => [x, -y],
        5 => [y, x],
        6 => [-y, x],
        7 => [-y, -x],
        8 => [y, -x],
        _ => [x, y],
    }
}

/// An AR session keeps its world's y along gravity to better than a degree.
fn from_pose(pose: &CameraPose, orientation: u8) -> Gravity {
    let [x, y, z] = pose.down();
    let norm = (x * x + y * y + z * z).sqrt();
    let [right, below] = turned([x / norm, -y / norm], orientation);
    Gravity {
        down: [right, below, -z / norm],
        sigma_deg: 0.7,
        sigma_roll_deg: 0.7,
        source: GravitySource::ClientPose,
    }
}
