//! Which items of several photos are the same thing.
//!
//! Two photos of a table differ by a turn about the vertical and a shift. Every turn is tried, each anchored at a pair of items that may
//! be the same by name, or at two rims; under the best one, pairs are taken in the order of what speaks for them: name, size, place.
//! Where the turn is sure, what is left at one and the same place is one thing, whatever each photo calls it.

use std::f64::consts::TAU;

use super::sighting::{Rim, Seen, Sighting};
use super::turn::{Spread, Tie, Turn};

/// Turns that are tried.
const TURNS: usize = 72;
/// A pair is one thing if what speaks against it, in squared standard deviations, is less than this.
const MOST_AGAINST: f64 = 9.0;
/// No single size or place speaks against a pair by more than this: masks and depth go wrong.
const MOST_BY_SIZE: f64 = 6.0;
const MOST_BY_PLACE: f64 = 9.0;
/// Chance that two photos of one thing give it names of different categories; of one category and different.
const OTHER_CATEGORY: f64 = 0.02;
const SAME_CATEGORY: f64 = 0.1;
/// Photos show one meal if this share of the items of the poorer one is found on the other.
const SAME_MEAL_SHARE: f64 = 0.5;
/// What names must say for a pair to anchor a turn.
const LIKELY_NAME: f64 = 0.05;
/// Chance that two names are of one food from which a pair makes two photos one meal.
const SAME_NAME: f64 = 0.2;
/// Share of what one photo's names leave open that the other's may mean.
const OPEN_NAME: f64 = 0.25;
/// Two rims are one if what speaks against it is less than this; the radius of a rim is off by the second, sd of its logarithm.
const MOST_AGAINST_RIMS: f64 = 6.0;
const RIM_SIGMA_LN: f64 = 0.12;
/// A turn is sure where it is off by no more than this, cm.
pub(super) const SURE_CM: f64 = 2.5;
/// Two things whose middles are nearer than this share of their reaches together lie in one another: they are one. Of other sizes than
/// this factor they are two, as an egg on rice.
const SAME_PLACE_SHARE: f64 = 0.5;
const SAME_PLACE_SIZES: f64 = 5.0;

/// One thing, and where it is seen: photo and index there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) members: Vec<(usize, usize)>,
}

/// How a photo's table lies against that of the main photo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Pose {
    pub(super) turn: Turn,
    pub(super) spread: Spread,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grouping {
    pub(super) groups: Vec<Group>,
    /// The photo that the others were matched to.
    pub(super) main: usize,
    /// Photos of another meal.
    pub(super) strangers: Vec<usize>,
    /// By photo; none of a stranger, and where nothing tells.
    pub(super) poses: Vec<Option<Pose>>,
}

/// Groups the items of all photos. The photo that agrees most with the others leads; those that do not fit it are strangers.
pub(super) fn group(seen: &[Seen]) -> Grouping {
    let agreement = |k: usize| -> usize {
        let others = (0..seen.len()).filter(|&other| other != k);
        others
            .map(|other| align(&seen[k], &seen[other]).pairs.len())
            .sum()
    };
    // The first of equals.
    let main = (0..seen.len()).rev().max_by_key(|&k| agreement(k)).unwrap_or(0);
    let mut merged = seen.get(main).cloned().unwrap_or_default();
    let mut groups: Vec<Group> = (0..merged.items.len())
        .map(|index| Group {
            members: vec![(main, index)],
        })
        .collect();
    let mut strangers = Vec::new();
    let mut poses = vec![None; seen.len()];
    if let Some(own) = poses.get_mut(main) {
        *own = Some(Pose {
            turn: Turn::default(),
            spread: Spread::NONE,
        });
    }
    for (photo, other) in seen.iter().enumerate().filter(|(photo, _)| *photo != main) {
        let found = align(&merged, other);
        if !found.same_meal(merged.items.len(), other.items.len()) {
            strangers.push(photo);
            continue;
        }
        poses[photo] = found.pose(&merged, other);
        for &(of_meal, index) in &found.pairs {
            groups[of_meal].members.push((photo, index));
        }
        for (index, item) in other.items.iter().enumerate() {
            if !found.pairs.iter().any(|p| p.1 == index) {
                groups.push(Group {
                    members: vec![(photo, index)],
                });
                merged.items.push(Sighting {
                    place: found.turn.apply(item.place),
                    ..item.clone()
                });
            }
        }
    }
    Grouping {
        groups,
        main,
        strangers,
        poses,
    }
}

#[derive(Debug, Clone, Default)]
struct Alignment {
    /// Indices of the first and of the second list.
    pairs: Vec<(usize, usize)>,
    rims: Vec<(usize, usize)>,
    turn: Turn,
    /// What the pairs spare against taking every item for another thing.
    gain: f64,
    /// A pair's name speaks for it.
    by_name: bool,
}

impl Alignment {
    fn same_meal(&self, first: usize, second: usize) -> bool {
        let poorer = first.min(second) as f64;
        self.by_name && self.pairs.len() as f64 >= SAME_MEAL_SHARE * poorer
    }

    /// The turn that all pairs together tell.
    fn pose(&self, first: &Seen, second: &Seen) -> Option<Pose> {
        let items = self.pairs.iter().map(|&(i, j)| {
            let (a, b) = (&first.items[i], &second.items[j]);
            (a.place, b.place, a.tie_sigma_cm.powi(2) + b.tie_sigma_cm.powi(2))
        });
        let rims = self.rims.iter().map(|&(i, j)| {
            let (a, b) = (&first.rims[i], &second.rims[j]);
            (a.middle, b.middle, a.sigma_cm.powi(2) + b.sigma_cm.powi(2))
        });
        let ties: Vec<Tie> = items.chain(rims).collect();
        let (turn, spread) = Turn::fitted(&ties)?;
        Some(Pose { turn, spread })
    }
}

/// The best pairs of two photos.
fn align(first: &Seen, second: &Seen) -> Alignment {
    let agree: Vec<Vec<f64>> = (first.items.iter())
        .map(|a| second.items.iter().map(|b| same_name(a, b)).collect())
        .collect();
    let mut anchors: Vec<([f64; 2], [f64; 2])> = Vec::new();
    for (i, a) in first.items.iter().enumerate() {
        for (j, b) in second.items.iter().enumerate() {
            if agree[i][j] >= LIKELY_NAME {
                anchors.push((b.place, a.place));
            }
        }
    }
    for a in &first.rims {
        anchors.extend(second.rims.iter().map(|b| (b.middle, a.middle)));
    }
    let mut best = Alignment::default();
    for (from, to) in anchors {
        for step in 0..TURNS {
            let turn = Turn::anchored(TAU * step as f64 / TURNS as f64, from, to);
            let found = pairs(first, second, &agree, turn);
            if found.gain > best.gain {
                best = found;
            }
        }
    }
    if let Some(pose) = best.pose(first, second) {
        let found = pairs(first, second, &agree, pose.turn);
        if found.gain > best.gain && found.pairs.len() >= best.pairs.len() {
            best = found;
        }
        best.turn = pose.turn;
        add_same_place(&mut best, pose, first, second);
    }
    // Nothing speaks for another meal where one of the photos names nothing.
    let nameless = |seen: &Seen| seen.items.iter().all(|s| named(s) < SAME_NAME);
    best.by_name = nameless(first)
        || nameless(second)
        || (best.pairs.iter()).any(|&(i, j)| overlap(&first.items[i], &second.items[j]) >= SAME_NAME);
    best
}

/// Pairs under a turn, those that most speaks for first, each item once.
fn pairs(first: &Seen, second: &Seen, agree: &[Vec<f64>], turn: Turn) -> Alignment {
    let against = |i: usize, j: usize| {
        let (a, b) = (&first.items[i], &second.items[j]);
        let size = ((a.ln_cm3 - b.ln_cm3).powi(2) / (a.sigma_ln.powi(2) + b.sigma_ln.powi(2)).max(0.01))
            .min(MOST_BY_SIZE);
        let sigma = a.place_sigma_cm.powi(2) + b.place_sigma_cm.powi(2);
        let place = (apart(a.place, turn.apply(b.place)).powi(2) / sigma).min(MOST_BY_PLACE);
        -2.0 * agree[i][j].ln() + size + place
    };
    let rim_against = |i: usize, j: usize| rims_apart(&first.rims[i], &second.rims[j], turn);
    let (items, by_items) = greedy(first.items.len(), second.items.len(), MOST_AGAINST, against);
    let (rims, by_rims) = greedy(
        first.rims.len(),
        second.rims.len(),
        MOST_AGAINST_RIMS,
        rim_against,
    );
    Alignment {
        // Dishes alone are no meal.
        gain: if items.is_empty() { 0.0 } else { by_items + by_rims },
        pairs: items,
        rims,
        turn,
        by_name: false,
    }
}

/// Pairs of `first` and `second` things against each of which less than `most` speaks, and what they spare in all.
fn greedy(
    first: usize,
    second: usize,
    most: f64,
    against: impl Fn(usize, usize) -> f64,
) -> (Vec<(usize, usize)>, f64) {
    let mut candidates: Vec<(f64, usize, usize)> = (0..second)
        .flat_map(|j| (0..first).map(move |i| (i, j)))
        .map(|(i, j)| (against(i, j), i, j))
        .filter(|(against, ..)| *against < most)
        .collect();
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut found, mut gain) = (Vec::new(), 0.0);
    for (against, i, j) in candidates {
        if found.iter().all(|&(a, b)| a != i && b != j) {
            found.push((i, j));
            gain += most - against;
        }
    }
    (found, gain)
}

fn rims_apart(a: &Rim, b: &Rim, turn: Turn) -> f64 {
    let place = apart(a.middle, turn.apply(b.middle)).powi(2) / (a.sigma_cm.powi(2) + b.sigma_cm.powi(2));
    place + ((a.radius_cm / b.radius_cm).ln() / RIM_SIGMA_LN).powi(2)
}

/// Pairs what is left and lies in one another.
fn add_same_place(best: &mut Alignment, pose: Pose, first: &Seen, second: &Seen) {
    let share = |i: usize, j: usize| {
        let (a, b) = (&first.items[i], &second.items[j]);
        let place = pose.turn.apply(b.place);
        let sure = pose.spread.at(place) <= SURE_CM;
        let alike = (a.ln_cm3 - b.ln_cm3).abs() <= SAME_PLACE_SIZES.ln();
        let left = best.pairs.iter().all(|&(p, q)| p != i && q != j);
        if sure && alike && left {
            apart(a.place, place) / (a.reach_cm + b.reach_cm).max(1e-6)
        } else {
            f64::INFINITY
        }
    };
    let (more, _) = greedy(first.items.len(), second.items.len(), SAME_PLACE_SHARE, share);
    best.pairs.extend(more);
}

fn apart(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

/// Chance that the names are of one thing, 0 to 1.
fn same_name(a: &Sighting, b: &Sighting) -> f64 {
    let least = if a.category == b.category {
        SAME_CATEGORY
    } else {
        OTHER_CATEGORY
    };
    let open = |s: &Sighting| (1.0 - named(s)).clamp(0.0, 1.0);
    (overlap(a, b) + OPEN_NAME * open(a).max(open(b))).clamp(least, 1.0)
}

/// Chance of all that a photo names it.
fn named(s: &Sighting) -> f64 {
    s.names.values().sum()
}

/// Chance that both photos mean the same food.
fn overlap(a: &Sighting, b: &Sighting) -> f64 {
    a.names
        .iter()
        .filter_map(|(name, p)| Some(p * b.names.get(name)?))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(name: &str, category: &str, cm3: f64, place: [f64; 2]) -> Sighting {
        Sighting {
            names: [(name.to_owned(), 0.9)].into(),
            category: category.into(),
            ln_cm3: cm3.ln(),
            sigma_ln: 0.25,
            place,
            place_sigma_cm: 2.0,
            tie_sigma_cm: 0.6,
            reach_cm: 3.0,
        }
    }

    fn of(items: Vec<Sighting>) -> Seen {
        Seen {
            items,
            rims: Vec::new(),
        }
    }

    /// The same table from another side.
    fn moved(items: &[Sighting], angle: f64, shift: [f64; 2], grown: f64) -> Vec<Sighting> {
        let turn = Turn::anchored(angle, [0.0; 2], shift);
        let mut out: Vec<Sighting> = items
            .iter()
            .map(|s| Sighting {
                place: turn.apply(s.place),
                ln_cm3: s.ln_cm3 + grown.ln(),
                ..s.clone()
            })
            .collect();
        out.reverse();
        out
    }

    fn plate() -> Vec<Sighting> {
        vec![
            seen("potato", "vegetables", 60.0, [-6.0, 2.0]),
            seen("potato", "vegetables", 90.0, [7.0, 1.0]),
            seen("steak", "meat", 150.0, [0.0, -4.0]),
            seen("peas", "vegetables", 80.0, [1.0, 6.0]),
        ]
    }

    #[test]
    fn things_are_found_again_from_another_side() {
        let first = plate();
        for angle in [0.3, 1.9, 4.0] {
            let second = moved(&first, angle, [11.0, -3.0], 1.15);
            let found = group(&[of(first.clone()), of(second)]);
            assert!(found.strangers.is_empty() && found.groups.len() == 4, "{found:?}");
            for (i, group) in found.groups.iter().enumerate() {
                assert_eq!(group.members, [(0, i), (1, 3 - i)], "{angle}");
            }
        }
    }

    #[test]
    fn what_one_photo_hides_is_kept_and_a_misnamed_thing_is_found_by_place() {
        let first = plate();
        let mut second = moved(&first, 1.2, [4.0, 4.0], 0.9);
        second.remove(0);
        second[0].names = [("pork chop".to_owned(), 0.8)].into();
        let found = group(&[of(second), of(first)]);
        assert_eq!(found.groups.len(), 4, "{found:?}");
        let steak = found
            .groups
            .iter()
            .find(|g| g.members.contains(&(1, 2)))
            .expect("a group");
        assert_eq!(steak.members, [(0, 0), (1, 2)]);
    }

    #[test]
    fn a_photo_of_another_meal_is_a_stranger() {
        let other = vec![
            seen("pancake", "bread", 200.0, [0.0, 0.0]),
            seen("banana", "fruit", 120.0, [5.0, 5.0]),
        ];
        let found = group(&[of(plate()), of(other), of(moved(&plate(), 0.7, [1.0, 0.0], 1.0))]);
        assert_eq!(
            (found.main, &found.strangers[..], found.groups.len()),
            (0, &[1][..], 4),
            "{found:?}"
        );
    }

    /// Two foods: one pair by name and the plate's rim tell the turn, and what nobody could name is told by its place.
    #[test]
    fn what_lies_at_one_place_is_one_thing_whatever_it_is_called() {
        let first = vec![
            seen("steak", "meat", 150.0, [5.0, 0.0]),
            seen("tofu", "legume", 90.0, [-4.0, 3.0]),
        ];
        let mut second = moved(&first, 2.6, [7.0, -2.0], 1.0);
        second[0].names = [("cheesecake".to_owned(), 0.99)].into();
        second[0].category = "dessert".into();
        second[0].ln_cm3 += 1.8f64.ln();
        let rim = |middle: [f64; 2]| Rim {
            middle,
            radius_cm: 13.0,
            sigma_cm: 0.7,
        };
        let with = |items: &[Sighting], middle| Seen {
            items: items.to_vec(),
            rims: vec![rim(middle)],
        };
        let found = group(&[with(&first, [0.0; 2]), with(&second, [7.0, -2.0])]);
        assert_eq!(found.groups.len(), 2, "{found:?}");
        assert_eq!(found.groups[1].members, [(0, 1), (1, 0)]);
        // Nothing tells the turn: they stay apart.
        let unsure = group(&[of(first), of(second)]);
        assert_eq!(unsure.groups.len(), 3, "{unsure:?}");
    }
}
