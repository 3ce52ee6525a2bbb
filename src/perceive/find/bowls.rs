//! Bowls in which nothing was found: a segmenter often draws a bowl and its content as one.

use dragunov_models::sam::{Label, Prompt};
use dragunov_models::{ImagePx, Mask, Point, Rect};

use crate::identify::Kind;
use crate::perceive::region::Candidate;
use crate::perceive::select::bowls::{fills, sure_bowls};

/// Boxes and points in which a content is looked for, as shares of the bowl's box: the opening's two sides and its top, two
/// depths to which it may reach, the opening's middle, and a point on the outer wall. Set on the rendered scenes of
/// development.
const OPENING_SIDES: [f64; 2] = [0.06, 0.94];
const OPENING_TOP: f64 = 0.03;
const OPENING_DEPTHS: [f64; 2] = [0.7, 0.9];
const OPENING_MIDDLE: [f64; 2] = [0.5, 0.4];
const OUTER_WALL: [f64; 2] = [0.5, 0.96];

/// The bowls that hold no mask of food.
pub(super) fn without_food(seen: &[Candidate]) -> impl Iterator<Item = &Mask> {
    sure_bowls(seen).map(|c| &c.mask).filter(|bowl| {
        let mut foods = seen.iter().filter(|c| c.identity.kind == Kind::Food);
        !foods.any(|food| fills(&food.mask, bowl))
    })
}

/// Where a bowl's content shows, for a bowl with this box in the picture that was encoded: in the upper part, for the lower
/// shows the outer wall.
pub(super) fn prompts(bowl: Rect<ImagePx>) -> Vec<Prompt> {
    let at = |[x, y]: [f64; 2]| (bowl.x0 + x * bowl.width(), bowl.y0 + y * bowl.height());
    let opening = |depth: f64| {
        let (x0, y0) = at([OPENING_SIDES[0], OPENING_TOP]);
        let (x1, y1) = at([OPENING_SIDES[1], depth]);
        Prompt::rect(Rect::new(x0, y0, x1, y1))
    };
    let (x, y) = at(OPENING_MIDDLE);
    let middle = Prompt::point(x, y);
    let mut not_the_wall = middle.clone();
    let (x, y) = at(OUTER_WALL);
    not_the_wall.points.push((Point::new(x, y), Label::Background));
    let [half, full] = OPENING_DEPTHS.map(opening);
    vec![middle, not_the_wall, half, full]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::perceive::region::tests::{candidate, rect};

    #[test]
    fn only_bowls_without_food_are_looked_into() {
        let (left, right) = (rect(5, 20, 45, 50), rect(55, 20, 95, 50));
        let candidates = [
            candidate(left.clone(), Kind::Bowl, "bowl", 0.9),
            candidate(right.clone(), Kind::Bowl, "bowl", 0.9),
            candidate(rect(5, 60, 45, 90), Kind::Bowl, "bowl", 0.3),
            candidate(rect(60, 22, 90, 40), Kind::Food, "soup", 0.8),
            candidate(rect(0, 0, 100, 100), Kind::Food, "everything", 0.8),
        ];
        let empty: Vec<&Mask> = without_food(&candidates).collect();
        assert_eq!(empty, [&left]);
    }

    #[test]
    fn prompts_lie_in_the_bowl_and_point_above_its_wall() {
        let bowl = rect(10, 20, 50, 60).bbox().unwrap();
        for prompt in prompts(bowl) {
            for (p, label) in &prompt.points {
                assert!(bowl.x0 < p.x && p.x < bowl.x1 && bowl.y0 < p.y && p.y < bowl.y1);
                assert_eq!(*label == Label::Foreground, p.y < 40.0);
            }
            if let Some(r) = prompt.rect {
                assert!(r.x0 > bowl.x0 && r.x1 < bowl.x1 && r.y0 > bowl.y0 && r.y1 < bowl.y1);
            }
        }
    }
}
