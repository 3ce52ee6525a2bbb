//! Photos in, upright sRGB with camera and gravity out; hand-made files only.
#![allow(clippy::unwrap_used)]

#[path = "intake/camera.rs"]
mod camera;
#[path = "intake/damage.rs"]
mod damage;
#[path = "intake/decode.rs"]
mod decode;
#[path = "intake/files.rs"]
mod files;
#[path = "intake/gravity.rs"]
mod gravity;
#[path = "intake/heif.rs"]
mod heif;
#[path = "common/s3.rs"]
mod s3;
#[path = "intake/sources.rs"]
mod sources;

use dragunov::ScanError;
use dragunov::contract::Warning;
use dragunov::intake::{DecodeLimits, Photo, Shot, SourceMeta, read_photo};

/// Reads with nothing known but the file.
fn read(bytes: &[u8]) -> Result<Photo, ScanError> {
    read_shot(bytes, &Shot::default())
}

fn read_shot(bytes: &[u8], shot: &Shot) -> Result<Photo, ScanError> {
    read_photo(bytes, shot, &SourceMeta::default(), &DecodeLimits::default())
}

fn codes(warnings: &[Warning]) -> Vec<&str> {
    warnings.iter().map(|w| w.code.as_str()).collect()
}
