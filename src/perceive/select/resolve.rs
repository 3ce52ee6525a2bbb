//! From overlapping, named masks to regions in which no pixel counts twice.
//!
//! Bounds were set on the 245 rendered scenes of development.

use dragunov_models::Mask;

use super::bowls::{fills, sure_bowls, without_walls};
use super::choose::{choose, disjoint};
use super::contents::with_contents_told;
use super::dishes::choose_dishes;
use super::misnamed::with_dishes_told;
use crate::contract::DishKind;
use crate::identify::{Identified, Kind};
use crate::perceive::region::{Candidate, FoodRegion, Regions, lies_on};

/// IoU from which on two masks of different kinds show one thing.
const SAME_THING_IOU: f64 = 0.7;
/// Where a dish is named with at least the first confidence, food that lies beside every such dish needs the second: folded
/// napkins and things in the room are taken for food more often than a meal lies on the bare table.
const MIN_DISH_CONFIDENCE: f64 = 0.5;
const MIN_CONFIDENCE_OFF_DISH: f64 = 0.6;

/// The masks to believe; foods come first and show different things.
pub(in crate::perceive) fn settle(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    candidates.retain(|c| !c.mask.is_empty() && c.identity.kind != Kind::Table);
    candidates = with_contents_told(with_dishes_told(candidates));
    candidates.sort_by(|a, b| b.score().total_cmp(&a.score()));
    let kept = distinct(candidates);
    let (foods, rest): (Vec<_>, Vec<_>) = kept.into_iter().partition(|c| c.identity.kind == Kind::Food);
    let mut out = choose(without_walls(foods, &rest));
    out.extend(rest);
    out
}

/// Decides which mask each pixel belongs to.
pub fn resolve(candidates: Vec<Candidate>) -> Regions {
    let (foods, rest): (Vec<_>, Vec<_>) = settle(candidates)
        .into_iter()
        .partition(|c| c.identity.kind == Kind::Food);
    let foods = disjoint(foods);
    let (on, mut rest): (Vec<_>, Vec<_>) = rest.into_iter().partition(|c| c.identity.kind.dish().is_some());
    let (foods, doubted): (Vec<_>, Vec<_>) = foods.into_iter().partition(|c| believed(c, &on));
    rest.extend(doubted);

    let mut regions = Regions {
        dishes: choose_dishes(on),
        ..Regions::default()
    };
    for c in rest {
        match c.identity.kind.reference() {
            Some(kind) => regions.references.push((kind, c.mask)),
            None => regions.others.push(c.mask),
        }
    }
    // Whatever lies on a dish is not the dish; food wins over cutlery and references over neither.
    for c in &foods {
        regions.others.iter_mut().for_each(|m| *m = m.subtract(&c.mask));
        regions
            .references
            .iter_mut()
            .for_each(|(_, m)| *m = m.subtract(&c.mask));
    }
    let dishes_with_food = regions.dishes.clone();
    for (_, dish) in &mut regions.dishes {
        for mask in foods.iter().map(|c| &c.mask).chain(&regions.others) {
            *dish = dish.subtract(mask);
        }
        for (_, mask) in &regions.references {
            *dish = dish.subtract(mask);
        }
    }
    regions.others.retain(|m| !m.is_empty());
    regions.references.retain(|(_, m)| !m.is_empty());
    regions.foods = merge_pieces(foods, &dishes_with_food);
    regions.dishes.retain(|(_, m)| !m.is_empty());
    regions
}

/// Best-scored masks first, dropping each that shows the same region as a better one. Foods among themselves and dishes
/// among themselves are left to [`choose`] and [`choose_dishes`], which know better than the score; and a bowl and what fills it are
/// two things, even where the content's mask was named a bowl once more.
fn distinct(sorted: Vec<Candidate>) -> Vec<Candidate> {
    let bowls: Vec<Mask> = sure_bowls(&sorted).map(|c| c.mask.clone()).collect();
    let held = |a: &Candidate, b: &Candidate| {
        (a.identity.kind, b.identity.kind) == (Kind::Food, Kind::Bowl)
            && (fills(&a.mask, &b.mask) || bowls.iter().any(|bowl| fills(&a.mask, bowl)))
    };
    let same = |a: &Candidate, b: &Candidate| {
        let (of_a, of_b) = (a.identity.kind, b.identity.kind);
        let left =
            (of_a == Kind::Food && of_b == Kind::Food) || (of_a.dish().is_some() && of_b.dish().is_some());
        !left && a.mask.iou(&b.mask) >= SAME_THING_IOU && !held(a, b) && !held(b, a)
    };
    let mut kept: Vec<Candidate> = Vec::new();
    for c in sorted {
        if kept.iter().all(|k| !same(k, &c)) {
            kept.push(c);
        }
    }
    kept
}

/// Whether a food is sure enough for where it lies.
fn believed(food: &Candidate, dishes: &[Candidate]) -> bool {
    let mut sure = dishes
        .iter()
        .filter(|d| d.identity.confidence >= MIN_DISH_CONFIDENCE)
        .peekable();
    sure.peek().is_none()
        || food.identity.confidence >= MIN_CONFIDENCE_OFF_DISH
        || sure.any(|d| lies_on(&food.mask, &d.mask))
}

/// Several pieces of one food on one dish are one item.
fn merge_pieces(foods: Vec<Candidate>, dishes: &[(DishKind, Mask)]) -> Vec<FoodRegion> {
    let dish_of = |mask: &Mask| dishes.iter().position(|(_, dish)| lies_on(mask, dish));
    let mut out: Vec<(Option<usize>, FoodRegion)> = Vec::new();
    for c in foods {
        let dish = dish_of(&c.mask);
        let twin = out.iter_mut().find(|(d, f)| {
            *d == dish && f.identity.label == c.identity.label && f.identity.label != Identified::UNKNOWN
        });
        match twin {
            Some((_, food)) => {
                food.mask = food.mask.union(&c.mask);
                food.pieces += 1;
                // Each piece was weighed on its own, or the sum is not known.
                let together = food.identity.grams.zip(c.identity.grams).map(|(a, b)| a + b);
                if c.identity.confidence > food.identity.confidence {
                    food.identity = c.identity;
                }
                food.identity.grams = together;
            }
            None => out.push((
                dish,
                FoodRegion {
                    mask: c.mask,
                    identity: c.identity,
                    pieces: 1,
                },
            )),
        }
    }
    out.into_iter().map(|(_, food)| food).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perceive::region::tests::{candidate, rect};

    fn labels(regions: &Regions) -> Vec<&str> {
        let mut names: Vec<_> = regions.foods.iter().map(|f| f.identity.label.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn no_pixel_counts_twice() {
        let regions = resolve(vec![
            candidate(rect(5, 5, 95, 95), Kind::Plate, "plate", 0.9),
            candidate(rect(10, 10, 50, 50), Kind::Food, "rice", 0.8),
            candidate(rect(40, 10, 80, 50), Kind::Food, "peas", 0.9),
            candidate(rect(60, 60, 90, 64), Kind::Cutlery, "cutlery", 0.9),
        ]);
        assert_eq!(labels(&regions), ["peas", "rice"]);
        let masks: Vec<&Mask> = regions
            .foods
            .iter()
            .map(|f| &f.mask)
            .chain(regions.dishes.iter().map(|(_, m)| m))
            .chain(&regions.others)
            .collect();
        for (i, a) in masks.iter().enumerate() {
            for b in &masks[i + 1..] {
                assert_eq!(a.intersection_area(b), 0);
            }
        }
        assert_eq!(
            regions.foods.iter().map(|f| f.mask.area()).sum::<usize>(),
            40 * 40 + 30 * 40
        );
        assert_eq!(regions.dishes[0].1.area(), 90 * 90 - 70 * 40 - 30 * 4);
    }

    #[test]
    fn a_group_gives_way_to_its_foods_and_a_part_to_its_food() {
        let group = resolve(vec![
            candidate(rect(10, 10, 60, 40), Kind::Food, "salad", 0.6),
            candidate(rect(10, 10, 35, 40), Kind::Food, "rice", 0.7),
            candidate(rect(35, 10, 60, 40), Kind::Food, "peas", 0.7),
        ]);
        assert_eq!(labels(&group), ["peas", "rice"]);
        let part = resolve(vec![
            candidate(rect(10, 10, 60, 40), Kind::Food, "banana", 0.8),
            candidate(rect(12, 12, 30, 38), Kind::Food, "banana", 0.9),
        ]);
        assert_eq!(part.foods.len(), 1);
        assert_eq!(part.foods[0].mask.area(), 50 * 30);
    }

    #[test]
    fn pieces_of_one_food_on_one_dish_are_one_item() {
        let regions = resolve(vec![
            candidate(rect(5, 5, 95, 95), Kind::Plate, "plate", 0.9),
            candidate(rect(10, 10, 20, 20), Kind::Food, "boiled egg half", 0.9),
            candidate(rect(30, 10, 40, 20), Kind::Food, "boiled egg half", 0.7),
        ]);
        assert_eq!((regions.foods.len(), regions.foods[0].pieces), (1, 2));
        assert_eq!(regions.foods[0].mask.area(), 200);
    }

    #[test]
    fn a_napkin_beside_the_plate_is_not_half_a_meal() {
        let plate = candidate(rect(40, 5, 95, 60), Kind::Plate, "plate", 0.9);
        let beside = |confidence| candidate(rect(5, 20, 30, 60), Kind::Food, "mashed potato", confidence);
        let napkin = resolve(vec![plate.clone(), beside(0.55)]);
        assert_eq!((labels(&napkin).len(), napkin.others.len()), (0, 1));
        let roll = resolve(vec![plate, beside(0.8)]);
        assert_eq!(labels(&roll), ["mashed potato"]);
        let bare = resolve(vec![beside(0.55)]);
        assert_eq!(labels(&bare), ["mashed potato"]);
    }

    #[test]
    fn a_full_bowl_and_its_content_are_both_kept() {
        let bowl = candidate(rect(10, 10, 60, 60), Kind::Bowl, "bowl", 0.95);
        let full = resolve(vec![
            bowl.clone(),
            candidate(rect(12, 12, 58, 58), Kind::Food, "beans", 0.8),
        ]);
        assert_eq!((labels(&full), full.dishes.len()), (vec!["beans"], 1));
        // No rim shows: one thing under two names.
        let twice = resolve(vec![
            bowl,
            candidate(rect(11, 10, 60, 60), Kind::Food, "beans", 0.8),
        ]);
        assert_eq!((labels(&twice).len(), twice.dishes.len()), (0, 1));
    }

    #[test]
    fn a_content_stays_where_its_mask_was_named_a_bowl_too() {
        let full = resolve(vec![
            candidate(rect(10, 10, 60, 60), Kind::Bowl, "bowl", 0.95),
            candidate(rect(14, 12, 56, 50), Kind::Bowl, "bowl", 0.7),
            candidate(rect(14, 12, 56, 49), Kind::Food, "soup", 0.5),
        ]);
        assert_eq!((labels(&full), full.dishes.len()), (vec!["soup"], 1));
    }

    #[test]
    fn the_same_region_named_twice_keeps_the_surer_name() {
        let regions = resolve(vec![
            candidate(rect(10, 10, 20, 20), Kind::Food, "egg", 0.3),
            candidate(rect(10, 10, 20, 21), Kind::Coin, "coin", 0.8),
            candidate(rect(0, 0, 100, 100), Kind::Table, "table", 1.0),
        ]);
        assert!(regions.foods.is_empty());
        assert_eq!(regions.references.len(), 1);
    }
}
