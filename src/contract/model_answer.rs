//! The answers of one model alone.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Kind;
use super::vocabulary::vocabulary;

/// What one model says of a photo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ModelAnswer {
    Segment(SegmentAnswer),
    Depth(DepthAnswer),
    Identify(IdentifyAnswer),
}

/// Masks of Segment Anything: everything it finds, or up to three for one point or box.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SegmentAnswer {
    pub masks: Vec<SegmentMask>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SegmentMask {
    pub mask: RunLengths,
    /// How well the model thinks the mask fits, 0 to 1 (predicted IoU).
    pub iou: f32,
    /// How little the mask depends on its threshold, 0 to 1; only of masks that were searched for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stability: Option<f32>,
}

/// COCO's compressed run lengths.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunLengths {
    /// Height, width.
    pub size: [usize; 2],
    pub counts: String,
}

/// Depth of the whole photo as a picture, near bright, and the range of its values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DepthAnswer {
    pub kind: DepthUnit,
    pub width: usize,
    pub height: usize,
    pub min: f32,
    pub max: f32,
    /// PNG, base64.
    pub picture: String,
}

vocabulary! {
    /// What the values of a depth network are.
    DepthUnit {
        RelativeDisparity = "relative_disparity":
            "Disparity up to an unknown scale and shift; larger is nearer.",
            "Compare values within one photo only.";
        Metres = "metres":
            "Distance along the optical axis in metres.",
            "Nothing.";
    }
}

/// What the vision-language model takes the photo, or the part of it, for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IdentifyAnswer {
    pub kind: Kind,
    pub label: String,
    /// 0 to 1.
    pub confidence: f64,
    pub alternatives: Vec<LabelGuess>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LabelGuess {
    pub label: String,
    /// 0 to 1.
    pub confidence: f64,
}
