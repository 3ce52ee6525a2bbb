//! A raster of distances that the phone measured: LiDAR, ARCore, a dual camera.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::request::ImageSource;
use super::vocabulary::vocabulary;

/// Distances along the optical axis, row by row, of the view that the photo shows. 0, NaN, infinity and negative values mean
/// that nothing is known there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DepthMap {
    /// The raster's bytes.
    pub data: ImageSource,
    pub format: DepthFormat,
    /// Columns and rows as stored; a PNG says them itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 16, maximum = 2048)]
    pub width: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 16, maximum = 2048)]
    pub height: Option<usize>,
    pub unit: DepthMapUnit,
    /// EXIF orientation that turns the raster upright; the photo's own if absent, as for a raster that comes with the photo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 8)]
    pub orientation: Option<u8>,
    /// Without them the raster covers the photo edge to edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intrinsics: Option<Intrinsics>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<DepthConfidence>,
    /// Noise of a value as a share of the distance; 0.01 if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0.0005, maximum = 0.2)]
    pub sigma_rel: Option<f64>,
}

impl DepthMap {
    /// A part of it has to be fetched from somewhere.
    pub fn is_remote(&self) -> bool {
        self.data.is_remote() || self.confidence.as_ref().is_some_and(|c| c.data.is_remote())
    }
}

/// Pinhole camera of a raster, in pixels of the raster as stored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Intrinsics {
    pub fx: f64,
    pub fy: f64,
    pub cx: f64,
    pub cy: f64,
    /// Size that the four refer to, if not the raster's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<f64>,
}

/// How sure the phone is of each value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DepthConfidence {
    /// One byte a value, of the raster's size: bare, or as a grey 8-bit PNG.
    pub data: ImageSource,
    /// Values with less are left out. ARKit has 0, 1 and 2, ARCore 0 to 255.
    pub least: u8,
}

vocabulary! {
    /// How a depth map is written.
    DepthFormat {
        Png16 = "png16":
            "A grey PNG of 16 bits.",
            "Nothing.";
        F32 = "f32":
            "32-bit floating point, little endian, rows without padding.",
            "Send `width` and `height`.";
        F16 = "f16":
            "16-bit floating point, little endian, rows without padding.",
            "Send `width` and `height`.";
        U16 = "u16":
            "16-bit integers, little endian, rows without padding.",
            "Send `width` and `height`.";
    }
}

vocabulary! {
    /// What the numbers of a depth map are.
    DepthMapUnit {
        Metres = "metres":
            "Metres: ARKit's `depthMap`, depth of AVDepthData.",
            "Nothing.";
        Millimetres = "millimetres":
            "Millimetres: ARCore's 16-bit depth.",
            "Nothing.";
        InverseMetres = "inverse_metres":
            "One over metres: disparity of AVDepthData, where its `depthDataAccuracy` is absolute.",
            "Do not send relative disparity: it has no scale.";
    }
}

vocabulary! {
    /// Where the depth that was measured on came from.
    DepthSource {
        Network = "network":
            "The depth network.",
            "Nothing.";
        Client = "client":
            "The depth map of the request.",
            "Nothing.";
    }
}

impl DepthSource {
    /// Where nothing is said.
    pub(crate) fn usual() -> Self {
        Self::Network
    }

    pub(crate) fn is_network(&self) -> bool {
        *self == Self::Network
    }
}
