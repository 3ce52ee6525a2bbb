//! Masks from a grid of points over the whole picture.

use dragunov_models::RgbImage;
use dragunov_models::sam::{Embedding, Prompt};

use super::{Finder, best_masks, or_stopped, while_wanted};
use crate::contract::{Control, ScanError, Stage};
use crate::perceive::region::Scored;

/// Masks outside these shares of the picture are no item. Set on the 245 rendered scenes of development.
const MIN_ITEM_AREA_SHARE: f64 = 0.0006;
const MAX_ITEM_AREA_SHARE: f64 = 0.85;
/// Masks that are named at most, a bound on time; the best by predicted quality are kept.
const MAX_NAMED_MASKS: usize = 72;
/// Masks whose IoU is over this are one mask.
pub(super) const DUPLICATE_IOU: f64 = 0.9;

impl Finder<'_> {
    /// Masks in pixels of `picture`, the best first.
    pub(super) fn automatic_masks(
        &self,
        picture: &RgbImage,
        embedding: &Embedding,
        control: &dyn Control,
    ) -> Result<Vec<Scored>, ScanError> {
        control.stage(Stage::Segment)?;
        let found = self
            .sam
            .generate_from(picture, embedding, self.amg, &mut while_wanted(control))
            .map_err(|e| or_stopped(e, control))?;
        let pixels = (picture.width() * picture.height()) as f64;
        let sizes = MIN_ITEM_AREA_SHARE..MAX_ITEM_AREA_SHARE;
        let mut masks: Vec<Scored> = found
            .into_iter()
            .map(|m| (m.mask, f64::from(m.iou.clamp(0.0, 1.0) * m.stability)))
            .filter(|(mask, _)| sizes.contains(&(mask.area() as f64 / pixels)))
            .collect();
        masks.sort_by(|a, b| b.1.total_cmp(&a.1));
        masks.truncate(MAX_NAMED_MASKS);
        if self.search.redraw_from_boxes {
            masks = self.redrawn_from_boxes(embedding, masks, control)?;
            control.check()?;
        }
        Ok(masks)
    }

    /// Each mask as the model draws it for that mask's box; duplicates that this makes are dropped.
    fn redrawn_from_boxes(
        &self,
        embedding: &Embedding,
        masks: Vec<Scored>,
        control: &dyn Control,
    ) -> Result<Vec<Scored>, ScanError> {
        let prompts: Vec<Prompt> = masks
            .iter()
            .filter_map(|(m, _)| m.bbox())
            .map(Prompt::rect)
            .collect();
        if prompts.is_empty() {
            return Ok(masks);
        }
        let mut redrawn = best_masks(self.sam, embedding, &prompts, control)?;
        redrawn.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut kept: Vec<Scored> = Vec::new();
        for (mask, quality) in redrawn {
            if !mask.is_empty() && kept.iter().all(|(k, _)| k.iou(&mask) < DUPLICATE_IOU) {
                kept.push((mask, quality));
            }
        }
        Ok(kept)
    }
}
