//! Photos in, upright sRGB with camera and gravity out; hand-made files only.
#![allow(clippy::unwrap_used)]

#[path = "intake/avif.rs"]
mod avif;
#[path = "intake/camera.rs"]
mod camera;
#[path = "intake/containers.rs"]
mod containers;
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
#[path = "intake/pose.rs"]
mod pose;
#[path = "common/s3.rs"]
mod s3;
#[path = "intake/sources.rs"]
mod sources;

use dragunov::ScanError;
use dragunov::contract::Warning;
use dragunov::intake::{DecodeLimits, Photo, Shot, SourceMeta, read_photo};

/// Which stored quadrant stands at top left, top right, bottom left, bottom right after each orientation (EXIF 2.3, 4.6.4).
const QUADRANTS: [[usize; 4]; 8] = [
    [0, 1, 2, 3],
    [1, 0, 3, 2],
    [3, 2, 1, 0],
    [2, 3, 0, 1],
    [0, 2, 1, 3],
    [2, 0, 3, 1],
    [3, 1, 2, 0],
    [1, 3, 0, 2],
];

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
