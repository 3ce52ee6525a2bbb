//! What must lie at a place: looked for where another photo of the same meal has it.

use dragunov_models::sam::{Prompt, Sam};
use dragunov_models::{Mask, RgbImage};

use super::{best_masks, embed};
use crate::contract::{Control, ScanError, Stage};
use crate::perceive::refine::without_bleed;
use crate::perceive::region::{Regions, Scored};

/// A mask with less in common with the outline (IoU) shows something else.
const MIN_LIKENESS: f64 = 0.35;
/// A mask of which more lies in the foods that were found is one of them.
const MAX_FOUND_SHARE: f64 = 0.3;

/// For each outline, in pixels of the photo, the mask of what lies there; none where nothing like it does. One pass of the image
/// encoder and three prompts an outline.
///
/// # Errors
/// Of the model, and `cancelled` or `deadline_exceeded` of the job.
pub fn find_expected(
    sam: &Sam,
    image: &RgbImage,
    outlines: &[&Mask],
    regions: &Regions,
    control: &dyn Control,
) -> Result<Vec<Option<Mask>>, ScanError> {
    control.stage(Stage::Segment)?;
    let embedding = embed(sam, image, control)?;
    let mut found = regions.things(image.width(), image.height());
    let mut out = Vec::with_capacity(outlines.len());
    for outline in outlines {
        let masks = best_masks(sam, &embedding, &prompts(outline), control)?;
        let mask = most_like(masks, outline, &found).map(|(mask, _)| {
            let whole = without_bleed(image, &mask, &found.union(&mask));
            whole.unwrap_or(mask)
        });
        if let Some(mask) = &mask {
            found = found.union(mask);
        }
        out.push(mask);
    }
    Ok(out)
}

/// The outline's box, its middle, and both.
pub(super) fn prompts(outline: &Mask) -> Vec<Prompt> {
    let Some(rect) = outline.bbox() else {
        return Vec::new();
    };
    let boxed = Prompt::rect(rect);
    let middle = Prompt::point(0.5 * (rect.x0 + rect.x1), 0.5 * (rect.y0 + rect.y1));
    let mut both = boxed.clone();
    both.points.clone_from(&middle.points);
    vec![boxed, middle, both]
}

/// The mask that is most like the outline, without what was found before, if any is like it.
pub(super) fn most_like(masks: Vec<Scored>, outline: &Mask, found: &Mask) -> Option<Scored> {
    let free = masks.into_iter().filter_map(|(mask, quality)| {
        let area = mask.area();
        let left = (area > 0).then(|| mask.subtract(found))?;
        let own = left.area() as f64 >= (1.0 - MAX_FOUND_SHARE) * area as f64;
        let likeness = left.iou(outline);
        (own && likeness >= MIN_LIKENESS).then_some((quality * likeness, (left, quality)))
    });
    free.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, mask)| mask)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perceive::region::tests::rect;

    #[test]
    fn what_is_like_the_outline_and_was_not_found_is_taken() {
        let outline = rect(20, 20, 50, 50);
        let tofu = rect(22, 18, 52, 48);
        let masks = vec![
            (rect(0, 0, 90, 90), 0.99),
            (tofu.clone(), 0.8),
            (rect(25, 25, 35, 35), 0.95),
        ];
        let most_like = |found: &Mask| most_like(masks.clone(), &outline, found).map(|(mask, _)| mask);
        let nothing = Mask::empty(100, 100);
        assert_eq!(most_like(&nothing), Some(tofu.clone()));
        // What was found before is not found again; what only touches it is cut.
        assert_eq!(most_like(&tofu), None);
        assert_eq!(most_like(&rect(45, 0, 90, 90)), Some(rect(22, 18, 45, 48)));
        assert!(prompts(&nothing).is_empty());
    }
}
