//! A second look at a photo whose meal has been found: enlarged, and into bowls that seem empty.

use dragunov_models::observer::Unobserved;
use dragunov_models::sam::{Embedding, Prompt};
use dragunov_models::{Mask, RgbImage};

use super::bowls;
use super::closeup::Part;
use super::find::{Finder, Scored, TWIN, best_masks, or_stopped, while_wanted};
use super::resolve::Candidate;
use crate::contract::{Control, ScanError, Stage, Warning};
use crate::identify::Kind;

/// A name above this also names the mask's twin.
const SURE: f64 = 0.9;
/// A mask drawn anew that shares less than this with the one it is to replace shows something else.
const REDRAWN: f64 = 0.8;
/// Nor may it lie on another food by this share of the smaller one more than before.
const SPREAD: f64 = 0.05;

impl Finder<'_> {
    /// What a second look finds: at the part of the photo where the meal is, enlarged, and into bowls that seem empty.
    pub(super) fn closer(
        &mut self,
        image: &RgbImage,
        embedding: &Embedding,
        seen: &[Candidate],
        ctx: &dyn Control,
        warnings: &mut Vec<Warning>,
    ) -> Result<Vec<Candidate>, ScanError> {
        let whole = Part::whole_of((image.width(), image.height()));
        let Some(part) = Part::around_the_meal(seen, (image.width(), image.height())) else {
            ctx.stage(Stage::Segment)?;
            let inside = self.inside_bowls(embedding, &whole, seen)?;
            return self.named(image, inside, ctx, warnings);
        };
        let (picture, enlarged) = self.enlarged(image, &part, ctx)?;
        let masks = self.automatic(&picture, &enlarged, ctx)?;
        let masks: Vec<Scored> = masks
            .into_iter()
            .filter_map(|(mask, quality)| Some((part.placed(&mask)?, quality)))
            .collect();
        let (mut found, new) = known_already(masks, seen);
        found.extend(self.named(image, new, ctx, warnings)?);
        let all: Vec<Candidate> = seen.iter().chain(&found).cloned().collect();
        ctx.stage(Stage::Segment)?;
        let inside = self.inside_bowls(&enlarged, &part, &all)?;
        found.extend(self.named(image, inside, ctx, warnings)?);
        Ok(found)
    }

    /// Draws every food once more from its box, in a view of its own: there its edge is many cells of the decoder long.
    pub(super) fn redraw(
        &self,
        image: &RgbImage,
        settled: &mut [Candidate],
        ctx: &dyn Control,
    ) -> Result<(), ScanError> {
        let size = (image.width(), image.height());
        for i in 0..settled.len() {
            if settled[i].identity.kind != Kind::Food {
                continue;
            }
            let old = &settled[i].mask;
            let view = old.bbox().and_then(|b| Some((b, Part::around(b, size)?)));
            let Some((part, bbox)) = view.and_then(|(b, part)| Some((part, part.inside(b)?))) else {
                continue;
            };
            let (_, enlarged) = self.enlarged(image, &part, ctx)?;
            let drawn = best_masks(self.sam, &enlarged, &[Prompt::rect(bbox)])?;
            let Some(new) = drawn.first().and_then(|(mask, _)| part.placed(mask)) else {
                continue;
            };
            let spreads = settled.iter().enumerate().any(|(j, other)| {
                let over = |mask: &Mask| mask.intersection_area(&other.mask) as f64;
                let least = old.area().min(other.mask.area()) as f64;
                j != i && other.identity.kind == Kind::Food && over(&new) > over(old) + SPREAD * least
            });
            if new.iou(old) > REDRAWN && !spreads {
                settled[i].mask = new;
            }
        }
        Ok(())
    }

    fn enlarged(
        &self,
        image: &RgbImage,
        part: &Part,
        ctx: &dyn Control,
    ) -> Result<(RgbImage, Embedding), ScanError> {
        ctx.stage(Stage::Segment)?;
        let picture = part.cut(image)?;
        let embedding = self
            .sam
            .embed(&picture, &mut while_wanted(ctx))
            .map_err(|e| or_stopped(e, ctx))?;
        Ok((picture, embedding))
    }

    /// Masks of what may lie in bowls in which no food was found.
    fn inside_bowls(
        &self,
        embedding: &Embedding,
        part: &Part,
        seen: &[Candidate],
    ) -> Result<Vec<Scored>, ScanError> {
        let mut masks = Vec::new();
        for bowl in bowls::seemingly_empty(seen) {
            let Some(bbox) = bowl.bbox().and_then(|b| part.inside(b)) else {
                continue;
            };
            let prompts = bowls::prompts(bbox);
            for prediction in self.sam.predict(embedding, &prompts, true, &mut Unobserved)? {
                for found in prediction.candidates {
                    let quality = f64::from(found.iou.clamp(0.0, 1.0));
                    if let Some(mask) = part.placed(&found.mask).filter(|m| bowls::fills(m, bowl)) {
                        masks.push((mask, quality));
                    }
                }
            }
        }
        Ok(masks)
    }
}

/// Masks that were surely named before under a slightly different outline keep that name; the others are still to be named.
fn known_already(masks: Vec<Scored>, seen: &[Candidate]) -> (Vec<Candidate>, Vec<Scored>) {
    let (mut known, mut new) = (Vec::new(), Vec::new());
    for (mask, quality) in masks {
        let mut sure = seen.iter().filter(|c| c.identity.confidence > SURE);
        match sure.find(|c| c.mask.iou(&mask) > TWIN) {
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
