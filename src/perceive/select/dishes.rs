//! Which of many overlapping dish masks to believe. Bounds were set on the 245 rendered scenes of development.

use dragunov_models::{ImagePx, Mask, Rect};

use crate::contract::DishKind;
use crate::identify::Kind;
use crate::perceive::ellipse::{Moments, roundness};
use crate::perceive::region::Candidate;

/// Two masks that share more than this of the smaller one show the same dish.
const MAX_SHARED_AREA: f64 = 0.5;
/// Largest area, beside the plate's, of a bowl that stands on it.
const MAX_BOWL_ON_PLATE_AREA_RATIO: f64 = 0.6;
/// Below this [`rating`] it is no dish: a stretch of table, a part of a rim.
const MIN_RATING: f64 = 0.1;
/// Roundness counts with this power: a plate together with the bowl beside it is no ellipse, nor is a part of a plate.
const ROUNDNESS_POWER: i32 = 4;
/// Roundness under which what surrounds a dish of at least the second is no dish.
const MAX_TABLE_ROUNDNESS: f64 = 0.75;
const MIN_HELD_ROUNDNESS: f64 = 0.9;
/// A plate around its well: least confidence and roundness, how large the well is beside it, how far off its middle in half widths, and
/// how much of it lies in the plate.
const MIN_PLATE_CONFIDENCE: f64 = 0.8;
const MIN_PLATE_ROUNDNESS: f64 = 0.8;
const WELL_AREA_RATIOS: std::ops::Range<f64> = 0.25..0.75;
const MAX_WELL_OFFSET: f64 = 0.15;
const MIN_WELL_SHARE: f64 = 0.95;
/// What a board counts for, which need not be round.
const BOARD_ROUNDNESS: f64 = 0.8;

/// One mask a dish: of several, the best and roundest, and of a plate and its well the plate. Masks hold what lies on the dish, too.
pub(super) fn choose_dishes(candidates: Vec<Candidate>) -> Vec<(DishKind, Mask)> {
    let mut rated: Vec<(f64, Candidate)> = without_tables(candidates)
        .into_iter()
        .map(|c| (rating(&c), c))
        .filter(|(rating, _)| *rating > MIN_RATING)
        .collect();
    rated.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut kept: Vec<(DishKind, Mask)> = Vec::new();
    for (_, c) in rated {
        let Some(kind) = c.identity.kind.dish() else {
            continue;
        };
        let in_the_way: Vec<usize> = (0..kept.len())
            .filter(|&i| !both_stand((kind, &c.mask), (kept[i].0, &kept[i].1)))
            .collect();
        match in_the_way[..] {
            [] => kept.push((kind, c.mask)),
            [well] if kept[well].0 == DishKind::Plate && has_well(&c, &kept[well].1) => kept[well].1 = c.mask,
            _ => {}
        }
    }
    without_neighbours(&mut kept);
    kept
}

/// Leaves out what is no round dish and surrounds one: the table, or the dish with what is around it.
fn without_tables(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    let seen: Vec<_> = (candidates.iter())
        .filter_map(|c| Some((c.mask.bbox()?, roundness(&c.mask))))
        .collect();
    let holds =
        |a: &Rect<ImagePx>, b: &Rect<ImagePx>| a.x0 < b.x0 && a.y0 < b.y0 && b.x1 < a.x1 && b.y1 < a.y1;
    candidates.retain(|c| {
        let board = c.identity.kind.dish() == Some(DishKind::Board);
        let is_table = c.mask.bbox().is_some_and(|outer| {
            let mut round = seen.iter().filter(|(_, r)| *r > MIN_HELD_ROUNDNESS);
            roundness(&c.mask) < MAX_TABLE_ROUNDNESS && round.any(|(inner, _)| holds(&outer, inner))
        });
        board || !is_table
    });
    candidates
}

/// Whether a dish already chosen is this plate's well: round, surely a plate, and around it on all sides.
fn has_well(plate: &Candidate, well: &Mask) -> bool {
    let (outer, inner) = (plate.mask.area() as f64, well.area() as f64);
    let middle = |mask: &Mask| Moments::of(mask).map(|m| m.mean);
    let (Some([x0, y0]), Some([x1, y1])) = (middle(&plate.mask), middle(well)) else {
        return false;
    };
    let off = (x0 - x1).hypot(y0 - y1) / (outer / std::f64::consts::PI).sqrt();
    plate.identity.kind == Kind::Plate
        && plate.identity.confidence >= MIN_PLATE_CONFIDENCE
        && WELL_AREA_RATIOS.contains(&(inner / outer))
        && off < MAX_WELL_OFFSET
        && plate.mask.intersection_area(well) as f64 > MIN_WELL_SHARE * inner
        && roundness(&plate.mask) > MIN_PLATE_ROUNDNESS
}

/// Takes a bowl out of the plate's mask where the plate is rounder without it: it stands beside the plate, not on it.
fn without_neighbours(dishes: &mut [(DishKind, Mask)]) {
    for i in 0..dishes.len() {
        for j in 0..dishes.len() {
            if i == j || dishes[i].0 == DishKind::Bowl || dishes[j].0 != DishKind::Bowl {
                continue;
            }
            let left = dishes[i].1.subtract(&dishes[j].1);
            if roundness(&left) > roundness(&dishes[i].1) {
                dishes[i].1 = left;
            }
        }
    }
}

/// How much a candidate is worth as a dish, 0 to 1. A board that leaves the photo on three sides is the table.
fn rating(c: &Candidate) -> f64 {
    let round = match c.identity.kind.dish() {
        Some(DishKind::Plate | DishKind::Bowl) => roundness(&c.mask).powi(ROUNDNESS_POWER),
        _ if c.mask.sides_touched() > 2 => 0.0,
        _ => BOARD_ROUNDNESS,
    };
    c.score() * round
}

/// Whether both may be dishes: they are apart, or a bowl stands on or before a plate.
fn both_stand(a: (DishKind, &Mask), b: (DishKind, &Mask)) -> bool {
    let both = a.1.intersection_area(b.1) as f64;
    let (small, large) = if a.1.area() < b.1.area() { (a, b) } else { (b, a) };
    let (smaller, larger) = (small.1.area() as f64, large.1.area() as f64);
    both <= MAX_SHARED_AREA * smaller
        || (small.0 == DishKind::Bowl
            && large.0 != DishKind::Bowl
            && smaller < MAX_BOWL_ON_PLATE_AREA_RATIO * larger)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perceive::ellipse::tests::ellipse;
    use crate::perceive::region::tests::candidate;

    #[test]
    fn plate_with_bowl_beside_it_is_two_dishes() {
        let plate = ellipse(60.0, 80.0, 50.0, 40.0, 0.0);
        let bowl = ellipse(150.0, 80.0, 30.0, 25.0, 0.0);
        let found = choose_dishes(vec![
            candidate(plate.union(&bowl), Kind::Plate, "plate", 1.0),
            candidate(plate.clone(), Kind::Plate, "plate", 0.9),
            candidate(bowl.clone(), Kind::Bowl, "bowl", 0.8),
        ]);
        assert_eq!(found, [(DishKind::Plate, plate), (DishKind::Bowl, bowl)]);
    }

    #[test]
    fn where_only_the_pair_was_seen_the_bowl_is_taken_out() {
        let plate = ellipse(60.0, 80.0, 50.0, 40.0, 0.0);
        let bowl = ellipse(145.0, 80.0, 30.0, 25.0, 0.0);
        let pair = plate.union(&bowl);
        let table = Mask::from_fn(200, 160, |_, y| y > 40).subtract(&pair);
        let found = choose_dishes(vec![
            candidate(pair, Kind::Plate, "plate", 1.0),
            candidate(bowl.clone(), Kind::Bowl, "bowl", 0.8),
            candidate(table, Kind::Plate, "plate", 0.5),
        ]);
        assert_eq!(found, [(DishKind::Bowl, bowl), (DishKind::Plate, plate)]);
    }

    #[test]
    fn a_bowl_on_a_plate_is_kept_and_a_plate_seen_twice_is_one() {
        let plate = ellipse(100.0, 80.0, 80.0, 60.0, 0.0);
        let again = ellipse(100.0, 80.0, 84.0, 64.0, 0.0);
        let bowl = ellipse(100.0, 80.0, 35.0, 28.0, 0.0);
        let found = choose_dishes(vec![
            candidate(again, Kind::Plate, "plate", 0.9),
            candidate(plate.clone(), Kind::Plate, "plate", 1.0),
            candidate(bowl.clone(), Kind::Bowl, "bowl", 0.9),
        ]);
        assert_eq!(found, [(DishKind::Plate, plate), (DishKind::Bowl, bowl)]);
    }

    #[test]
    fn of_a_plate_and_its_well_the_plate_is_the_dish() {
        let plate = ellipse(100.0, 80.0, 80.0, 60.0, 0.0);
        let well = ellipse(100.0, 83.0, 55.0, 41.0, 0.0);
        let seen = |middle: f64, confidence| {
            let plate = ellipse(middle, 80.0, 80.0, 60.0, 0.0);
            choose_dishes(vec![
                Candidate {
                    quality: 0.6,
                    ..candidate(plate, Kind::Plate, "plate", confidence)
                },
                candidate(well.clone(), Kind::Plate, "plate", 0.9),
            ])
        };
        assert_eq!(seen(100.0, 1.0), [(DishKind::Plate, plate)]);
        let chosen = [(DishKind::Plate, well.clone())];
        assert_eq!(seen(100.0, 0.5), chosen, "hardly a plate");
        assert_eq!(seen(118.0, 1.0), chosen, "not around it");
    }

    #[test]
    fn what_is_around_a_plate_and_not_round_is_the_table() {
        let plate = ellipse(100.0, 80.0, 30.0, 25.0, 0.0);
        let table = Mask::from_fn(200, 160, |x, y| y > 20 && x < 195).subtract(&plate);
        let found = choose_dishes(vec![
            candidate(table.clone(), Kind::Plate, "plate", 0.95),
            candidate(plate.clone(), Kind::Plate, "plate", 0.9),
        ]);
        assert_eq!(found, [(DishKind::Plate, plate)]);
        let alone = choose_dishes(vec![candidate(table.clone(), Kind::Plate, "plate", 0.95)]);
        assert_eq!(alone, [(DishKind::Plate, table)]);
    }
}
