//! Dishes that were taken for food. A plate that the identifier never saw may be named by what lies on it; then it looks less like any
//! food that the identifier knows than what it holds. Where an identifier does not tell that, nothing is done: a pizza is round and
//! holds tomatoes. Bounds were set on the 245 rendered scenes of development and 140 of our own renderer.

use crate::identify::{Identified, Kind};
use crate::perceive::ellipse::roundness;
use crate::perceive::region::Candidate;

/// Plates with food on them are at least this round; slices of bread are 0.85.
const MIN_ROUNDNESS: f64 = 0.9;
/// What is held lies in the dish with at least this share of its area and has at most the second share of the dish's.
const MIN_SHARE_INSIDE: f64 = 0.85;
const MAX_HELD_AREA_RATIO: f64 = 0.6;
/// Confidence of a food that tells that what it lies on is none.
const MIN_HELD_CONFIDENCE: f64 = 0.9;
/// How much less than the held foods the dish must look like any food that the identifier knows.
const MIN_NOVELTY_RATIO: f64 = 1.3;
/// A round food alone that takes more of the dish than this is the content of a bowl.
const MIN_CONTENT_AREA_RATIO: f64 = 0.35;
/// Of dishes, from which on what lies on one is no other.
const MIN_DISH_CONFIDENCE: f64 = 0.5;

/// The candidates with what is a plate or bowl by its shape and by what it holds named so.
pub(super) fn with_dishes_told(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    let dishes: Vec<(usize, Kind)> = (0..candidates.len())
        .filter_map(|i| Some((i, dish(&candidates[i], &candidates)?)))
        .collect();
    for (i, kind) in dishes {
        candidates[i].identity = Identified {
            kind,
            label: kind.as_str().into(),
            confidence: MIN_DISH_CONFIDENCE,
            alternatives: Vec::new(),
            grams: None,
            novelty: None,
        };
    }
    candidates
}

/// What kind of dish a food is, if it is one.
fn dish(whole: &Candidate, all: &[Candidate]) -> Option<Kind> {
    let lies_in = |part: &Candidate, on: &Candidate| {
        part.mask.intersection_area(&on.mask) as f64 > MIN_SHARE_INSIDE * part.mask.area() as f64
    };
    let on_a_dish = || {
        all.iter().any(|d| {
            d.identity.kind.dish().is_some()
                && d.identity.confidence >= MIN_DISH_CONFIDENCE
                && lies_in(whole, d)
        })
    };
    if whole.identity.kind != Kind::Food || roundness(&whole.mask) < MIN_ROUNDNESS || on_a_dish() {
        return None;
    }
    let share = |c: &Candidate| c.mask.area() as f64 / whole.mask.area() as f64;
    let held: Vec<&Candidate> = (all.iter())
        .filter(|c| c.identity.kind == Kind::Food && c.identity.label != whole.identity.label)
        .filter(|c| share(c) < MAX_HELD_AREA_RATIO && surer(c, whole) && lies_in(c, whole))
        .collect();
    let first = held.first()?;
    let alone = held.iter().all(|c| c.identity.label == first.identity.label);
    let fills = |c: &&Candidate| share(c) > MIN_CONTENT_AREA_RATIO && roundness(&c.mask) > MIN_ROUNDNESS;
    Some(if alone && held.iter().any(fills) {
        Kind::Bowl
    } else {
        Kind::Plate
    })
}

/// Whether what is held is a food rather than what it lies on.
fn surer(held: &Candidate, whole: &Candidate) -> bool {
    let (held, whole) = (&held.identity, &whole.identity);
    let looks_more_like_food =
        (held.novelty.zip(whole.novelty)).is_some_and(|(h, w)| w > MIN_NOVELTY_RATIO * h);
    held.confidence >= MIN_HELD_CONFIDENCE && looks_more_like_food
}

#[cfg(test)]
mod tests {
    use dragunov_models::Mask;

    use super::*;
    use crate::perceive::ellipse::tests::ellipse;
    use crate::perceive::region::tests::candidate;

    fn food(mask: Mask, label: &str, confidence: f64, novelty: Option<f64>) -> Candidate {
        let mut c = candidate(mask, Kind::Food, label, confidence);
        c.identity.novelty = novelty;
        c
    }

    fn rect(x0: usize, y0: usize, x1: usize, y1: usize) -> Mask {
        Mask::from_fn(200, 160, |x, y| (x0..x1).contains(&x) && (y0..y1).contains(&y))
    }

    fn first_is(candidates: &[Candidate]) -> Kind {
        with_dishes_told(candidates.to_vec())[0].identity.kind
    }

    #[test]
    fn a_plate_named_by_the_food_on_it_is_a_plate() {
        let plate = ellipse(100.0, 80.0, 80.0, 60.0, 0.0);
        let seen = |novelty| {
            [
                food(plate.clone(), "french fries", 0.87, Some(1.8)),
                food(rect(60, 50, 120, 100), "french fries", 0.98, Some(1.1)),
                food(rect(130, 60, 150, 80), "falafel", 0.99, Some(novelty)),
            ]
        };
        assert_eq!(first_is(&seen(1.1)), Kind::Plate);
        assert_eq!(first_is(&seen(1.6)), Kind::Food, "what is on it is no surer food");
        assert_eq!(first_is(&seen(1.1)[..2]), Kind::Food, "a food and its part");
    }

    #[test]
    fn soup_in_something_round_is_in_a_bowl() {
        let bowl = food(ellipse(100.0, 80.0, 80.0, 60.0, 0.0), "tomato", 0.4, Some(1.5));
        let soup = |a, b| food(ellipse(100.0, 84.0, a, b, 0.0), "soup", 0.91, Some(1.1));
        assert_eq!(first_is(&[bowl.clone(), soup(58.0, 44.0)]), Kind::Bowl);
        assert_eq!(first_is(&[bowl, soup(30.0, 20.0)]), Kind::Plate);
    }

    #[test]
    fn what_may_be_food_stays_food() {
        let disc = |novelty| food(ellipse(100.0, 80.0, 50.0, 40.0, 0.0), "pizza", 0.9, novelty);
        let tomato = |novelty| food(rect(80, 70, 90, 80), "tomato slices", 0.95, novelty);
        assert_eq!(first_is(&[disc(None), tomato(None)]), Kind::Food, "nothing tells");
        assert_eq!(first_is(&[disc(Some(1.0)), tomato(Some(0.9))]), Kind::Food);
        let strange = [disc(Some(1.8)), tomato(Some(0.9))];
        assert_eq!(first_is(&strange), Kind::Plate);
        let plate = candidate(ellipse(100.0, 80.0, 90.0, 70.0, 0.0), Kind::Plate, "plate", 0.9);
        assert_eq!(first_is(&[&strange[..], &[plate]].concat()), Kind::Food);
        // Toast is square.
        let toast = food(rect(50, 40, 150, 120), "toast", 0.5, Some(1.8));
        let egg = food(rect(80, 60, 110, 90), "fried egg", 0.99, Some(0.8));
        assert_eq!(first_is(&[toast, egg]), Kind::Food);
    }
}
