//! A bowl and what is in it: two masks that lie in each other and are both right. Bounds were set on the 245 rendered
//! scenes of development.

use dragunov_models::Mask;

use crate::identify::Kind;
use crate::perceive::region::Candidate;

/// Bowls named less surely hold nothing.
const MIN_BOWL_CONFIDENCE: f64 = 0.5;
/// Bounds of a content's area as a share of the bowl's, and how much of it must lie in the bowl.
const CONTENT_AREA_SHARE: std::ops::Range<f64> = 0.15..0.9;
const MIN_SHARE_INSIDE: f64 = 0.85;
/// Least area of a content, as a share of a mask that also holds the bowl's wall; less is a part of the content.
const MIN_CONTENT_SHARE: f64 = 0.35;

/// Candidates that are surely bowls.
pub(in crate::perceive) fn sure_bowls(candidates: &[Candidate]) -> impl Iterator<Item = &Candidate> {
    candidates
        .iter()
        .filter(|c| c.identity.kind == Kind::Bowl && c.identity.confidence >= MIN_BOWL_CONFIDENCE)
}

/// Whether a mask may be the content of a bowl.
pub(in crate::perceive) fn fills(content: &Mask, bowl: &Mask) -> bool {
    let area = content.area() as f64;
    CONTENT_AREA_SHARE.contains(&(area / bowl.area().max(1) as f64))
        && content.intersection_area(bowl) as f64 > MIN_SHARE_INSIDE * area
}

/// Leaves out what holds a bowl's inner wall beside its content: a mask in which another of the same name lies, as well scored.
pub(super) fn without_walls(foods: Vec<Candidate>, rest: &[Candidate]) -> Vec<Candidate> {
    let holds_wall = |wide: &Candidate| {
        foods.iter().any(|c| {
            let (small, large) = (c.mask.area() as f64, wide.mask.area() as f64);
            c.identity.label == wide.identity.label
                && c.score() > wide.score()
                && small > MIN_CONTENT_SHARE * large
                && small < large
                && c.mask.intersection_area(&wide.mask) as f64 > MIN_SHARE_INSIDE * small
                && sure_bowls(rest).any(|bowl| fills(&c.mask, &bowl.mask) && fills(&wide.mask, &bowl.mask))
        })
    };
    let walled: Vec<bool> = foods.iter().map(holds_wall).collect();
    foods
        .into_iter()
        .zip(walled)
        .filter_map(|(c, walled)| (!walled).then_some(c))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perceive::region::tests::{candidate, rect};

    #[test]
    fn the_wall_is_left_out_where_the_content_is_as_well_seen() {
        let bowl = [candidate(rect(5, 20, 45, 60), Kind::Bowl, "bowl", 0.9)];
        let wide = candidate(rect(8, 22, 42, 55), Kind::Food, "soup", 0.8);
        let content = |confidence| candidate(rect(12, 30, 38, 52), Kind::Food, "soup", confidence);
        let kept = |foods: &[&Candidate], bowls: &[Candidate]| {
            without_walls(foods.iter().map(|c| (*c).clone()).collect(), bowls).len()
        };
        assert_eq!(kept(&[&wide, &content(0.9)], &bowl), 1);
        // Not a part that is less sure, not something else, not off a bowl.
        assert_eq!(kept(&[&wide, &content(0.7)], &bowl), 2);
        let egg = candidate(rect(12, 30, 38, 52), Kind::Food, "egg", 0.9);
        assert_eq!(kept(&[&wide, &egg], &bowl), 2);
        assert_eq!(kept(&[&wide, &content(0.9)], &[]), 2);
    }
}
