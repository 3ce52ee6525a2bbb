//! Which masks show what no box covers: what is worth a place in the second question.

use dragunov_models::Mask;
use dragunov_models::depth_anything::Depth;

use super::relief::Relief;
use crate::identify::{Kind, MAX_TOGETHER};
use crate::perceive::ellipse::roundness;
use crate::perceive::region::{Candidate, Scored, lies_on};

/// A mask of which less lies in the masks of what was named is something else.
const MAX_COVERED_SHARE: f64 = 0.3;
/// What was named is no part of another mask if it is drawn as well as that: at least with this share of its quality.
const MIN_QUALITY_RATIO: f64 = 0.6;
/// A mask of which more lies in the dish's box lies on it; one that is nearly as large is the dish.
const MIN_SHARE_ON_DISH: f64 = 0.85;
const MAX_DISH_SHARE: f64 = 0.7;
/// What fills a bowl is nearly as large as the bowl.
const MAX_BOWL_SHARE: f64 = 0.92;
/// Two masks whose IoU is over this show one thing; as long as there is room a thing is shown in other outlines, too, whose IoU is
/// under the second: one of them may hold its neighbour.
const SAME_THING_IOU: f64 = 0.6;
const SAME_OUTLINE_IOU: f64 = 0.85;
/// A mask's worth is its area to this power times its quality, as where masks are chosen: the whole of a thing before its parts.
const AREA_WORTH_POWER: f64 = 0.3;
/// Dishes that are asked about where food that was named lies on none, and the least roundness of one.
const MAX_DISHES: usize = 2;
const MIN_DISH_ROUNDNESS: f64 = 0.8;

/// What was named.
pub(super) struct Named<'a> {
    /// All but dishes, each with the quality of its mask.
    things: Vec<(&'a Mask, f64)>,
    covered: Option<Mask>,
    /// Foods on no dish.
    bare: Vec<&'a Mask>,
    dishes: Vec<(Kind, &'a Mask)>,
}

impl<'a> Named<'a> {
    pub(super) fn of(found: &'a [Candidate]) -> Self {
        let is_dish = |c: &&Candidate| c.identity.kind.dish().is_some();
        let things = found.iter().filter(|c| !is_dish(c));
        let things: Vec<(&Mask, f64)> = things.map(|c| (&c.mask, c.quality)).collect();
        let dishes: Vec<(Kind, &Mask)> = found
            .iter()
            .filter(is_dish)
            .map(|c| (c.identity.kind, &c.mask))
            .collect();
        let foods = found.iter().filter(|c| c.identity.kind == Kind::Food);
        let bare = foods
            .map(|c| &c.mask)
            .filter(|f| !dishes.iter().any(|(_, d)| lies_on(f, d)))
            .collect();
        Self {
            covered: union(things.iter().map(|(mask, _)| *mask)),
            things,
            bare,
            dishes,
        }
    }

    /// What hides the flat dishes: things and bowls.
    pub(super) fn on_flat_dishes(&self) -> Option<Mask> {
        let bowls = self.dishes.iter().filter(|(kind, _)| *kind == Kind::Bowl);
        let bowls = bowls.map(|(_, mask)| *mask);
        union(self.things.iter().map(|(mask, _)| *mask).chain(bowls))
    }

    /// What has no wall around what lies on it.
    pub(super) fn flat_dishes(&self) -> impl Iterator<Item = &'a Mask> {
        let flat = self.dishes.iter().filter(|(kind, _)| *kind != Kind::Bowl);
        flat.map(|(_, dish)| *dish)
    }

    /// Whether a mask is no part of what was named.
    fn leaves(&self, mask: &Mask) -> bool {
        let covered = self.covered.as_ref();
        covered
            .is_none_or(|c| mask.intersection_area(c) as f64 <= MAX_COVERED_SHARE * mask.area().max(1) as f64)
    }

    /// The mask without what was named, where that is drawn well.
    fn without_named(&self, mask: &Mask, quality: f64) -> Mask {
        let well_drawn = self
            .things
            .iter()
            .filter(|(_, q)| *q >= MIN_QUALITY_RATIO * quality);
        well_drawn.fold(mask.clone(), |left, (thing, _)| left.subtract(thing))
    }

    /// The roundest masks, at most [`MAX_DISHES`], that may be the dish of food that lies on none, or a dish beside the others.
    pub(super) fn dishes_left_out(&self, masks: &[Scored]) -> Vec<Scored> {
        // A second dish of whose content nothing was named shows other masks on it, and lies on no other dish.
        let unseen = |mask: &Mask| {
            !self.dishes.is_empty()
                && self.leaves(mask)
                && self
                    .dishes
                    .iter()
                    .all(|(_, d)| mask.iou(d) <= SAME_THING_IOU && !lies_on(mask, d))
                && masks
                    .iter()
                    .any(|(inner, _)| on(inner, mask, MAX_BOWL_SHARE) && self.leaves(inner))
        };
        let mut carriers: Vec<(f64, &Scored)> = masks
            .iter()
            .filter(|(mask, _)| mask.sides_touched() < 3 && (carries(mask, &self.bare) || unseen(mask)))
            .map(|one| (roundness(&one.0), one))
            .filter(|(round, _)| *round >= MIN_DISH_ROUNDNESS)
            .collect();
        carriers.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut out = Vec::new();
        for (_, one) in carriers {
            take(one, &mut out, MAX_DISHES, SAME_THING_IOU);
        }
        out
    }

    /// The masks to ask about, at most [`MAX_TOGETHER`]: these dishes, and what is no part of what was named, lies on a dish and rises
    /// above the table, without what was named. Where no depth raster is, all of it is taken to rise.
    pub(super) fn left_out(
        &self,
        masks: &[Scored],
        dishes: Vec<Scored>,
        depth: Option<&Depth>,
    ) -> Vec<Scored> {
        // Where no dish was seen at all, whatever stands on the table may be food.
        let may_lie_on: Vec<&Mask> = (self.dishes.iter().map(|(_, mask)| *mask))
            .chain(dishes.iter().map(|(m, _)| m))
            .collect();
        let everything: Vec<&Mask> = (self.things.iter().map(|(mask, _)| *mask))
            .chain(may_lie_on.iter().copied())
            .collect();
        let relief = depth.and_then(|d| Relief::of(d, &everything));
        let bowls = || {
            let named = self.dishes.iter().filter(|(kind, _)| *kind == Kind::Bowl);
            named.map(|(_, mask)| *mask).chain(dishes.iter().map(|(m, _)| m))
        };
        let mut others: Vec<(f64, Scored)> = masks
            .iter()
            .filter(|(mask, _)| {
                // What lies in a bowl need not rise above its wall.
                let in_bowl = bowls().any(|bowl| on(mask, bowl, MAX_BOWL_SHARE));
                let on_dish = may_lie_on.iter().any(|dish| on(mask, dish, MAX_DISH_SHARE));
                let no_dish = may_lie_on.is_empty() && mask.sides_touched() < 2;
                let rises = || relief.as_ref().is_none_or(|r| r.rises(mask));
                self.leaves(mask) && (in_bowl || ((on_dish || no_dish) && rises()))
            })
            .map(|(mask, quality)| {
                let own = self.without_named(mask, *quality);
                let worth = (own.area() as f64).powf(AREA_WORTH_POWER) * quality;
                (worth, (own, *quality))
            })
            .collect();
        others.sort_by(|a, b| b.0.total_cmp(&a.0));
        let mut chosen = dishes;
        for alike in [SAME_THING_IOU, SAME_OUTLINE_IOU] {
            for (_, one) in &others {
                take(one, &mut chosen, MAX_TOGETHER, alike);
            }
        }
        chosen
    }
}

/// Adds a mask that shows nothing that is there already, as long as there is room.
fn take(one: &Scored, out: &mut Vec<Scored>, most: usize, alike: f64) {
    if out.len() < most && out.iter().all(|(mask, _)| mask.iou(&one.0) <= alike) {
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

fn union<'a>(mut masks: impl Iterator<Item = &'a Mask>) -> Option<Mask> {
    let first = masks.next()?.clone();
    Some(masks.fold(first, |all, m| all.union(m)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::perceive::region::tests::{candidate, rect};

    fn asked(masks: &[Mask], found: &[Candidate]) -> Vec<Mask> {
        let scored: Vec<Scored> = masks.iter().map(|m| (m.clone(), 0.9)).collect();
        let named = Named::of(found);
        let dishes = named.dishes_left_out(&scored);
        let asked = named.left_out(&scored, dishes, None);
        asked.into_iter().map(|(m, _)| m).collect()
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
    fn what_was_named_is_no_part_of_what_is_asked_about_unless_it_is_badly_drawn() {
        let plate = candidate(rect(0, 0, 100, 100), Kind::Plate, "plate", 0.9);
        let mut egg = candidate(rect(20, 20, 40, 40), Kind::Food, "egg", 0.9);
        let beans = rect(30, 20, 80, 50);
        let only = std::slice::from_ref(&beans);
        let asked_with = |egg: &Candidate| asked(only, &[plate.clone(), egg.clone()]);
        assert_eq!(asked_with(&egg), [beans.subtract(&egg.mask)]);
        egg.quality = 0.3;
        assert_eq!(asked_with(&egg), only);
    }

    #[test]
    fn another_outline_of_a_thing_is_asked_about_where_there_is_room() {
        let plate = candidate(rect(0, 0, 100, 100), Kind::Plate, "plate", 0.9);
        let (both, beans, again) = (rect(20, 20, 70, 50), rect(20, 20, 54, 50), rect(20, 20, 55, 50));
        let masks = [both.clone(), beans.clone(), again.clone()];
        assert_eq!(asked(&masks, std::slice::from_ref(&plate)), [both, again]);
        // Not before other things.
        let mut many: Vec<Mask> = (0..MAX_TOGETHER)
            .map(|i| rect(8 * i, 60, 8 * i + 4, 64))
            .collect();
        many.extend([rect(20, 20, 70, 50), beans]);
        assert_eq!(asked(&many, &[plate])[1].area(), 16);
    }
}
