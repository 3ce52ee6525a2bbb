//! How regions are found: automatic masks named crop by crop, names with boxes turned into masks, or the second and then the first
//! for what it left out.

mod automatic;
mod bowls;
mod expected;
mod grounded;
mod hints;
mod hybrid;
mod left_out;
mod relief;
mod uncovered;
mod zoom;

use dragunov_models::depth_anything::Depth;
use dragunov_models::observer::{self, Observer};
use dragunov_models::sam::{AmgConfig, Draw, Embedding, Prompt, Sam};
use dragunov_models::{Mask, ModelError, RgbImage};
use serde::{Deserialize, Serialize};

use super::naming::{name_masks, name_together, names_by_shape};
use super::region::{Candidate, Scored};
use super::select::{settle, without_parts};
use crate::contract::request::Hints;
use crate::contract::{Control, ScanError, Stage, Warning, WarningCode};
use crate::identify::Identifier;
pub use expected::find_expected;

/// How food is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Strategy {
    /// A grid of points gives masks; each mask is named by its crop, up to 72 of them.
    Automatic,
    /// The vision-language model names items with boxes; each box becomes a mask. One question.
    Grounded,
    /// Boxes first; what they left out on a dish is named by at most 12 crops in a second question.
    Hybrid,
}

impl Strategy {
    /// Hybrid where boxes can be had, automatic otherwise.
    pub fn usual(grounds: bool) -> Self {
        if grounds { Self::Hybrid } else { Self::Automatic }
    }

    /// Whether it needs an identifier that gives boxes.
    pub fn grounds(self) -> bool {
        self != Self::Automatic
    }
}

/// Waits for the depth raster of the photo; `None` where it cannot be had.
pub type DepthLater = Box<dyn FnOnce() -> Option<Depth>>;

/// Each holds three masks at the photo's size while it is decoded.
const PROMPTS_AT_A_TIME: usize = 32;

/// Which steps of the search are taken beside the first pass over the photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Search {
    /// Draw each automatic mask again from its own box: pays where the model is surer of boxes than of points. Costs one
    /// prompt a mask.
    pub redraw_from_boxes: bool,
    /// Search the part of the photo where the meal is a second time, enlarged: pays where the model sees little detail.
    /// Costs another pass of the image encoder and of the grid of points.
    pub zoom: bool,
    /// Prompt for the content of bowls in which no food was found. Costs four prompts a bowl.
    pub search_bowls: bool,
    /// Draw every food once more from its box, in a crop around it. Costs one pass of the image encoder a food.
    pub redraw_close_up: bool,
    /// Give pieces that look alike the name that is likeliest for all of them.
    pub label_consensus: bool,
}

/// The models that find and name regions.
pub struct Finder<'a> {
    pub sam: &'a Sam,
    pub identifier: Option<&'a mut dyn Identifier>,
    pub amg: &'a AmgConfig,
    pub search: Search,
    pub strategy: Strategy,
    /// The photo as the image encoder sees it, where that is known already.
    pub embedding: Option<Embedding>,
    /// The photo's depth, for the hybrid strategy, which does well without.
    pub depth: Option<DepthLater>,
}

impl std::fmt::Debug for Finder<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Finder")
            .field("amg", self.amg)
            .field("search", &self.search)
            .field("strategy", &self.strategy)
            .finish_non_exhaustive()
    }
}

/// Every mask with its name, before any is chosen, and what could not be done.
#[derive(Debug, Clone, Default)]
pub struct Detections {
    pub candidates: Vec<Candidate>,
    pub warnings: Vec<Warning>,
}

impl Finder<'_> {
    /// Finds and names what is on the photo.
    ///
    /// # Errors
    /// Of the models, and `cancelled` or `deadline_exceeded` of the job.
    pub fn detect(
        &mut self,
        image: &RgbImage,
        hints: &Hints,
        control: &dyn Control,
    ) -> Result<Detections, ScanError> {
        let mut warnings = Vec::new();
        control.stage(Stage::Segment)?;
        let embedding = match self.embedding.take() {
            Some(known) => known,
            None => embed(self.sam, image, control)?,
        };
        let (hinted, unnamed) = hints::masks(self.sam, &embedding, hints, control)?;
        let mut masks = match self.strategy {
            Strategy::Automatic => self.automatic_masks(image, &embedding, control)?,
            Strategy::Grounded | Strategy::Hybrid => Vec::new(),
        };
        let asked_with_boxes = if self.strategy == Strategy::Hybrid {
            unnamed
        } else {
            masks.extend(unnamed);
            Vec::new()
        };
        let mut candidates = self.named(image, masks, control, &mut warnings)?;
        match self.strategy {
            // A backend that names nothing is not asked twice.
            Strategy::Automatic if warnings.is_empty() => {
                candidates.extend(self.search_again(
                    image,
                    &embedding,
                    &candidates,
                    control,
                    &mut warnings,
                )?);
            }
            Strategy::Automatic => {}
            Strategy::Grounded | Strategy::Hybrid => {
                candidates.extend(self.grounded_or_unnamed(
                    image,
                    &embedding,
                    asked_with_boxes,
                    control,
                    &mut warnings,
                )?);
            }
        }
        // Boxes come with names of the whole picture; crops were named one by one.
        let consensus = self.search.label_consensus && self.strategy == Strategy::Automatic;
        if self.search.redraw_close_up || consensus {
            candidates = settle(candidates);
        }
        if self.search.redraw_close_up {
            self.redraw_close_up(image, &mut candidates, control)?;
        }
        if consensus {
            control.stage(Stage::Identify)?;
            name_together(image, &mut candidates);
            candidates = without_parts(&candidates);
        }
        candidates.extend(hinted);
        Ok(Detections { candidates, warnings })
    }

    /// What the vision-language model names with boxes; where it fails, automatic masks without names. `pointed_at`: masks of the
    /// client's hints that are still to be named.
    fn grounded_or_unnamed(
        &mut self,
        image: &RgbImage,
        embedding: &Embedding,
        pointed_at: Vec<Scored>,
        control: &dyn Control,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<Candidate>, ScanError> {
        let found = match self.strategy {
            Strategy::Hybrid => self.hybrid(image, embedding, &pointed_at, control, warnings),
            _ => self.grounded(image, embedding, control, warnings),
        };
        match found {
            Ok(found) => Ok(found),
            Err(why) if why.code.is_of_device() => Err(why),
            Err(why) => {
                control.check()?;
                warnings.push(Warning::new(
                    WarningCode::NotIdentified,
                    format!("nothing could be named: {why}; volumes are given, labels are unknown"),
                ));
                let mut masks = self.automatic_masks(image, embedding, control)?;
                masks.extend(pointed_at);
                Ok(names_by_shape(masks))
            }
        }
    }

    fn named(
        &mut self,
        image: &RgbImage,
        masks: Vec<Scored>,
        control: &dyn Control,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<Candidate>, ScanError> {
        if masks.is_empty() {
            return Ok(Vec::new());
        }
        let identifier = self.identifier.as_deref_mut().map(|i| i as &mut dyn Identifier);
        name_masks(identifier, image, masks, control, warnings)
    }
}

/// The picture as SAM's image encoder sees it; ends between two blocks once the job is cancelled or late.
fn embed(sam: &Sam, picture: &RgbImage, control: &dyn Control) -> Result<Embedding, ScanError> {
    sam.embed(picture, &mut while_wanted(control))
        .map_err(|e| or_stopped(e, control))
}

/// Stops a model between its stages once the job is cancelled or late.
pub(crate) fn while_wanted(control: &dyn Control) -> impl Observer {
    observer::until(|| control.check().is_err())
}

/// The deadline's or the canceller's own error where one of them stopped the model.
pub(crate) fn or_stopped(error: ModelError, control: &dyn Control) -> ScanError {
    match error {
        ModelError::Cancelled => control
            .check()
            .err()
            .unwrap_or_else(|| ModelError::Cancelled.into()),
        other => other.into(),
    }
}

/// One mask a prompt with its predicted IoU. So many prompts at a time, that memory does not grow with their number; ends
/// between two steps once the job is cancelled or late.
fn best_masks(
    sam: &Sam,
    embedding: &Embedding,
    prompts: &[Prompt],
    control: &dyn Control,
) -> Result<Vec<Scored>, ScanError> {
    let mut best = Vec::with_capacity(prompts.len());
    for some in prompts.chunks(PROMPTS_AT_A_TIME) {
        let drawn = sam
            .draw(embedding, some, Draw::Best, &mut while_wanted(control))
            .map_err(|e| or_stopped(e, control))?;
        best.extend(drawn.into_iter().map(|masks| match masks.into_iter().next() {
            Some(best) => (best.mask, f64::from(best.iou.clamp(0.0, 1.0))),
            None => (Mask::empty(0, 0), 0.0),
        }));
    }
    Ok(best)
}
