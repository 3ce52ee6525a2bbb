//! What the app knows of the camera: its lens, its height, where an AR session saw it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Intrinsics from the app; the first of focal, 35 mm equivalent, FOV that is given is used.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CameraHint {
    /// Field of view of the photo's long side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 10, maximum = 130)]
    pub fov_long_deg: Option<f64>,
    /// Focal length in pixels of the photo as sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 10, maximum = 1000000)]
    pub focal_px: Option<f64>,
    /// 35 mm equivalent focal length, by the diagonal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 5, maximum = 600)]
    pub f35_mm: Option<f64>,
    /// Height of the lens above the table (from AR or a rig).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 5, maximum = 300)]
    pub height_cm: Option<f64>,
    /// Where an AR session saw the camera.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pose: Option<CameraPose>,
}

/// Pose of the camera in an AR session whose world has y up and metres as unit (ARKit, ARCore).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CameraPose {
    /// Camera to world, 4 x 4, column by column. The camera's x runs along the rows of the photo as stored, its y to the photo's
    /// top and its z toward the photographer. Tells the tilt where `gravity` and `pitch_deg` are missing.
    pub transform: [f64; 16],
    /// y of the table's plane in the same world. Tells the height where `height_cm` is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_y_m: Option<f64>,
}

impl CameraHint {
    pub(super) fn says_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// A field tells the focal length.
    pub fn tells_focal(&self) -> bool {
        self.focal_px.is_some() || self.f35_mm.is_some() || self.fov_long_deg.is_some()
    }

    /// Height of the lens above the table, cm: as stated, or by the pose.
    pub fn height(&self) -> Option<f64> {
        self.height_cm.or_else(|| self.pose.as_ref()?.height_cm())
    }
}

impl CameraPose {
    /// Height of the lens above the table, cm, where the table's plane is known.
    pub fn height_cm(&self) -> Option<f64> {
        Some(100.0 * (self.transform[13] - self.table_y_m?))
    }

    /// The world's down in the camera's axes: x along the stored rows, y to the photo's top, z toward the photographer.
    pub fn down(&self) -> [f64; 3] {
        [1, 5, 9].map(|i| -self.transform[i])
    }
}
