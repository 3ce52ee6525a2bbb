//! A second search of a photo whose meal has been found: of the meal's part of it, enlarged; into bowls that seem empty; and
//! around each food.

mod window;

use dragunov_models::observer::Unobserved;
use dragunov_models::sam::{Draw, Embedding, Prompt};
use dragunov_models::{ImagePx, Mask, Rect, RgbImage};

use super::automatic::DUPLICATE_IOU;
use super::{Finder, best_masks, bowls, embed};
use crate::contract::{Control, ScanError, Stage, Warning};
use crate::identify::Kind;
use crate::perceive::region::{Candidate, Scored};
use crate::perceive::select::bowls::fills;
use window::{CropPx, CropWindow};

/// A name above this confidence also names the mask's duplicate. All bounds here were set on the 245 rendered scenes of
/// development.
const MIN_INHERITED_CONFIDENCE: f64 = 0.9;
/// A mask drawn anew whose IoU with the one it is to replace is less shows something else.
const MIN_REDRAWN_IOU: f64 = 0.8;
/// Nor may it lie on another food by this share of the smaller one's area more than before.
const MAX_ADDED_OVERLAP: f64 = 0.05;

/// A crop of the photo and what the image encoder makes of it.
struct EncodedCrop {
    picture: RgbImage,
    embedding: Embedding,
}

/// A box of a crop as SAM is prompted with it. SAM counts in pixels of the picture that it encoded and calls it the image;
/// here that is the crop, and this is the only place where the one passes for the other.
fn encoder_box(of_crop: Rect<CropPx>) -> Rect<ImagePx> {
    of_crop.scaled_to(1.0, 1.0)
}

impl Finder<'_> {
    /// What the enlarged meal shows, and what lies in bowls in which no food was found.
    pub(super) fn search_again(
        &mut self,
        image: &RgbImage,
        embedding: &Embedding,
        seen: &[Candidate],
        control: &dyn Control,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<Candidate>, ScanError> {
        let size = (image.width(), image.height());
        let meal = CropWindow::around_the_meal(seen, size).filter(|_| self.search.zoom);
        let Some(window) = meal else {
            control.stage(Stage::Segment)?;
            let inside = self.masks_in_empty_bowls(image, embedding, seen)?;
            return self.named(image, inside, control, warnings);
        };
        let crop = self.encode_crop(image, window, control)?;
        let masks = self.automatic_masks(&crop.picture, &crop.embedding, control)?;
        let masks: Vec<Scored> = masks
            .into_iter()
            .filter_map(|(mask, quality)| Some((window.to_photo(&mask)?, quality)))
            .collect();
        let (mut found, new) = inherit_names(masks, seen);
        found.extend(self.named(image, new, control, warnings)?);
        let all: Vec<Candidate> = seen.iter().chain(&found).cloned().collect();
        control.stage(Stage::Segment)?;
        let inside = self.masks_in_bowls(&crop.embedding, &window, &all)?;
        found.extend(self.named(image, inside, control, warnings)?);
        Ok(found)
    }

    /// What may lie in the bowls of the photo in which no food was found.
    pub(super) fn masks_in_empty_bowls(
        &self,
        image: &RgbImage,
        embedding: &Embedding,
        seen: &[Candidate],
    ) -> Result<Vec<Scored>, ScanError> {
        let photo = CropWindow::whole_of((image.width(), image.height()));
        self.masks_in_bowls(embedding, &photo, seen)
    }

    /// Draws every food once more from its box, in a crop of its own: there its edge is many cells of the decoder long.
    pub(super) fn redraw_close_up(
        &self,
        image: &RgbImage,
        settled: &mut [Candidate],
        control: &dyn Control,
    ) -> Result<(), ScanError> {
        for i in 0..settled.len() {
            if settled[i].identity.kind != Kind::Food {
                continue;
            }
            let Some(redrawn) = self.close_up_mask(image, &settled[i].mask, control)? else {
                continue;
            };
            if may_replace(&redrawn, i, settled) {
                settled[i].mask = redrawn;
            }
        }
        Ok(())
    }

    /// The mask that the model draws for this one's box in a crop around it; `None` where no crop fits around it.
    fn close_up_mask(
        &self,
        image: &RgbImage,
        old: &Mask,
        control: &dyn Control,
    ) -> Result<Option<Mask>, ScanError> {
        let Some(bbox) = old.bbox() else {
            return Ok(None);
        };
        let Some(window) = CropWindow::around(bbox, (image.width(), image.height())) else {
            return Ok(None);
        };
        let Some(of_crop) = window.to_crop(bbox) else {
            return Ok(None);
        };
        let crop = self.encode_crop(image, window, control)?;
        let drawn = best_masks(
            self.sam,
            &crop.embedding,
            &[Prompt::rect(encoder_box(of_crop))],
            control,
        )?;
        Ok(drawn.first().and_then(|(mask, _)| window.to_photo(mask)))
    }

    fn encode_crop(
        &self,
        image: &RgbImage,
        window: CropWindow,
        control: &dyn Control,
    ) -> Result<EncodedCrop, ScanError> {
        control.stage(Stage::Segment)?;
        let picture = window.cut(image)?;
        let embedding = embed(self.sam, &picture, control)?;
        Ok(EncodedCrop { picture, embedding })
    }

    /// Masks, in pixels of the photo, of what may lie in bowls in which no food was found. `embedding` is of the crop.
    fn masks_in_bowls(
        &self,
        embedding: &Embedding,
        window: &CropWindow,
        seen: &[Candidate],
    ) -> Result<Vec<Scored>, ScanError> {
        let mut masks = Vec::new();
        if !self.search.search_bowls {
            return Ok(masks);
        }
        for bowl in bowls::without_food(seen) {
            let Some(of_crop) = bowl.bbox().and_then(|b| window.to_crop(b)) else {
                continue;
            };
            let prompts = bowls::prompts(encoder_box(of_crop));
            for of_prompt in self.sam.draw(embedding, &prompts, Draw::All, &mut Unobserved)? {
                for found in of_prompt {
                    let quality = f64::from(found.iou.clamp(0.0, 1.0));
                    if let Some(mask) = window.to_photo(&found.mask).filter(|m| fills(m, bowl)) {
                        masks.push((mask, quality));
                    }
                }
            }
        }
        Ok(masks)
    }
}

/// Whether the mask shows the same food as candidate `index` and keeps off the other foods.
fn may_replace(redrawn: &Mask, index: usize, settled: &[Candidate]) -> bool {
    let old = &settled[index].mask;
    let spreads = settled.iter().enumerate().any(|(j, other)| {
        let over = |mask: &Mask| mask.intersection_area(&other.mask) as f64;
        let least = old.area().min(other.mask.area()) as f64;
        j != index
            && other.identity.kind == Kind::Food
            && over(redrawn) > over(old) + MAX_ADDED_OVERLAP * least
    });
    redrawn.iou(old) > MIN_REDRAWN_IOU && !spreads
}

/// Masks that were surely named before under a slightly different outline keep that name; the others are still to be named.
fn inherit_names(masks: Vec<Scored>, seen: &[Candidate]) -> (Vec<Candidate>, Vec<Scored>) {
    let (mut known, mut new) = (Vec::new(), Vec::new());
    for (mask, quality) in masks {
        let mut sure = seen
            .iter()
            .filter(|c| c.identity.confidence > MIN_INHERITED_CONFIDENCE);
        match sure.find(|c| c.mask.iou(&mask) > DUPLICATE_IOU) {
            Some(twin) => known.push(Candidate {
                mask,
                quality,
                identity: twin.identity.clone(),
            }),
            None => new.push((mask, quality)),
        }
    }
    (known, new)
}
