//! The `input` of a job, the body of `POST /v1/scan`, and what the flags of `dragunov scan` become.

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use super::depth_map::DepthMap;
use super::photos::MealPhoto;
use super::vocabulary::vocabulary;
use super::{ReferenceKind, bounds};

pub use super::camera_hint::{CameraHint, CameraPose};
pub use super::image_source::ImageSource;

/// A meal: one photo or several, and what is known of it and of how it was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Fields", into = "Fields")]
pub struct ScanRequest {
    /// The photo, or the first of several; so are the five fields that follow.
    pub image: ImageSource,
    pub pitch_deg: Option<f64>,
    pub roll_deg: Option<f64>,
    pub gravity: Option<[f64; 3]>,
    pub camera: CameraHint,
    pub depth: Option<DepthMap>,
    /// The second photo and those after it.
    pub more: Vec<MealPhoto>,
    pub reference: Option<Reference>,
    pub hints: Hints,
    /// What the person wrote of the meal: shown to the vision model, and read for what to ask first.
    pub note: Option<String>,
    pub options: Options,
    pub scan_id: Option<String>,
    pub user_id: Option<String>,
}

impl ScanRequest {
    /// A request with nothing known but the photo.
    pub fn new(image: ImageSource) -> Self {
        Self {
            image,
            pitch_deg: None,
            roll_deg: None,
            gravity: None,
            camera: CameraHint::default(),
            depth: None,
            more: Vec::new(),
            reference: None,
            hints: Hints::default(),
            note: None,
            options: Options::default(),
            scan_id: None,
            user_id: None,
        }
    }
}

impl ScanRequest {
    /// How many photos the meal has.
    pub fn photos(&self) -> usize {
        1 + self.more.len()
    }

    /// What is said of one photo (from 0) and of the meal, without the image itself.
    #[must_use]
    pub fn of_photo(&self, photo: usize) -> Self {
        let mut alone = Self {
            pitch_deg: self.pitch_deg,
            roll_deg: self.roll_deg,
            gravity: self.gravity,
            camera: self.camera.clone(),
            reference: self.reference.clone(),
            note: self.note.clone(),
            options: self.options.clone(),
            scan_id: self.scan_id.clone(),
            user_id: self.user_id.clone(),
            ..Self::new(ImageSource::Bytes(Vec::new()))
        };
        if let Some(other) = photo.checked_sub(1).and_then(|k| self.more.get(k)) {
            alone.pitch_deg = other.pitch_deg;
            alone.roll_deg = other.roll_deg;
            alone.gravity = other.gravity;
            alone.camera.clone_from(&other.camera);
        }
        let hints = self.hints.items.iter().filter(|hint| hint.photo == photo);
        alone.hints.items = hints
            .map(|hint| ItemHint {
                photo: 0,
                ..hint.clone()
            })
            .collect();
        alone
    }
}

/// A meal on one photo (`image`) or on several (`images`). What is said of a photo stands beside it: at the top for `image`,
/// inside each of `images`.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScanRequest)]
struct Fields {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    image: Option<ImageSource>,
    /// Photos of the same meal from several sides, instead of `image`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(min_items = 1, max_items = 6)]
    images: Vec<MealPhoto>,
    /// 0 = phone flat, lens straight down; 90 = upright. The tilt for a portrait shot without roll.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = -10, maximum = 90)]
    pitch_deg: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = -180, maximum = 180)]
    roll_deg: Option<f64>,
    /// Gravity (pointing down) in device axes, x right, y to the top, z out of the screen; wins over pitch and roll.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gravity: Option<[f64; 3]>,
    #[serde(default, skip_serializing_if = "CameraHint::says_nothing")]
    camera: CameraHint,
    /// Distances that the phone measured, used instead of the depth network's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    depth: Option<DepthMap>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<Reference>,
    #[serde(default)]
    hints: Hints,
    /// What the person wrote of the meal, in English: "half of it", "with olive oil".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    note: Option<String>,
    #[serde(default)]
    options: Options,
    /// Opaque, echoed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scan_id: Option<String>,
    /// Opaque, echoed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
}

impl TryFrom<Fields> for ScanRequest {
    type Error = String;

    fn try_from(fields: Fields) -> Result<Self, String> {
        let alone = fields.image.map(|image| MealPhoto {
            image,
            pitch_deg: fields.pitch_deg,
            roll_deg: fields.roll_deg,
            gravity: fields.gravity,
            camera: fields.camera.clone(),
            depth: fields.depth.clone(),
        });
        let said_at_the_top = fields.pitch_deg.is_some()
            || fields.roll_deg.is_some()
            || fields.gravity.is_some()
            || fields.camera != CameraHint::default()
            || fields.depth.is_some();
        let mut photos = fields.images.into_iter();
        let first = match (alone, photos.next()) {
            (Some(alone), None) => alone,
            (None, Some(_)) if said_at_the_top => {
                return Err(
                    "pitch_deg, roll_deg, gravity, camera and depth belong inside each of images".into(),
                );
            }
            (None, Some(first)) => first,
            (None, None) => return Err("missing field `image` (or `images`)".into()),
            (Some(_), Some(_)) => return Err("image and images: send one of them".into()),
        };
        let more: Vec<MealPhoto> = photos.take(bounds::PHOTOS).collect();
        if more.len() >= bounds::PHOTOS {
            return Err(format!("images: over {} of them", bounds::PHOTOS));
        }
        Ok(Self {
            image: first.image,
            pitch_deg: first.pitch_deg,
            roll_deg: first.roll_deg,
            gravity: first.gravity,
            camera: first.camera,
            depth: first.depth,
            more,
            reference: fields.reference,
            hints: fields.hints,
            note: fields.note,
            options: fields.options,
            scan_id: fields.scan_id,
            user_id: fields.user_id,
        })
    }
}

impl From<ScanRequest> for Fields {
    fn from(request: ScanRequest) -> Self {
        let first = MealPhoto {
            image: request.image,
            pitch_deg: request.pitch_deg,
            roll_deg: request.roll_deg,
            gravity: request.gravity,
            camera: request.camera,
            depth: request.depth,
        };
        let mut fields = Self {
            image: None,
            images: Vec::new(),
            pitch_deg: None,
            roll_deg: None,
            gravity: None,
            camera: CameraHint::default(),
            depth: None,
            reference: request.reference,
            hints: request.hints,
            note: request.note,
            options: request.options,
            scan_id: request.scan_id,
            user_id: request.user_id,
        };
        if request.more.is_empty() {
            fields.image = Some(first.image);
            fields.pitch_deg = first.pitch_deg;
            fields.roll_deg = first.roll_deg;
            fields.gravity = first.gravity;
            fields.camera = first.camera;
            fields.depth = first.depth;
        } else {
            fields.images = std::iter::once(first).chain(request.more).collect();
        }
        fields
    }
}

impl PartialSchema for ScanRequest {
    fn schema() -> RefOr<Schema> {
        Fields::schema()
    }
}

impl ToSchema for ScanRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Fields::schemas(schemas);
    }
}

/// A photo for one model alone; without a place the whole photo. Coordinates in pixels of the upright photo.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelCall {
    pub image: ImageSource,
    /// x0, y0, x1, y1
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    pub bbox: Option<[f64; 4]>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<[f64; 2]>,
    #[serde(default)]
    pub options: ModelOptions,
}

/// Options of a call of one model.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModelOptions {
    /// As of a scan: post the stages as they begin.
    pub stream: bool,
}

/// A thing of known size on the table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    pub kind: ReferenceKind,
    /// Needed for a plate (5 to 60 cm) and a coin (1 to 5 cm); a card is ID-1 (85.60 x 53.98 mm).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 60)]
    pub diameter_cm: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Hints {
    #[serde(default)]
    pub items: Vec<ItemHint>,
}

/// What the user says of one item. Coordinates in pixels of the upright photo.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ItemHint {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<[f64; 2]>,
    /// x0, y0, x1, y1
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    pub bbox: Option<[f64; 4]>,
    /// Which of `images` the point and the box are on, from 0.
    #[serde(default, skip_serializing_if = "is_first")]
    pub photo: usize,
}

pub(super) fn is_first(photo: &usize) -> bool {
    *photo == 0
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    pub masks: MaskFormat,
    /// Return the overlay picture (PNG).
    pub overlay: bool,
    /// Return the depth picture (PNG).
    pub depth: bool,
    /// Give the stages, as they begin, as parts of the job's stream (`/stream`). Without it the stream of a scan is empty.
    pub stream: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            masks: MaskFormat::Rle,
            overlay: false,
            depth: false,
            stream: false,
        }
    }
}

vocabulary! {
    /// How the masks of the items are written.
    MaskFormat {
        Rle = "rle":
            "COCO's compressed run lengths, a few hundred bytes each.",
            "Read them with `pycocotools.mask.decode` or the like.";
        Png = "png":
            "A grey 8-bit PNG of the photo's size as base64: 255 on the item, 0 elsewhere.",
            "Draw it over the photo.";
        None = "none":
            "No masks.",
            "Ask for this where masks are not shown.";
    }
}

#[cfg(test)]
mod tests;
