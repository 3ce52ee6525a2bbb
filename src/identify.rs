//! Naming what is seen: crops of regions in, kind and label out.

mod belief;
pub mod native;
mod novelty;
pub mod openai;

use dragunov_models::{ImagePx, Rect, RgbImage};
use serde::{Deserialize, Serialize};

pub use belief::{NameBelief, of_one_photo};
pub use novelty::{NOVELTY_FILE, Novelty};

pub use crate::contract::kinds::Kind;
use crate::contract::{ErrorCode, ScanError};

/// Items that one answer about a whole photo may hold.
pub(crate) const MAX_BOXES: usize = 40;

/// Crops that one question may be about: as many of Qwen2.5-VL's tokens as one batch holds.
pub(crate) const MAX_TOGETHER: usize = 12;

/// What a region most likely is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identified {
    pub kind: Kind,
    /// Lower-case English name of the food, `unknown` if it is food without a name; the kind's name otherwise.
    pub label: String,
    /// Probability of kind and label together, 0 to 1.
    pub confidence: f64,
    /// Other foods it may be, most likely first, with their probabilities.
    pub alternatives: Vec<(String, f64)>,
    /// The identifier's own guess of what the region weighs, if it gives one.
    #[serde(default)]
    pub grams: Option<f64>,
    /// How unlike everything that the identifier was trained on the region is, if it can tell ([`Novelty::of`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub novelty: Option<f64>,
}

impl Identified {
    pub const UNKNOWN: &'static str = "unknown";

    /// Food that nobody could name.
    pub fn unknown_food() -> Self {
        Self {
            kind: Kind::Food,
            label: Self::UNKNOWN.into(),
            confidence: 0.0,
            alternatives: Vec::new(),
            grams: None,
            novelty: None,
        }
    }
}

/// A backend that names regions by crops of the photo, one region in the middle of each.
pub trait Identifier: Send {
    /// Short name for [`crate::contract::result::Models::identify`].
    fn name(&self) -> String;

    /// One answer a crop, in order. An unreachable or confused backend is an error per crop, never a panic; the
    /// scan then goes on with [`Identified::unknown_food`].
    fn identify(
        &mut self,
        crops: &[RgbImage],
        cancelled: &dyn Fn() -> bool,
    ) -> Vec<Result<Identified, ScanError>>;

    /// The same of a few crops in one call of the model; a backend that takes no more than one crop a call is called for each.
    fn identify_together(
        &mut self,
        crops: &[RgbImage],
        cancelled: &dyn Fn() -> bool,
    ) -> Vec<Result<Identified, ScanError>> {
        self.identify(crops, cancelled)
    }

    /// The foods that answers should name from now on.
    fn set_foods(&mut self, names: Vec<String>);

    /// What the person wrote of the meal that the next questions are about; a hint, no instruction. Models that were trained on one
    /// fixed question do without it.
    fn set_note(&mut self, _note: Option<&str>) {}

    /// What its vision tower makes of each crop, for [`Novelty::fit`]; `None` from a backend that does not tell.
    ///
    /// # Errors
    /// Of the network.
    fn features(&mut self, _crops: &[RgbImage]) -> Result<Option<Vec<Vec<f32>>>, ScanError> {
        Ok(None)
    }

    /// Whether [`Self::ground`] can answer.
    fn grounds(&self) -> bool {
        false
    }

    /// Names every item on the photo with its box.
    ///
    /// # Errors
    /// `config_invalid` from a backend that cannot.
    fn ground(&mut self, _: &RgbImage, _cancelled: &dyn Fn() -> bool) -> Result<Groundings, ScanError> {
        Err(ScanError::new(
            ErrorCode::ConfigInvalid,
            format!("{} gives no boxes", self.name()),
        )
        .next_step("use the automatic strategy"))
    }
}

/// What an identifier says of a whole photo.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Groundings {
    pub items: Vec<Grounded>,
    /// Things of the answer that could not be used, each with the reason.
    pub dropped: Vec<String>,
    /// Width and height of the grid that the boxes were given on, where that was not the pixels that were asked for.
    pub rescaled_from: Option<[f64; 2]>,
}

/// An item named with its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Grounded {
    pub identity: Identified,
    /// In pixels of the photo that was shown.
    pub bbox: Rect<ImagePx>,
}
