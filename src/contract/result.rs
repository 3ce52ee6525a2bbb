//! The answer to a scan.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::photos::PhotoInfo;
use super::recompute::{Edit, Origins};
use super::request::is_first;
use super::vocabulary::vocabulary;
use super::{
    DepthSource, Estimated, FoodSourceKind, FovSource, GravitySource, ItemFlag, Reshoot, ScaleSource,
    TiltSource, Timings, Warning,
};

/// Everything measured on one photo. Nothing is final until the user confirms it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScanResult {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    pub status: ScanStatus,
    pub image: ImageInfo,
    pub items: Vec<Item>,
    pub totals: Totals,
    /// Of a scan of several photos: what each contributed. `image`, `camera`, `scale` and `plane_fit` are then those of the photo that
    /// counts most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub photos: Vec<PhotoInfo>,
    pub camera: CameraInfo,
    pub scale: ScaleInfo,
    pub plane_fit: PlaneFit,
    #[serde(
        default = "DepthSource::usual",
        skip_serializing_if = "DepthSource::is_network"
    )]
    pub depth_source: DepthSource,
    pub models: Models,
    pub foods: FoodsInfo,
    pub timings_ms: Timings,
    pub warnings: Vec<Warning>,
    /// The request's note, as far as it was understood.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<NoteInfo>,
    /// How to take a better photo, what gains most first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reshoot: Vec<Reshoot>,
    /// The first of `reshoot` in words, where the interval is wide.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reshoot_hint: Option<String>,
    /// PNG as base64, or an S3 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlay: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<String>,
    /// What a person corrected, where this result was recomputed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
    /// The scan's own answer, where this result was recomputed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub original: Option<Box<ScanResult>>,
}

/// What the person wrote of the meal. No number rests on it: it is for confirmation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NoteInfo {
    pub text: String,
    /// Share of the meal that it seems to speak of; nothing is scaled by it. Offer it as the `portion` of a correction.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portion: Option<f64>,
}

vocabulary! {
    /// How far a scan is.
    ScanStatus {
        PendingConfirmation = "pending_confirmation":
            "Measured, and not final: nobody has looked at it yet.",
            "Let the user confirm or correct it before it counts.";
    }
}

/// Size after the EXIF orientation was applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ImageInfo {
    pub width: usize,
    pub height: usize,
    /// The tag that was applied, 1 to 8.
    pub exif_orientation: u8,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Item {
    pub id: String,
    pub label: String,
    /// Row of the food table; null where only an average could be used.
    pub food_id: Option<String>,
    pub confidence: f64,
    pub alternatives: Vec<Alternative>,
    /// x0, y0, x1, y1 in pixels of the upright photo, upper edges exclusive.
    #[serde(rename = "box")]
    pub bbox: [f64; 4],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<MaskData>,
    /// Which of several photos box and mask are on, from 0.
    #[serde(default, skip_serializing_if = "is_first")]
    pub photo: usize,
    pub volume_cm3: Estimated,
    pub volume_sigma_ln: VolumeSigma,
    pub volume_bounds: VolumeBounds,
    pub mean_height_cm: f64,
    pub footprint_cm2: f64,
    pub density_g_cm3: Estimated,
    pub mass_g: Estimated,
    pub kcal: Estimated,
    pub protein_g: Estimated,
    pub carbs_g: Estimated,
    pub fat_g: Estimated,
    /// What the food table knows beyond the macros.
    #[serde(default)]
    pub details: NutrientDetails,
    /// What each number rests on.
    #[serde(default)]
    pub origins: Origins,
    /// What a person wrote about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Pieces that were seen and measured together.
    pub pieces: usize,
    /// Each at most once.
    pub flags: Vec<ItemFlag>,
    pub questions: Vec<Question>,
}

/// Parts of the macros, and salt; a key is missing where the food table does not know it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NutrientDetails {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fibre_g: Option<Estimated>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sugars_g: Option<Estimated>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub saturated_fat_g: Option<Estimated>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sodium_mg: Option<Estimated>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alternative {
    pub label: String,
    pub food_id: Option<String>,
    pub confidence: f64,
    /// Medians if this label were chosen; the volume stays.
    pub mass_g: f64,
    pub kcal: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "format", rename_all = "snake_case")]
pub enum MaskData {
    /// Compressed COCO run lengths; size is height, width.
    #[schema(title = "MaskRle")]
    Rle { size: [usize; 2], counts: String },
    #[schema(title = "MaskPng")]
    /// Grey 8-bit PNG of the photo's size, base64: 255 on the item, 0 elsewhere.
    Png { data: String },
}

/// Standard deviation of ln(volume), by what it comes from. A correction of one item's volume says something about the
/// shared part of all the others.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VolumeSigma {
    /// From what all items share: scale, tilt, focal length, depth alignment.
    pub shared: f64,
    /// From what is the item's own: shape, base, mask edge.
    pub own: f64,
}

/// Medians of the two integrals before undercut correction.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct VolumeBounds {
    pub visible_columns_cm3: f64,
    pub frustum_cm3: f64,
}

/// One tap that narrows the answer most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Question {
    pub id: String,
    pub text: String,
    pub options: Vec<QuestionOption>,
    /// `label` of the option that the note speaks for; not chosen yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suggested: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct QuestionOption {
    pub label: String,
    /// Added to the item's kcal when chosen.
    pub kcal: f64,
}

/// Sums of the unrounded items; the scale error is shared, so the interval does not shrink with their number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Totals {
    pub mass_g: Estimated,
    pub kcal: Estimated,
    pub protein_g: Estimated,
    pub carbs_g: Estimated,
    pub fat_g: Estimated,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CameraInfo {
    pub focal_px: f64,
    pub fov_long_deg: f64,
    pub fov_source: FovSource,
    /// Standard deviation of ln(focal length).
    pub fov_sigma_ln: f64,
    /// Angle between the optical axis and straight down.
    pub tilt_deg: f64,
    pub roll_deg: f64,
    /// What decided the tilt; where there are several, they worked together.
    pub tilt_source: Vec<TiltSource>,
    /// Who said which way is down; null where nobody did.
    pub gravity_source: Option<GravitySource>,
    /// Tilt by the plate's or coin's ellipse alone, where one is seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tilt_from_circle_deg: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScaleInfo {
    /// The candidate that decides, or `fused` where several share the decision.
    pub source: ScaleSource,
    pub camera_height_cm: Estimated,
    pub candidates: Vec<ScaleCandidate>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ScaleCandidate {
    pub source: ScaleSource,
    pub camera_height_cm: f64,
    pub sigma_ln: f64,
    /// False when the others contradict it.
    pub used: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlaneFit {
    /// Share of the sampled table pixels that agree with the plane.
    pub inlier_fraction: f64,
    /// Residual sd of the disparity, relative to the table's disparity.
    pub residual_rel: f64,
    /// Correlation of disparity with the plane's; null where the view is straight down.
    pub correlation: Option<f64>,
    /// True where shift and scale cannot be told apart and a prior decided.
    pub nadir_degenerate: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Models {
    /// Name of the checkpoint set, `plate-tiny` or a published one.
    pub set: String,
    pub sam: String,
    pub depth: String,
    pub identify: String,
    /// What products were computed in: `f32`; `bf16x3` and `bf16x6`, f32 as two or three numbers of bf16 each; `bf16`.
    /// Absent in older answers.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub arithmetic: String,
}

/// The food table that names, densities and nutrients were taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FoodsInfo {
    pub source: FoodSourceKind,
    /// First 12 hexadecimal digits of a hash of all rows: another one means other rows.
    pub revision: String,
}
