//! Which of many overlapping dish masks to believe.

use dragunov_models::Mask;

use super::resolve::Candidate;
use crate::identify::Kind;

/// Two masks that share more than this of the smaller one show the same dish.
const SAME: f64 = 0.5;
/// Largest area, beside the plate's, of a bowl that stands on it.
const ON_PLATE_AREA: f64 = 0.6;

/// Below this rating it is no dish: a stretch of table, a part of a rim.
const NO_DISH: f64 = 0.1;

/// One mask a dish: of several, the best and roundest. Masks hold what lies on the dish, too.
pub(super) fn dishes(candidates: Vec<Candidate>) -> Vec<(Kind, Mask)> {
    let mut rated: Vec<(f64, Candidate)> = candidates
        .into_iter()
        .map(|c| (rating(&c), c))
        .filter(|(rating, _)| *rating > NO_DISH)
        .collect();
    rated.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut kept: Vec<(Kind, Mask)> = Vec::new();
    for (_, c) in rated {
        let kind = c.identity.kind;
        if kept.iter().all(|(k, m)| apart((kind, &c.mask), (*k, m))) {
            kept.push((kind, c.mask));
        }
    }
    without_neighbours(&mut kept);
    kept
}

/// Takes a bowl out of the plate's mask where the plate is rounder without it: it stands beside the plate, not on it.
fn without_neighbours(dishes: &mut [(Kind, Mask)]) {
    for i in 0..dishes.len() {
        for j in 0..dishes.len() {
            if i == j || dishes[i].0 == Kind::Bowl || dishes[j].0 != Kind::Bowl {
                continue;
            }
            let left = dishes[i].1.subtract(&dishes[j].1);
            if roundness(&left) > roundness(&dishes[i].1) {
                dishes[i].1 = left;
            }
        }
    }
}

/// A plate together with the bowl beside it is no ellipse, nor is a part of a plate: roundness counts four times. A
/// board that leaves the photo on three sides is the table.
fn rating(c: &Candidate) -> f64 {
    let round = match c.identity.kind {
        Kind::Plate | Kind::Bowl => roundness(&c.mask).powi(4),
        _ if c.mask.sides_touched() > 2 => 0.0,
        _ => 0.8,
    };
    c.score() * round
}

/// Whether both may be dishes: they are apart, or a bowl stands on or before a plate.
fn apart(a: (Kind, &Mask), b: (Kind, &Mask)) -> bool {
    let both = a.1.intersection_area(b.1) as f64;
    let (small, large) = if a.1.area() < b.1.area() { (a, b) } else { (b, a) };
    let (smaller, larger) = (small.1.area() as f64, large.1.area() as f64);
    both <= SAME * smaller
        || (small.0 == Kind::Bowl && large.0 != Kind::Bowl && smaller < ON_PLATE_AREA * larger)
}

/// Overlap (IoU) of a mask with the ellipse that has its second moments: 1 for an ellipse, whatever its tilt.
fn roundness(mask: &Mask) -> f64 {
    let n = mask.area() as f64;
    if n < 1.0 {
        return 0.0;
    }
    // Sums over a vertical run from a to b: of y, and of y squared.
    let sums = |a: usize, b: usize| {
        let (a, b) = (a as f64, b as f64);
        let cubes = |v: f64| v * (v - 1.0) * (2.0 * v - 1.0) / 6.0;
        (b - a, 0.5 * (b * (b - 1.0) - a * (a - 1.0)), cubes(b) - cubes(a))
    };
    let (mut sx, mut sy, mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0, 0.0, 0.0);
    mask.for_each_run(|x, a, b| {
        let (x, (count, y1, y2)) = (x as f64, sums(a, b));
        sx += x * count;
        sy += y1;
        xx += x * x * count;
        xy += x * y1;
        yy += y2;
    });
    let (mx, my) = (sx / n, sy / n);
    // A pixel is no point: a twelfth each way.
    let (vxx, vxy, vyy) = (
        xx / n - mx * mx + 1.0 / 12.0,
        xy / n - mx * my,
        yy / n - my * my + 1.0 / 12.0,
    );
    let det = vxx * vyy - vxy * vxy;
    // The ellipse is (v - m)' V^-1 (v - m) <= 4; in each column that is one stretch.
    let reach = 2.0 * vxx.sqrt();
    let column = |x: f64| {
        let dx = x - mx;
        let half = (det * (4.0 * vxx - dx * dx)).max(0.0).sqrt() / vxx;
        let middle = my + vxy / vxx * dx;
        (middle - half, middle + half)
    };
    let mut both = 0.0;
    mask.for_each_run(|x, a, b| {
        if (x as f64 - mx).abs() <= reach {
            let (low, high) = column(x as f64);
            both += ((high + 0.5).min(b as f64) - (low + 0.5).max(a as f64)).max(0.0);
        }
    });
    let ellipse = 4.0 * std::f64::consts::PI * det.sqrt();
    both / (n + ellipse - both)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perceive::resolve::tests::seen;

    fn ellipse(cx: f64, cy: f64, rx: f64, ry: f64, turn: f64) -> Mask {
        let (s, c) = turn.sin_cos();
        Mask::from_fn(200, 160, |x, y| {
            let (dx, dy) = (x as f64 - cx, y as f64 - cy);
            let (u, v) = ((c * dx + s * dy) / rx, (c * dy - s * dx) / ry);
            u * u + v * v <= 1.0
        })
    }

    #[test]
    fn ellipses_are_round_and_nothing_else_is() {
        assert!(roundness(&ellipse(100.0, 80.0, 60.0, 30.0, 0.4)) > 0.985);
        assert!(roundness(&ellipse(100.0, 80.0, 40.0, 40.0, 0.0)) > 0.985);
        let pair = ellipse(60.0, 80.0, 40.0, 30.0, 0.0).union(&ellipse(130.0, 80.0, 35.0, 30.0, 0.0));
        assert!(roundness(&pair) < 0.9);
        assert!(roundness(&Mask::from_fn(200, 160, |x, y| x < 100 && y < 50)) < 0.93);
        assert_eq!(roundness(&Mask::empty(200, 160)), 0.0);
        assert!(roundness(&Mask::from_fn(200, 160, |x, y| (x, y) == (5, 5))).is_finite());
    }

    #[test]
    fn plate_with_bowl_beside_it_is_two_dishes() {
        let plate = ellipse(60.0, 80.0, 50.0, 40.0, 0.0);
        let bowl = ellipse(150.0, 80.0, 30.0, 25.0, 0.0);
        let found = dishes(vec![
            seen(plate.union(&bowl), Kind::Plate, "plate", 1.0),
            seen(plate.clone(), Kind::Plate, "plate", 0.9),
            seen(bowl.clone(), Kind::Bowl, "bowl", 0.8),
        ]);
        assert_eq!(found, [(Kind::Plate, plate), (Kind::Bowl, bowl)]);
    }

    #[test]
    fn where_only_the_pair_was_seen_the_bowl_is_taken_out() {
        let plate = ellipse(60.0, 80.0, 50.0, 40.0, 0.0);
        let bowl = ellipse(145.0, 80.0, 30.0, 25.0, 0.0);
        let pair = plate.union(&bowl);
        let table = Mask::from_fn(200, 160, |_, y| y > 40).subtract(&pair);
        let found = dishes(vec![
            seen(pair, Kind::Plate, "plate", 1.0),
            seen(bowl.clone(), Kind::Bowl, "bowl", 0.8),
            seen(table, Kind::Plate, "plate", 0.5),
        ]);
        assert_eq!(found, [(Kind::Bowl, bowl), (Kind::Plate, plate)]);
    }

    #[test]
    fn a_bowl_on_a_plate_is_kept_and_a_plate_seen_twice_is_one() {
        let plate = ellipse(100.0, 80.0, 80.0, 60.0, 0.0);
        let again = ellipse(100.0, 80.0, 84.0, 64.0, 0.0);
        let bowl = ellipse(100.0, 80.0, 35.0, 28.0, 0.0);
        let found = dishes(vec![
            seen(again, Kind::Plate, "plate", 0.9),
            seen(plate.clone(), Kind::Plate, "plate", 1.0),
            seen(bowl.clone(), Kind::Bowl, "bowl", 0.9),
        ]);
        assert_eq!(found, [(Kind::Plate, plate), (Kind::Bowl, bowl)]);
    }
}
