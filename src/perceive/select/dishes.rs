//! Which of many overlapping dish masks to believe. Bounds were set on the 245 rendered scenes of development.

use dragunov_models::Mask;

use crate::contract::DishKind;
use crate::perceive::ellipse::roundness;
use crate::perceive::region::Candidate;

/// Two masks that share more than this of the smaller one show the same dish.
const MAX_SHARED_AREA: f64 = 0.5;
/// Largest area, beside the plate's, of a bowl that stands on it.
const MAX_BOWL_ON_PLATE_AREA_RATIO: f64 = 0.6;
/// Below this [`rating`] it is no dish: a stretch of table, a part of a rim.
const MIN_RATING: f64 = 0.1;
/// Roundness counts with this power: a plate together with the bowl beside it is no ellipse, nor is a part of a plate.
const ROUNDNESS_POWER: i32 = 4;
/// What a board counts for, which need not be round.
const BOARD_ROUNDNESS: f64 = 0.8;

/// One mask a dish: of several, the best and roundest. Masks hold what lies on the dish, too.
pub(super) fn choose_dishes(candidates: Vec<Candidate>) -> Vec<(DishKind, Mask)> {
    let mut rated: Vec<(f64, Candidate)> = candidates
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
        if kept.iter().all(|(k, m)| both_stand((kind, &c.mask), (*k, m))) {
            kept.push((kind, c.mask));
        }
    }
    without_neighbours(&mut kept);
    kept
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
    use crate::identify::Kind;
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
}
