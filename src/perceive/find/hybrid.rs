//! Boxes first, then what they left out: one answer about the whole photo, SAM's mask of each box, and one question more about what
//! else lies on a dish, rises above the table and is covered by nothing that was named.

use dragunov_models::resample::{self, Filter};
use dragunov_models::sam::Embedding;
use dragunov_models::{Mask, RgbImage};

use super::expected::{most_like, prompts};
use super::left_out::Named;
use super::uncovered::uncovered;
use super::{Finder, best_masks};
use crate::contract::{Control, ScanError, Stage, Warning, WarningCode};
use crate::identify::{Identified, Kind, MAX_TOGETHER};
use crate::perceive::naming::crop;
use crate::perceive::region::{Candidate, Scored};

/// Longer side of a crop of the second question, in pixels: 64 of Qwen2.5-VL's tokens, so that all crops are one batch.
const MAX_CROP_SIDE_PX: usize = 224;
/// Things on dishes that SAM is asked for by what their colours show.
const MAX_UNCOVERED: usize = 8;
/// Masks of them that SAM thinks worse of are slivers of what was named, and shadows.
const MIN_UNCOVERED_QUALITY: f64 = 0.65;

impl Finder<'_> {
    /// What the boxes show, what they left out, and what the client pointed at. Asks the identifier twice at most.
    pub(super) fn hybrid(
        &mut self,
        image: &RgbImage,
        embedding: &Embedding,
        pointed_at: &[Scored],
        control: &dyn Control,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<Candidate>, ScanError> {
        let mut found = self.grounded(image, embedding, control, warnings)?;
        // That nothing was named with a box is no answer yet.
        let mut masks = self.automatic_masks(image, embedding, control)?;
        masks.extend(self.masks_in_empty_bowls(image, embedding, &found)?);
        let depth = self.depth.take().and_then(|depth| depth());
        let (asked, beyond) = pointed_at.split_at(pointed_at.len().min(MAX_TOGETHER));
        found.extend(beyond.iter().cloned().map(unknown));
        let pointed = asked.len();
        let mut asked = asked.to_vec();
        let mut seen = found.clone();
        seen.extend(asked.iter().cloned().map(unknown));
        let named = Named::of(&seen);
        let dishes = named.dishes_left_out(&masks);
        let of_dishes: Vec<&Mask> = named.flat_dishes().chain(dishes.iter().map(|(m, _)| m)).collect();
        masks.extend(self.masks_of_uncovered(
            image,
            embedding,
            &of_dishes,
            named.on_flat_dishes().as_ref(),
            control,
        )?);
        asked.extend(named.left_out(&masks, dishes, depth.as_ref()));
        asked.truncate(MAX_TOGETHER);
        if asked.is_empty() {
            return Ok(found);
        }
        control.stage(Stage::Identify)?;
        let crops: Vec<RgbImage> = asked
            .iter()
            .filter_map(|(mask, _)| capped(crop(image, mask)?))
            .collect();
        let answers = match &mut self.identifier {
            Some(identifier) => identifier.identify_together(&crops, &|| control.check().is_err()),
            None => Vec::new(),
        };
        control.check()?;
        let mut answers = answers.into_iter();
        let mut unnamed = 0;
        for (i, (mask, quality)) in asked.into_iter().enumerate() {
            match answers.next() {
                Some(Ok(identity)) => found.push(Candidate {
                    mask,
                    quality,
                    identity,
                }),
                Some(Err(error)) if error.code.is_of_device() => return Err(error),
                // What the client pointed at is there, whatever it is.
                _ if i < pointed => found.push(unknown((mask, quality))),
                _ => unnamed += 1,
            }
        }
        if unnamed > 0 {
            warnings.push(Warning::new(
                WarningCode::PartlyIdentified,
                format!("{unnamed} regions that no box covers could not be named and were left out"),
            ));
        }
        if found.iter().any(|c| c.identity.kind == Kind::Food) {
            warnings.retain(|w| w.code != WarningCode::NothingGrounded);
        }
        Ok(found)
    }

    /// SAM's masks of what the colours of these dishes show beside `covered`.
    fn masks_of_uncovered(
        &self,
        image: &RgbImage,
        embedding: &Embedding,
        dishes: &[&Mask],
        covered: Option<&Mask>,
        control: &dyn Control,
    ) -> Result<Vec<Scored>, ScanError> {
        let mut outlines: Vec<Mask> = dishes
            .iter()
            .flat_map(|dish| uncovered(image, dish, covered))
            .collect();
        outlines.truncate(MAX_UNCOVERED);
        let nothing = Mask::empty(image.width(), image.height());
        let covered = covered.unwrap_or(&nothing);
        let mut found = Vec::new();
        for outline in &outlines {
            let drawn = best_masks(self.sam, embedding, &prompts(outline), control)?;
            found.extend(most_like(drawn, outline, covered));
        }
        found.retain(|(_, quality)| *quality >= MIN_UNCOVERED_QUALITY);
        Ok(found)
    }
}

fn unknown((mask, quality): Scored) -> Candidate {
    Candidate {
        mask,
        quality,
        identity: Identified::unknown_food(),
    }
}

/// A crop with its longer side at most [`MAX_CROP_SIDE_PX`].
fn capped(crop: RgbImage) -> Option<RgbImage> {
    let long = crop.width().max(crop.height());
    if long <= MAX_CROP_SIDE_PX {
        return Some(crop);
    }
    let side = |length: usize| (length * MAX_CROP_SIDE_PX / long).max(1);
    let (width, height) = (side(crop.width()), side(crop.height()));
    resample::pil(&crop, width, height, Filter::Bicubic).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn crops_are_capped() {
        let wide = RgbImage::new(448, 300, vec![9; 448 * 300 * 3]).unwrap();
        let small = capped(wide).unwrap();
        assert_eq!((small.width(), small.height()), (224, 150));
        let kept = capped(RgbImage::new(50, 50, vec![9; 7500]).unwrap()).unwrap();
        assert_eq!(kept.width(), 50);
    }
}
