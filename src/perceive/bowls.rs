//! Bowls in which nothing was found: a segmenter often draws a bowl and its content as one.

use dragunov_models::sam::{Label, Prompt};
use dragunov_models::{ImagePx, Mask, Rect};

use super::resolve::Candidate;
use crate::identify::Kind;

/// Bowls named less surely are not looked into.
const SURE: f64 = 0.5;
/// Bounds of a content's area as a share of the bowl's, and how much of it must lie in the bowl.
const FILLS: std::ops::Range<f64> = 0.15..0.9;
const INSIDE: f64 = 0.85;
/// Least share of a mask that a content in it has; less is a part of the content.
const CONTENT: f64 = 0.35;

/// The bowls that hold no mask of food.
pub(super) fn seemingly_empty(seen: &[Candidate]) -> impl Iterator<Item = &Mask> {
    seen.iter()
        .filter(|c| c.identity.kind == Kind::Bowl && c.identity.confidence >= SURE)
        .map(|c| &c.mask)
        .filter(|bowl| {
            let mut foods = seen.iter().filter(|c| c.identity.kind == Kind::Food);
            !foods.any(|food| fills(&food.mask, bowl))
        })
}

/// Leaves out what holds a bowl's inner wall beside its content: a mask in which another of the same name lies, as well scored.
pub(super) fn without_walls(foods: Vec<Candidate>, rest: &[Candidate]) -> Vec<Candidate> {
    let bowls = || {
        rest.iter()
            .filter(|c| c.identity.kind == Kind::Bowl && c.identity.confidence >= SURE)
            .map(|c| &c.mask)
    };
    let holds_wall = |wide: &Candidate| {
        foods.iter().any(|c| {
            let (small, large) = (c.mask.area() as f64, wide.mask.area() as f64);
            c.identity.label == wide.identity.label
                && c.score() > wide.score()
                && small > CONTENT * large
                && small < large
                && c.mask.intersection_area(&wide.mask) as f64 > INSIDE * small
                && bowls().any(|bowl| fills(&c.mask, bowl) && fills(&wide.mask, bowl))
        })
    };
    let walled: Vec<bool> = foods.iter().map(holds_wall).collect();
    foods
        .into_iter()
        .zip(walled)
        .filter_map(|(c, walled)| (!walled).then_some(c))
        .collect()
}

/// Where a bowl's content shows, for a bowl with this box: in the upper part, for the lower shows the outer wall.
pub(super) fn prompts(bowl: Rect<ImagePx>) -> Vec<Prompt> {
    let at = |x: f64, y: f64| (bowl.x0 + x * bowl.width(), bowl.y0 + y * bowl.height());
    let opening = |depth: f64| {
        let ((x0, y0), (x1, y1)) = (at(0.06, 0.03), at(0.94, depth));
        Prompt::rect(Rect::new(x0, y0, x1, y1))
    };
    let (x, y) = at(0.5, 0.4);
    let middle = Prompt::point(x, y);
    let mut not_the_wall = middle.clone();
    let (x, y) = at(0.5, 0.96);
    not_the_wall
        .points
        .push((dragunov_models::Point::new(x, y), Label::Background));
    vec![middle, not_the_wall, opening(0.7), opening(0.9)]
}

/// Whether a mask may be the content of a bowl.
pub(super) fn fills(content: &Mask, bowl: &Mask) -> bool {
    let area = content.area() as f64;
    FILLS.contains(&(area / bowl.area().max(1) as f64))
        && content.intersection_area(bowl) as f64 > INSIDE * area
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::perceive::resolve::tests::{rect, seen};

    #[test]
    fn only_bowls_without_food_are_looked_into() {
        let (left, right) = (rect(5, 20, 45, 50), rect(55, 20, 95, 50));
        let candidates = [
            seen(left.clone(), Kind::Bowl, "bowl", 0.9),
            seen(right.clone(), Kind::Bowl, "bowl", 0.9),
            seen(rect(5, 60, 45, 90), Kind::Bowl, "bowl", 0.3),
            seen(rect(60, 22, 90, 40), Kind::Food, "soup", 0.8),
            seen(rect(0, 0, 100, 100), Kind::Food, "everything", 0.8),
        ];
        let empty: Vec<&Mask> = seemingly_empty(&candidates).collect();
        assert_eq!(empty, [&left]);
    }

    #[test]
    fn the_wall_is_left_out_where_the_content_is_as_well_seen() {
        let bowl = [seen(rect(5, 20, 45, 60), Kind::Bowl, "bowl", 0.9)];
        let wide = seen(rect(8, 22, 42, 55), Kind::Food, "soup", 0.8);
        let content = |confidence| seen(rect(12, 30, 38, 52), Kind::Food, "soup", confidence);
        let kept = |foods: &[&Candidate], bowls: &[Candidate]| {
            without_walls(foods.iter().map(|c| (*c).clone()).collect(), bowls).len()
        };
        assert_eq!(kept(&[&wide, &content(0.9)], &bowl), 1);
        // Not a part that is less sure, not something else, not off a bowl.
        assert_eq!(kept(&[&wide, &content(0.7)], &bowl), 2);
        let egg = seen(rect(12, 30, 38, 52), Kind::Food, "egg", 0.9);
        assert_eq!(kept(&[&wide, &egg], &bowl), 2);
        assert_eq!(kept(&[&wide, &content(0.9)], &[]), 2);
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
