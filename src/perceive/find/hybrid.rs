//! Boxes first, then what they left out: one answer about the whole photo, SAM's mask of each box, and one question more about what
//! else lies on a dish, rises above the table and is covered by nothing that was named.

use dragunov_models::depth_anything::Depth;
use dragunov_models::resample::{self, Filter};
use dragunov_models::sam::Embedding;
use dragunov_models::{Mask, RgbImage};

use super::Finder;
use super::relief::Relief;
use crate::contract::{Control, ScanError, Stage, Warning, WarningCode};
use crate::identify::{Identified, Kind, MAX_TOGETHER};
use crate::perceive::ellipse::roundness;
use crate::perceive::naming::crop;
use crate::perceive::region::{Candidate, Scored, lies_on};

/// Longer side of a crop of the second question, in pixels: 64 of Qwen2.5-VL's tokens, so that all crops are one batch.
const MAX_CROP_SIDE_PX: usize = 224;
/// A mask of which less lies in the masks of what was named is something else.
const MAX_COVERED_SHARE: f64 = 0.3;
/// A mask of which more lies in the dish's box lies on it; one that is nearly as large is the dish.
const MIN_SHARE_ON_DISH: f64 = 0.85;
const MAX_DISH_SHARE: f64 = 0.7;
/// What fills a bowl is nearly as large as the bowl.
const MAX_BOWL_SHARE: f64 = 0.92;
/// Two masks whose IoU is over this show one thing.
const SAME_THING_IOU: f64 = 0.6;
/// A mask's worth is its area to this power times its quality, as where masks are chosen: the whole of a thing before its parts.
const AREA_WORTH_POWER: f64 = 0.3;
/// Dishes that are asked about where food that was named lies on none, and the least roundness of one.
const MAX_DISHES: usize = 2;
const MIN_DISH_ROUNDNESS: f64 = 0.8;

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
        asked.extend(left_out(masks, &seen, depth.as_ref()));
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
}

fn unknown((mask, quality): Scored) -> Candidate {
    Candidate {
        mask,
        quality,
        identity: Identified::unknown_food(),
    }
}

/// The masks to ask about, at most [`MAX_TOGETHER`]: what is no part of what was named, lies on a dish and rises above the table;
/// and what may be the dish of food that lies on none, or a dish beside the others. Without a depth raster all of it is taken to rise.
fn left_out(masks: Vec<Scored>, found: &[Candidate], depth: Option<&Depth>) -> Vec<Scored> {
    let is_dish = |c: &&Candidate| c.identity.kind.dish().is_some();
    let things: Vec<&Mask> = found.iter().filter(|c| !is_dish(c)).map(|c| &c.mask).collect();
    let dishes: Vec<&Mask> = found.iter().filter(is_dish).map(|c| &c.mask).collect();
    let bowls = || {
        found
            .iter()
            .filter(|c| c.identity.kind == Kind::Bowl)
            .map(|c| &c.mask)
    };
    let foods = || {
        found
            .iter()
            .filter(|c| c.identity.kind == Kind::Food)
            .map(|c| &c.mask)
    };
    let bare: Vec<&Mask> = foods()
        .filter(|f| !dishes.iter().any(|d| lies_on(f, d)))
        .collect();

    let covered = union(&things);
    let free = |mask: &Mask| {
        covered
            .as_ref()
            .is_none_or(|c| mask.intersection_area(c) as f64 <= MAX_COVERED_SHARE * mask.area().max(1) as f64)
    };
    // A second dish of whose content nothing was named shows other masks on it, and lies on no other dish.
    let unseen = |mask: &Mask| {
        !dishes.is_empty()
            && free(mask)
            && dishes
                .iter()
                .all(|d| mask.iou(d) <= SAME_THING_IOU && !lies_on(mask, d))
            && masks
                .iter()
                .any(|(inner, _)| on(inner, mask, MAX_BOWL_SHARE) && free(inner))
    };
    let mut out = Vec::new();
    let mut carriers: Vec<(f64, &Scored)> = masks
        .iter()
        .filter(|(mask, _)| mask.sides_touched() < 3 && (carries(mask, &bare) || unseen(mask)))
        .map(|one| (roundness(&one.0), one))
        .filter(|(round, _)| *round >= MIN_DISH_ROUNDNESS)
        .collect();
    carriers.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (_, one) in carriers {
        take(one, &mut out, MAX_DISHES);
    }
    // Where no dish was seen at all, whatever stands on the table may be food.
    let may_lie_on: Vec<&Mask> = dishes.iter().copied().chain(out.iter().map(|(m, _)| m)).collect();
    let everything: Vec<&Mask> = things.iter().chain(&may_lie_on).copied().collect();
    let relief = depth.and_then(|d| Relief::of(d, &everything));
    let mut others: Vec<(f64, &Scored)> = masks
        .iter()
        .filter_map(|one| {
            let mask = &one.0;
            // What lies in a bowl need not rise above its wall.
            let in_bowl = bowls()
                .chain(out.iter().map(|(m, _)| m))
                .any(|bowl| on(mask, bowl, MAX_BOWL_SHARE));
            let on_dish = may_lie_on.iter().any(|dish| on(mask, dish, MAX_DISH_SHARE));
            let no_dish = may_lie_on.is_empty() && mask.sides_touched() < 2;
            let rises = || relief.as_ref().is_none_or(|r| r.rises(mask));
            let worth = (mask.area() as f64).powf(AREA_WORTH_POWER) * one.1;
            (free(mask) && (in_bowl || ((on_dish || no_dish) && rises()))).then_some((worth, one))
        })
        .collect();
    others.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut chosen = out.clone();
    for (_, one) in others {
        take(one, &mut chosen, MAX_TOGETHER);
    }
    chosen
}

/// Adds a mask that shows nothing that is there already, as long as there is room.
fn take(one: &Scored, out: &mut Vec<Scored>, most: usize) {
    if out.len() < most && out.iter().all(|(mask, _)| mask.iou(&one.0) <= SAME_THING_IOU) {
        out.push(one.clone());
    }
}

/// Whether a mask lies within a dish's box and, at most this share of it, is not the dish.
fn on(mask: &Mask, dish: &Mask, most: f64) -> bool {
    let (Some(inner), Some(outer)) = (mask.bbox(), dish.bbox()) else {
        return false;
    };
    let width = (inner.x1.min(outer.x1) - inner.x0.max(outer.x0)).max(0.0);
    let height = (inner.y1.min(outer.y1) - inner.y0.max(outer.y0)).max(0.0);
    width * height >= MIN_SHARE_ON_DISH * inner.area() && inner.area() <= most * outer.area()
}

/// Whether a mask may be the dish under some of these foods.
fn carries(mask: &Mask, foods: &[&Mask]) -> bool {
    foods.iter().any(|food| on(food, mask, MAX_DISH_SHARE))
}

fn union(masks: &[&Mask]) -> Option<Mask> {
    let (first, rest) = masks.split_first()?;
    Some(rest.iter().fold((*first).clone(), |all, m| all.union(m)))
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
    use crate::perceive::region::tests::{candidate, rect};

    fn asked(masks: &[Mask], found: &[Candidate]) -> Vec<Mask> {
        let scored = masks.iter().map(|m| (m.clone(), 0.9)).collect();
        left_out(scored, found, None)
            .into_iter()
            .map(|(m, _)| m)
            .collect()
    }

    #[test]
    fn what_no_box_covers_on_a_dish_is_asked_about() {
        let plate = candidate(rect(10, 10, 90, 90), Kind::Plate, "plate", 0.9);
        let rice = candidate(rect(20, 20, 50, 50), Kind::Food, "rice", 0.9);
        let peas = rect(55, 55, 80, 80);
        let masks = [
            rect(21, 20, 50, 50), // the rice again
            rect(20, 20, 35, 35), // a part of it
            peas.clone(),
            rect(55, 56, 80, 80), // the peas again
            rect(10, 10, 90, 89), // the plate
            rect(92, 5, 99, 40),  // beside the plate
        ];
        assert_eq!(asked(&masks, &[plate.clone(), rice.clone()]), [peas]);
        assert!(asked(&masks[..2], &[plate, rice]).is_empty());
    }

    #[test]
    fn at_most_twelve_are_asked_about_the_largest_first() {
        let plate = candidate(rect(0, 0, 100, 100), Kind::Plate, "plate", 0.9);
        let crumbs: Vec<Mask> = (0..20).map(|i| rect(2 + 4 * i, 10, 5 + 4 * i, 13 + i)).collect();
        let found = asked(&crumbs, &[plate]);
        assert_eq!(found.len(), MAX_TOGETHER);
        assert_eq!(found[0], crumbs[19]);
    }

    #[test]
    fn food_on_no_dish_makes_its_dish_be_asked_about() {
        let egg = candidate(rect(40, 40, 60, 60), Kind::Food, "egg", 0.9);
        let disc = Mask::from_fn(100, 100, |x, y| (x as f64 - 50.0).hypot(y as f64 - 50.0) < 40.0);
        let bacon = rect(30, 62, 70, 75);
        let found = asked(&[disc.clone(), bacon.clone()], &[egg]);
        assert_eq!(found, [disc, bacon]);
    }

    #[test]
    fn a_bowl_that_no_box_showed_is_asked_about_with_its_content() {
        let plate = candidate(rect(10, 10, 50, 50), Kind::Plate, "plate", 0.9);
        let rice = candidate(rect(20, 20, 40, 40), Kind::Food, "rice", 0.9);
        let disc =
            |radius: f64| Mask::from_fn(100, 100, |x, y| (x as f64 - 75.0).hypot(y as f64 - 75.0) < radius);
        let masks = [disc(20.0), disc(15.0)];
        assert_eq!(asked(&masks, &[plate.clone(), rice.clone()]), masks);
        // Round, but nothing on it.
        assert!(asked(&masks[..1], &[plate, rice]).is_empty());
    }

    #[test]
    fn what_fills_a_bowl_is_asked_about_and_what_nearly_is_a_plate_is_not() {
        let dish = |kind| candidate(rect(10, 10, 90, 90), kind, "dish", 0.9);
        let soup = rect(14, 14, 86, 86);
        assert_eq!(
            asked(std::slice::from_ref(&soup), &[dish(Kind::Bowl)]),
            std::slice::from_ref(&soup)
        );
        assert!(asked(&[soup], &[dish(Kind::Plate)]).is_empty());
    }

    #[test]
    fn crops_are_capped() {
        let wide = RgbImage::new(448, 300, vec![9; 448 * 300 * 3]).unwrap();
        let small = capped(wide).unwrap();
        assert_eq!((small.width(), small.height()), (224, 150));
        let kept = capped(RgbImage::new(50, 50, vec![9; 7500]).unwrap()).unwrap();
        assert_eq!(kept.width(), 50);
    }
}
