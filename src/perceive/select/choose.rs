//! Which of many overlapping food masks to believe.
//!
//! A region is often proposed several times: as a piece, as the whole food, together with its neighbour. The masks that
//! stay are those that are worth most together without showing the same thing twice. The identifier's confidence
//! does most of the work: it is low for a mask of two foods. Bounds were set on the 245 rendered scenes of development.

use std::collections::{BTreeMap, HashSet};

use dragunov_models::Mask;

use crate::identify::{Identified, Kind};
use crate::perceive::ellipse::roundness;
use crate::perceive::region::Candidate;

/// Two masks that share more than this of the smaller one show the same thing.
const MAX_SHARED_AREA: f64 = 0.3;
/// A mask's worth is its area to this power times its score squared. Two halves of a food are worth less than the food, but
/// more than one of them; with 0.5 a mask of a food and its neighbour beats the food's own too often. The score is squared
/// because otherwise a board that is half taken for food is worth more than the slice on it.
const AREA_WORTH_POWER: f64 = 0.3;
/// Share of a mask that must lie in another for it to lie on it.
const MIN_SHARE_ON_TOP: f64 = 0.85;
/// Food that lies on another food is at most this large beside it.
const MAX_ON_TOP_AREA_RATIO: f64 = 0.6;
/// Both must be named surely: what lies on top with the first confidence, and what is below, which could also be one mask
/// of both, with the second.
const MIN_ON_TOP_CONFIDENCE: f64 = 0.9;
const MIN_BELOW_CONFIDENCE: f64 = 0.7;
/// Novelty over which a mask's worth falls by a factor of e.
const NOVELTY_SCALE: f64 = 3.0;
/// A mask that is less round than this shows several pieces: a banana is 0.8, a heap of fries 0.7.
const MAX_SCATTERED_ROUNDNESS: f64 = 0.65;
/// Steps towards the best choice at most; some ten are usual.
const MAX_SWAPS: usize = 300;
/// Less gain than this is rounding.
const MIN_SWAP_GAIN: f64 = 1e-9;

/// The masks that are worth most together; the given order is kept.
pub(super) fn choose(foods: Vec<Candidate>) -> Vec<Candidate> {
    let rivals = Rivals::of(&foods);
    let mut chosen = vec![false; foods.len()];
    let mut order: Vec<usize> = (0..foods.len()).collect();
    order.sort_by(|&a, &b| foods[b].score().total_cmp(&foods[a].score()));
    for &i in &order {
        let free = rivals.of_chosen(i, &chosen).next().is_none();
        chosen[i] = free;
    }
    // A step compares what goes with what comes, not with all that stays, so it might come round again.
    let mut seen = HashSet::from([chosen.clone()]);
    while let Some((out, into)) = rivals.best_swap(&order, &chosen) {
        out.iter().for_each(|&i| chosen[i] = false);
        into.iter().for_each(|&i| chosen[i] = true);
        if !seen.insert(chosen.clone()) || seen.len() > MAX_SWAPS {
            break;
        }
    }
    let mut flags = chosen.into_iter();
    foods
        .into_iter()
        .filter(|_| flags.next().unwrap_or(false))
        .collect()
}

/// What each mask is worth, which food it shows by the index of its name, whether it shows several pieces, and which others it
/// excludes.
struct Rivals {
    worth: Vec<f64>,
    food: Vec<usize>,
    scattered: Vec<bool>,
    of: Vec<Vec<usize>>,
}

impl Rivals {
    fn of(foods: &[Candidate]) -> Self {
        let areas: Vec<f64> = foods.iter().map(|c| c.mask.area() as f64).collect();
        let worth = foods
            .iter()
            .zip(&areas)
            .map(|(c, area)| area.powf(AREA_WORTH_POWER) * c.score().powi(2) * purity(c))
            .collect();
        let boxes: Vec<_> = foods.iter().map(|c| c.mask.bbox()).collect();
        let mut of = vec![Vec::new(); foods.len()];
        for a in 0..foods.len() {
            for b in a + 1..foods.len() {
                let apart = match (&boxes[a], &boxes[b]) {
                    (Some(p), Some(q)) => p.x1 <= q.x0 || q.x1 <= p.x0 || p.y1 <= q.y0 || q.y1 <= p.y0,
                    _ => true,
                };
                if apart {
                    continue;
                }
                let both = foods[a].mask.intersection_area(&foods[b].mask) as f64;
                let (part, whole) = if areas[a] < areas[b] { (a, b) } else { (b, a) };
                let on_top = both > MIN_SHARE_ON_TOP * areas[part]
                    && areas[part] < MAX_ON_TOP_AREA_RATIO * areas[whole]
                    && is_other(&foods[part], &foods[whole]);
                if both > MAX_SHARED_AREA * areas[part] && !on_top {
                    of[a].push(b);
                    of[b].push(a);
                }
            }
        }
        // What has no name may be anything.
        let first_of_name = |(i, c): (usize, &Candidate)| match c.identity.label.as_str() {
            Identified::UNKNOWN => i,
            name => foods[..i]
                .iter()
                .position(|other| other.identity.label == name)
                .unwrap_or(i),
        };
        let food = foods.iter().enumerate().map(first_of_name).collect();
        let scattered = foods
            .iter()
            .map(|c| roundness(&c.mask) < MAX_SCATTERED_ROUNDNESS)
            .collect();
        Self {
            worth,
            food,
            scattered,
            of,
        }
    }

    /// What a set of masks is worth in place of `others`. Where one of these shows several pieces of a food, pieces are worth what one
    /// mask of their area is: else a few of them would beat the mask of all.
    fn worth(&self, set: &[usize], others: &[usize]) -> f64 {
        let in_pieces = |food: usize| others.iter().any(|&j| self.food[j] == food && self.scattered[j]);
        let mut alone = 0.0;
        let mut areas: BTreeMap<usize, f64> = BTreeMap::new();
        for &i in set {
            if in_pieces(self.food[i]) {
                *areas.entry(self.food[i]).or_default() += self.worth[i].powf(1.0 / AREA_WORTH_POWER);
            } else {
                alone += self.worth[i];
            }
        }
        alone
            + areas
                .values()
                .map(|area| area.powf(AREA_WORTH_POWER))
                .sum::<f64>()
    }

    fn of_chosen<'a>(&'a self, i: usize, chosen: &'a [bool]) -> impl Iterator<Item = usize> + 'a {
        self.of[i].iter().copied().filter(|&j| chosen[j])
    }

    /// The exchange that gains most: one mask for all it excludes, or several for one.
    fn best_swap(&self, order: &[usize], chosen: &[bool]) -> Option<(Vec<usize>, Vec<usize>)> {
        let one_for_many = order.iter().filter(|&&i| !chosen[i]).map(|&i| {
            let out: Vec<usize> = self.of_chosen(i, chosen).collect();
            (out, vec![i])
        });
        let many_for_one = order.iter().filter(|&&i| chosen[i]).map(|&out| {
            let mut freed: Vec<usize> = self.of[out]
                .iter()
                .copied()
                .filter(|&i| self.of_chosen(i, chosen).all(|j| j == out))
                .collect();
            freed.sort_by(|&a, &b| self.worth[b].total_cmp(&self.worth[a]));
            let mut into: Vec<usize> = Vec::new();
            for i in freed {
                if into.iter().all(|j| !self.of[i].contains(j)) {
                    into.push(i);
                }
            }
            (vec![out], into)
        });
        one_for_many
            .chain(many_for_one)
            .map(|(out, into)| (self.worth(&into, &out) - self.worth(&out, &into), out, into))
            .filter(|(gain, ..)| *gain > MIN_SWAP_GAIN)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, out, into)| (out, into))
    }
}

/// The less a crop looks like any food that the identifier knows, the likelier its mask shows more than one food or a part of one.
fn purity(c: &Candidate) -> f64 {
    c.identity
        .novelty
        .map_or(1.0, |novelty| (-novelty / NOVELTY_SCALE).exp())
}

/// Foods without those that lie in a larger one of the same name: what was taken for something else on top of a food is a part of it
/// once both have one name.
pub(in crate::perceive) fn without_parts(candidates: &[Candidate]) -> Vec<Candidate> {
    let part_of = |part: &Candidate, whole: &Candidate| {
        (part.identity.kind, whole.identity.kind) == (Kind::Food, Kind::Food)
            && part.identity.label == whole.identity.label
            && part.mask.area() < whole.mask.area()
            && part.mask.intersection_area(&whole.mask) as f64 > MIN_SHARE_ON_TOP * part.mask.area() as f64
    };
    let whole = |c: &&Candidate| !candidates.iter().any(|other| part_of(c, other));
    candidates.iter().filter(whole).cloned().collect()
}

/// Whether the smaller mask is surely something else than the food in whose mask it lies.
fn is_other(part: &Candidate, whole: &Candidate) -> bool {
    part.identity.label != whole.identity.label
        && whole.identity.confidence >= MIN_BELOW_CONFIDENCE
        && part.identity.confidence >= whole.identity.confidence.max(MIN_ON_TOP_CONFIDENCE)
}

/// Gives contested pixels to the smaller of two foods when it lies on the larger, else to the better scored. What
/// keeps less than half of its pixels is dropped.
pub(super) fn disjoint(mut foods: Vec<Candidate>) -> Vec<Candidate> {
    let on_top = |part: &Mask, whole: &Mask| {
        part.intersection_area(whole) as f64 > MIN_SHARE_ON_TOP * part.area() as f64
            && part.area() < whole.area()
    };
    foods.sort_by(|a, b| b.score().total_cmp(&a.score()));
    let mut out: Vec<Candidate> = Vec::new();
    for (i, c) in foods.iter().enumerate() {
        let others = foods.iter().enumerate().filter(|(j, _)| *j != i);
        let mask = others.fold(c.mask.clone(), |left, (j, other)| {
            let theirs = on_top(&other.mask, &c.mask) || (j < i && !on_top(&c.mask, &other.mask));
            if theirs { left.subtract(&other.mask) } else { left }
        });
        if 2 * mask.area() >= c.mask.area() && !mask.is_empty() {
            out.push(Candidate { mask, ..c.clone() });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identify::Kind;
    use crate::perceive::region::tests::{candidate, rect};

    fn food(mask: Mask, label: &str, confidence: f64) -> Candidate {
        candidate(mask, Kind::Food, label, confidence)
    }

    fn chosen(foods: Vec<Candidate>) -> Vec<(String, usize)> {
        choose(foods)
            .into_iter()
            .map(|c| (c.identity.label, c.mask.area()))
            .collect()
    }

    #[test]
    fn a_mask_of_two_foods_gives_way_to_both() {
        // The identifier is unsure of the pair; each food alone overlaps its neighbour a little.
        let found = chosen(vec![
            food(rect(10, 10, 60, 40), "fried rice", 0.5),
            food(rect(10, 10, 36, 40), "salmon", 0.9),
            food(rect(34, 10, 60, 40), "rice", 0.9),
        ]);
        assert_eq!(found, [("salmon".into(), 780), ("rice".into(), 780)]);
    }

    #[test]
    fn a_food_beats_its_part_but_not_when_it_swallows_a_neighbour() {
        let part = chosen(vec![
            food(rect(10, 10, 60, 40), "banana", 0.8),
            food(rect(12, 12, 30, 38), "banana", 0.9),
        ]);
        assert_eq!(part, [("banana".into(), 1500)]);
        let swallowed = chosen(vec![
            food(rect(10, 10, 50, 40), "salmon", 0.8),
            food(rect(10, 10, 38, 40), "salmon", 0.98),
            food(rect(38, 10, 70, 40), "rice", 0.98),
        ]);
        assert_eq!(swallowed, [("salmon".into(), 840), ("rice".into(), 960)]);
    }

    #[test]
    fn a_few_pieces_do_not_beat_the_mask_of_all() {
        let (one, two, third) = (rect(10, 10, 25, 25), rect(40, 40, 55, 55), rect(75, 10, 95, 30));
        let all = one.union(&two).union(&third);
        let of = |whole: &Mask, name: &str| {
            let pieces = [&one, &two].map(|mask| food(mask.clone(), name, 0.95));
            chosen([&[food(whole.clone(), name, 0.9)], &pieces[..]].concat())
        };
        assert_eq!(of(&all, "strawberries"), [("strawberries".into(), 850)]);
        assert_eq!(
            of(&all, Identified::UNKNOWN).len(),
            2,
            "two things, for all that is known"
        );
        // Nor is what lies between them food of their name because they are.
        assert_eq!(of(&rect(5, 5, 60, 60), "boiled egg half").len(), 2);
    }

    #[test]
    fn a_slice_beats_the_board_that_is_half_taken_for_food() {
        let found = chosen(vec![
            food(rect(5, 5, 95, 65), "porridge", 0.5),
            food(rect(40, 20, 60, 42), "watermelon slice", 0.98),
        ]);
        assert_eq!(found, [("watermelon slice".into(), 440)]);
    }

    #[test]
    fn of_two_masks_the_one_that_looks_like_a_food_is_chosen() {
        let seen = |mask, novelty| {
            let mut c = food(mask, "peas", 0.98);
            c.identity.novelty = Some(novelty);
            c
        };
        let (peas, with_beans) = (rect(10, 10, 40, 40), rect(10, 10, 52, 40));
        let of = |novelty| chosen(vec![seen(peas.clone(), 0.7), seen(with_beans.clone(), novelty)]);
        assert_eq!(of(0.7), [("peas".into(), 1260)]);
        assert_eq!(of(1.2), [("peas".into(), 900)]);
    }

    #[test]
    fn what_got_the_name_of_the_food_it_lies_on_is_a_part_of_it() {
        let both = food(rect(10, 10, 60, 40), "egg", 0.6);
        let one = food(rect(12, 12, 35, 38), "egg", 0.6);
        let sauce = food(rect(40, 12, 50, 38), "ketchup", 0.95);
        let left: Vec<usize> = without_parts(&[one, sauce, both])
            .iter()
            .map(|c| c.mask.area())
            .collect();
        assert_eq!(left, [260, 1500]);
    }

    #[test]
    fn an_egg_on_rice_is_both() {
        let found = disjoint(choose(vec![
            food(rect(10, 10, 60, 60), "rice", 0.9),
            food(rect(20, 20, 40, 40), "fried egg", 0.95),
        ]));
        let areas: Vec<usize> = found.iter().map(|c| c.mask.area()).collect();
        assert_eq!(areas, [400, 2100]);
        let unsure = chosen(vec![
            food(rect(10, 10, 60, 60), "rice", 0.9),
            food(rect(20, 20, 40, 40), "fried egg", 0.6),
        ]);
        assert_eq!(unsure, [("rice".into(), 2500)]);
    }
}
