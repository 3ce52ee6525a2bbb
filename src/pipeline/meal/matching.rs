//! Which items of several photos are the same thing.
//!
//! Two photos of a table differ by a turn about the vertical and a shift. Every turn is tried, each anchored at a pair of items that may
//! be the same by name; under the best one, pairs are taken in the order of what speaks for them: name, size, place.

use std::f64::consts::TAU;

use super::sighting::Sighting;

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

/// One thing, and where it is seen: photo and index there.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) members: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grouping {
    pub(super) groups: Vec<Group>,
    /// The photo that the others were matched to.
    pub(super) main: usize,
    /// Photos of another meal.
    pub(super) strangers: Vec<usize>,
}

/// Groups the items of all photos. The photo that agrees most with the others leads; those that do not fit it are strangers.
pub(super) fn group(seen: &[Vec<Sighting>]) -> Grouping {
    let agreement = |k: usize| -> usize {
        let others = (0..seen.len()).filter(|&other| other != k);
        others
            .map(|other| align(&seen[k], &seen[other]).pairs.len())
            .sum()
    };
    // The first of equals.
    let main = (0..seen.len()).rev().max_by_key(|&k| agreement(k)).unwrap_or(0);
    let mut groups: Vec<Group> = (0..seen.get(main).map_or(0, Vec::len))
        .map(|index| Group {
            members: vec![(main, index)],
        })
        .collect();
    let mut merged: Vec<Sighting> = seen.get(main).cloned().unwrap_or_default();
    let mut strangers = Vec::new();
    for (photo, items) in seen.iter().enumerate().filter(|(photo, _)| *photo != main) {
        let found = align(&merged, items);
        if !found.same_meal(merged.len(), items.len()) {
            strangers.push(photo);
            continue;
        }
        for &(of_meal, index) in &found.pairs {
            groups[of_meal].members.push((photo, index));
        }
        for (index, item) in items.iter().enumerate() {
            if !found.pairs.iter().any(|p| p.1 == index) {
                groups.push(Group {
                    members: vec![(photo, index)],
                });
                merged.push(Sighting {
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
    }
}

/// A turn about the vertical, then a shift, cm.
#[derive(Debug, Clone, Copy, Default)]
struct Turn {
    sin: f64,
    cos: f64,
    shift: [f64; 2],
}

impl Turn {
    fn apply(&self, p: [f64; 2]) -> [f64; 2] {
        [
            self.cos * p[0] - self.sin * p[1] + self.shift[0],
            self.sin * p[0] + self.cos * p[1] + self.shift[1],
        ]
    }

    /// Brings `from` to `to`.
    fn anchored(angle: f64, from: [f64; 2], to: [f64; 2]) -> Self {
        let (sin, cos) = angle.sin_cos();
        let mut turn = Self {
            sin,
            cos,
            shift: [0.0; 2],
        };
        let turned = turn.apply(from);
        turn.shift = [to[0] - turned[0], to[1] - turned[1]];
        turn
    }
}

#[derive(Debug, Clone, Default)]
struct Alignment {
    /// Indices of the first and of the second list.
    pairs: Vec<(usize, usize)>,
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
}

/// The best pairs of two photos.
fn align(first: &[Sighting], second: &[Sighting]) -> Alignment {
    let agree: Vec<Vec<f64>> = (first.iter())
        .map(|a| second.iter().map(|b| same_name(a, b)).collect())
        .collect();
    let mut best = Alignment::default();
    for (i, a) in first.iter().enumerate() {
        for (j, b) in second.iter().enumerate() {
            if agree[i][j] < LIKELY_NAME {
                continue;
            }
            for step in 0..TURNS {
                let turn = Turn::anchored(TAU * step as f64 / TURNS as f64, b.place, a.place);
                let found = pairs(first, second, &agree, turn);
                if found.gain > best.gain {
                    best = found;
                }
            }
        }
    }
    best.by_name = best
        .pairs
        .iter()
        .any(|&(i, j)| overlap(&first[i], &second[j]) >= SAME_NAME);
    best
}

/// Pairs under a turn, those that most speaks for first, each item once.
fn pairs(first: &[Sighting], second: &[Sighting], agree: &[Vec<f64>], turn: Turn) -> Alignment {
    let mut candidates = Vec::new();
    for (j, b) in second.iter().enumerate() {
        let place = turn.apply(b.place);
        for (i, a) in first.iter().enumerate() {
            let size = ((a.ln_cm3 - b.ln_cm3).powi(2) / (a.sigma_ln.powi(2) + b.sigma_ln.powi(2)).max(0.01))
                .min(MOST_BY_SIZE);
            let apart = (a.place[0] - place[0]).powi(2) + (a.place[1] - place[1]).powi(2);
            let sigma = a.place_sigma_cm.powi(2) + b.place_sigma_cm.powi(2);
            let against = -2.0 * agree[i][j].ln() + size + (apart / sigma).min(MOST_BY_PLACE);
            if against < MOST_AGAINST {
                candidates.push((against, i, j));
            }
        }
    }
    candidates.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut found = Alignment {
        turn,
        ..Alignment::default()
    };
    for (against, i, j) in candidates {
        if found.pairs.iter().all(|&(a, b)| a != i && b != j) {
            found.pairs.push((i, j));
            found.gain += MOST_AGAINST - against;
        }
    }
    found
}

/// Chance that the names are of one thing, 0 to 1.
fn same_name(a: &Sighting, b: &Sighting) -> f64 {
    let least = if a.category == b.category {
        SAME_CATEGORY
    } else {
        OTHER_CATEGORY
    };
    overlap(a, b).clamp(least, 1.0)
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
        }
    }

    /// The same table from another side.
    fn moved(items: &[Sighting], angle: f64, shift: [f64; 2], grown: f64) -> Vec<Sighting> {
        let turn = Turn {
            shift,
            ..Turn::anchored(angle, [0.0; 2], [0.0; 2])
        };
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
            let found = group(&[first.clone(), second]);
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
        let found = group(&[second, first]);
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
        let found = group(&[plate(), other, moved(&plate(), 0.7, [1.0, 0.0], 1.0)]);
        assert_eq!(
            (found.main, &found.strangers[..], found.groups.len()),
            (0, &[1][..], 4),
            "{found:?}"
        );
    }
}
