//! What fills a bowl is its content, whatever it was named: the crop of a content shows the rim, too, and is often called a bowl, or a
//! coin where it is round and even. Bounds were set with 120 meals of our own renderer in view, 80 of them with a bowl.

use super::bowls::{fills, sure_bowls};
use crate::identify::{Identified, Kind};
use crate::perceive::region::Candidate;

/// Area of an opening as a share of its bowl's: less may be a thing in it, more the bowl again.
const OPENING_AREA_SHARE: std::ops::Range<f64> = 0.3..0.85;
/// An opening named a bowl more surely than this shows a bowl that is empty.
const MAX_EMPTY_CONFIDENCE: f64 = 0.9;

/// The candidates without coins as large as a bowl's opening, and with what shows in bowls without food as food that has no name.
pub(super) fn with_contents_told(mut candidates: Vec<Candidate>) -> Vec<Candidate> {
    let bowls: Vec<Candidate> = outermost(&candidates).into_iter().cloned().collect();
    let opens = |c: &Candidate, bowl: &Candidate| {
        let share = c.mask.area() as f64 / bowl.mask.area().max(1) as f64;
        OPENING_AREA_SHARE.contains(&share) && fills(&c.mask, &bowl.mask)
    };
    let mut contents = Vec::new();
    for bowl in &bowls {
        let holds_food =
            (candidates.iter()).any(|c| c.identity.kind == Kind::Food && fills(&c.mask, &bowl.mask));
        let seen = |c: &&Candidate| {
            let kind = c.identity.kind;
            opens(c, bowl)
                && (kind == Kind::Coin || kind == Kind::Bowl && c.identity.confidence < MAX_EMPTY_CONFIDENCE)
        };
        if holds_food {
            continue;
        }
        let best = candidates
            .iter()
            .filter(seen)
            .max_by(|a, b| a.quality.total_cmp(&b.quality));
        contents.extend(best.cloned());
    }
    candidates.retain(|c| c.identity.kind != Kind::Coin || !bowls.iter().any(|bowl| opens(c, bowl)));
    candidates.extend(contents.into_iter().map(|c| Candidate {
        identity: Identified {
            kind: Kind::Food,
            label: Identified::UNKNOWN.into(),
            confidence: 0.0,
            ..c.identity
        },
        ..c
    }));
    candidates
}

/// The sure bowls that fill no other.
fn outermost(candidates: &[Candidate]) -> Vec<&Candidate> {
    sure_bowls(candidates)
        .filter(|c| !sure_bowls(candidates).any(|other| fills(&c.mask, &other.mask)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::perceive::region::tests::{candidate, rect};

    fn bowl() -> Candidate {
        candidate(rect(10, 10, 60, 60), Kind::Bowl, "bowl", 0.95)
    }

    /// Kinds and areas, the bowl's first.
    fn told(others: &[Candidate]) -> Vec<(Kind, usize)> {
        with_contents_told([&[bowl()], others].concat())
            .iter()
            .map(|c| (c.identity.kind, c.mask.area()))
            .collect()
    }

    #[test]
    fn an_opening_named_a_bowl_or_a_coin_is_food_without_a_name() {
        let opening =
            |kind: Kind, confidence| candidate(rect(16, 12, 54, 48), kind, kind.as_str(), confidence);
        let area = 38 * 36;
        assert_eq!(
            told(&[opening(Kind::Bowl, 0.6)]),
            [(Kind::Bowl, 2500), (Kind::Bowl, area), (Kind::Food, area)]
        );
        assert_eq!(
            told(&[opening(Kind::Coin, 0.97)]),
            [(Kind::Bowl, 2500), (Kind::Food, area)]
        );
        let found = with_contents_told(vec![bowl(), opening(Kind::Coin, 0.97)]);
        assert_eq!(
            (found[1].identity.label.as_str(), found[1].identity.confidence),
            ("unknown", 0.0)
        );
        assert_eq!(told(&[opening(Kind::Bowl, 0.97)]).len(), 2, "it is surely empty");
    }

    #[test]
    fn food_that_was_found_is_left_alone_and_so_is_what_is_no_opening() {
        let soup = candidate(rect(16, 14, 54, 46), Kind::Food, "soup", 0.4);
        let coin = candidate(rect(16, 12, 54, 48), Kind::Coin, "coin", 0.9);
        assert_eq!(told(&[soup, coin]), [(Kind::Bowl, 2500), (Kind::Food, 38 * 32)]);
        let small = candidate(rect(20, 20, 30, 30), Kind::Coin, "coin", 0.9);
        let beside = candidate(rect(62, 12, 98, 48), Kind::Coin, "coin", 0.9);
        let again = candidate(rect(11, 11, 59, 59), Kind::Bowl, "bowl", 0.8);
        assert_eq!(
            told(&[small, beside, again])
                .iter()
                .filter(|(kind, _)| *kind == Kind::Food)
                .count(),
            0
        );
    }
}
