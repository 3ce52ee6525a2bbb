//! What a number may be. One bound each, for requests, photos, geometry and the API's description.

use std::ops::RangeInclusive;

/// Outer diameter of a plate or bowl, cm.
pub const PLATE_CM: RangeInclusive<f64> = 5.0..=60.0;
/// Diameter of a coin, cm.
pub const COIN_CM: RangeInclusive<f64> = 1.0..=5.0;
/// Height of the lens above the table, cm.
pub const CAMERA_HEIGHT_CM: RangeInclusive<f64> = 5.0..=300.0;
/// Field of view of the photo's long side, degrees.
pub const FOV_LONG_DEG: RangeInclusive<f64> = 10.0..=130.0;
/// 35 mm equivalent focal length, mm.
pub const F35_MM: RangeInclusive<f64> = 5.0..=600.0;
/// Focal length, pixels.
pub const FOCAL_PX: RangeInclusive<f64> = 10.0..=1e6;
/// Pitch of the phone, degrees; a little below 0 happens with the phone held flat.
pub const PITCH_DEG: RangeInclusive<f64> = -10.0..=90.0;
pub const ROLL_DEG: RangeInclusive<f64> = -180.0..=180.0;
/// Above this tilt from straight down the table is seen edge-on and nothing on it can be measured, degrees.
pub const TILT_MAX_DEG: f64 = 75.0;
/// Longest label of a hint, bytes.
pub const LABEL_BYTES: usize = 200;
/// Hints of one request, unless the service says otherwise.
pub const HINTS: usize = 64;
/// Longest `scan_id` and `user_id`, bytes.
pub const ID_BYTES: usize = 256;
/// Longest address of a photo, bytes; an S3 key has 512 of its own.
pub const ADDRESS_BYTES: usize = 8192;
/// A coordinate on a photo, pixels.
pub const PIXEL: RangeInclusive<f64> = 0.0..=1e6;
/// Numbers of a pose, metres: an AR session begins where it was started.
pub const POSE_M: RangeInclusive<f64> = -1e4..=1e4;
/// Photos of one meal.
pub const PHOTOS: usize = 6;
/// Columns and rows of a depth map.
pub const DEPTH_MAP_SIDE: RangeInclusive<usize> = 16..=2048;
/// Values of a depth map.
pub const DEPTH_MAP_VALUES: usize = 1 << 20;
/// A depth map's file, bytes; so is its confidence's.
pub const DEPTH_MAP_BYTES: usize = 4 << 20;
/// The largest focal length, size and distance of the principal point that a depth map's intrinsics may give, pixels.
pub const INTRINSICS_PX: f64 = 1e6;
/// Noise of a depth map as a share of the distance.
pub const DEPTH_MAP_SIGMA: RangeInclusive<f64> = 0.0005..=0.2;
