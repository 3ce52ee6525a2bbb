//! Several photos of one meal: what each is sent with, and what each contributed.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::depth_map::{DepthMap, DepthSource};
use super::request::{CameraHint, ImageSource};
use super::result::{CameraInfo, ImageInfo, MaskData, PlaneFit, ScaleInfo, VolumeSigma};
use super::{ErrorCode, Estimated, ScanError, Warning};

/// One of the photos of a meal, and how it was taken: the fields have the same names and meaning as those of a scan of one photo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MealPhoto {
    pub image: ImageSource,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = -10, maximum = 90)]
    pub pitch_deg: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = -180, maximum = 180)]
    pub roll_deg: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gravity: Option<[f64; 3]>,
    #[serde(default, skip_serializing_if = "CameraHint::says_nothing")]
    pub camera: CameraHint,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<DepthMap>,
}

impl MealPhoto {
    /// A part of it has to be fetched from somewhere.
    pub fn is_remote(&self) -> bool {
        self.image.is_remote() || self.depth.as_ref().is_some_and(DepthMap::is_remote)
    }

    /// With nothing known but the photo.
    pub fn new(image: ImageSource) -> Self {
        Self {
            image,
            pitch_deg: None,
            roll_deg: None,
            gravity: None,
            camera: CameraHint::default(),
            depth: None,
        }
    }
}

/// What one of several photos contributed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PhotoInfo {
    /// Its place in `images`, from 0.
    pub photo: usize,
    /// False where it could not be measured, or shows another meal: `error` says why.
    pub used: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<PhotoError>,
    /// How it was measured; missing where it could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<PhotoView>,
    /// Of this photo alone.
    pub warnings: Vec<Warning>,
    pub items: Vec<PhotoItem>,
}

/// Why a photo was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PhotoError {
    pub code: ErrorCode,
    pub message: String,
    pub next_step: String,
}

impl From<&ScanError> for PhotoError {
    fn from(error: &ScanError) -> Self {
        Self {
            code: error.code,
            message: error.message.clone(),
            next_step: error
                .next_step
                .clone()
                .unwrap_or_else(|| error.code.action().to_owned()),
        }
    }
}

/// How one of several photos was measured by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PhotoView {
    pub image: ImageInfo,
    pub camera: CameraInfo,
    pub scale: ScaleInfo,
    pub plane_fit: PlaneFit,
    #[serde(
        default = "DepthSource::usual",
        skip_serializing_if = "DepthSource::is_network"
    )]
    pub depth_source: DepthSource,
}

/// An item as one photo shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PhotoItem {
    /// `id` of the item of the result that it is; missing where the photo is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    pub label: String,
    pub confidence: f64,
    /// x0, y0, x1, y1 in pixels of this photo, upright.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskData>,
    /// By this photo alone.
    pub volume_cm3: Estimated,
    pub volume_sigma_ln: VolumeSigma,
    /// Share of this photo in the item's volume, 0 to 1.
    pub weight: f64,
}
