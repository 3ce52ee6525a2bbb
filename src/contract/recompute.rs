//! Corrections of a scan: what a person says of its items, and what each number of the new result rests on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::photos::MealPhoto;
use super::request::Reference;
use super::result::ScanResult;
use super::vocabulary::vocabulary;

/// Most edits of one request, and most characters of a note.
pub const MAX_EDITS: usize = 64;
pub const MAX_NOTE_CHARS: usize = 500;
/// Grams a person may tell of one item.
pub const TOLD_GRAMS: std::ops::RangeInclusive<f64> = 0.5..=5000.0;
/// Share of an item that was eaten; over 1 for more of the same.
pub const PORTION: std::ops::RangeInclusive<f64> = 0.05..=5.0;

/// Body of `POST /v1/recompute`, `input` of a job with `"task": "recompute"`: an original result and what to change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RecomputeRequest {
    /// The result of a scan as it was answered, never one that was recomputed: edits always start from what was measured.
    pub original: Box<ScanResult>,
    /// All edits since the scan, at most one an item.
    pub edits: Vec<Edit>,
    /// The photo again, with what the scan's request said of it: needed by edits that add what lies at a point or in a box. Of several
    /// photos the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photo: Option<Box<MealPhoto>>,
    /// `reference` of the scan's request, for such edits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Reference>,
}

impl RecomputeRequest {
    pub fn new(original: ScanResult, edits: Vec<Edit>) -> Self {
        Self {
            original: Box::new(original),
            edits,
            photo: None,
            reference: None,
        }
    }

    /// It needs the photo, and with it the models.
    pub fn looks_at_photo(&self) -> bool {
        self.edits.iter().any(Edit::has_place)
    }
}

/// What a person says of one item: either `item` of the original, or a new one with `add`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Edit {
    /// `id` of an item of the original.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<String>,
    /// A food that the scan missed; needs `label` and `grams`, or its place on the photo.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub add: bool,
    /// Where the added food lies, in pixels of the upright photo: it is found, named and measured there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<[f64; 2]>,
    /// x0, y0, x1, y1
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    pub bbox: Option<[f64; 4]>,
    /// It is no food, or was not there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub remove: bool,
    /// What it is. May tell an amount ("2 eggs"); `grams` wins over that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What it weighs; wins over every measurement, and tells how far the photo's scale was off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grams: Option<f64>,
    /// Share of it that counts: 0.5 for half of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub portion: Option<f64>,
    /// Answers to the item's questions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<Answer>,
    /// In the person's words; kept with the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Edit {
    /// What it adds lies at a place on the photo.
    pub fn has_place(&self) -> bool {
        self.point.is_some() || self.bbox.is_some()
    }
}

/// The option chosen of one question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// `id` of the question.
    pub question: String,
    /// `label` of the option.
    pub option: String,
}

vocabulary! {
    /// What a number rests on.
    Origin {
        Measured = "measured":
            "From the photo.",
            "Offer it for correction.";
        Told = "told":
            "A person said so.",
            "Show it as fixed.";
        LookedUp = "looked_up":
            "From the food table, for this item's label.",
            "It changes with the label.";
        Assumed = "assumed":
            "Nothing is known of it: an average.",
            "Ask the person.";
    }
}

/// What an item's numbers rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Origins {
    pub label: Origin,
    pub volume: Origin,
    pub density: Origin,
    pub mass: Origin,
    /// Of kcal and macros per gram.
    pub nutrients: Origin,
}

impl Origins {
    /// Of an item as a scan answers it.
    pub fn of_scan(unknown_food: bool) -> Self {
        let row = if unknown_food {
            Origin::Assumed
        } else {
            Origin::LookedUp
        };
        Self {
            label: Origin::Measured,
            volume: Origin::Measured,
            density: row,
            mass: Origin::Measured,
            nutrients: row,
        }
    }
}

impl Default for Origins {
    fn default() -> Self {
        Self::of_scan(false)
    }
}
