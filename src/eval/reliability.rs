//! Whether stated confidence is kept: of the names that were stated with 70 %, 70 % are right (Guo et al. 2017, arXiv 1706.04599).

use serde::Serialize;

use super::score::{Fate, Outcome};
use crate::identify::Identified;

const BINS: usize = 10;
/// Names from here on are taken for sure by whoever reads them.
pub const SURE: f64 = 0.8;

/// Stated confidence against how often the name was right.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Reliability {
    /// Ten bins of equal width, 0 to 1.
    pub bins: Vec<Bin>,
    /// Named items whose name is known to be right or wrong.
    pub named: usize,
    /// Expected calibration error, percent: mean distance of the bins from the truth, by their size.
    pub ece: Option<f64>,
    /// Items named with [`SURE`] or more, and the right ones of them.
    pub sure: usize,
    pub sure_right: usize,
    /// Items that were answered as `unknown`: they state nothing.
    pub unknown: usize,
    /// Named items where no true item is, and those of them that were named with [`SURE`] or more.
    pub extra: usize,
    pub extra_sure: usize,
}

/// Names stated with a confidence of one tenth of the range.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Bin {
    pub low: f64,
    pub high: f64,
    pub n: usize,
    /// Means, 0 to 1; null of an empty bin.
    pub confidence: Option<f64>,
    pub right: Option<f64>,
}

impl Reliability {
    /// Of items that were found, whatever their photo.
    pub fn of<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Self {
        let mut out = Self::default();
        let mut stated: Vec<(f64, bool)> = Vec::new();
        for outcome in outcomes {
            let (Some(label), Some(confidence)) = (&outcome.predicted_label, outcome.confidence) else {
                continue;
            };
            if label == Identified::UNKNOWN {
                out.unknown += 1;
                continue;
            }
            match outcome.named_right {
                Some(right) => stated.push((confidence, right)),
                None if outcome.fate == Fate::Extra => {
                    out.extra += 1;
                    out.extra_sure += usize::from(confidence >= SURE);
                }
                None => {}
            }
        }
        out.named = stated.len();
        let sure = stated.iter().filter(|(confidence, _)| *confidence >= SURE);
        (out.sure, out.sure_right) = sure.fold((0, 0), |(n, right), s| (n + 1, right + usize::from(s.1)));
        out.bins = (0..BINS).map(|i| bin(&stated, i)).collect();
        let off = out
            .bins
            .iter()
            .filter_map(|b| Some(b.n as f64 * (b.confidence? - b.right?).abs()));
        let off: f64 = off.sum();
        out.ece = (out.named > 0).then(|| 100.0 * off / out.named as f64);
        out
    }

    /// Whether anything was named at all.
    pub fn is_empty(&self) -> bool {
        self.named + self.unknown + self.extra == 0
    }
}

fn bin(stated: &[(f64, bool)], i: usize) -> Bin {
    let of = |confidence: f64| ((confidence * BINS as f64) as usize).min(BINS - 1);
    let here: Vec<&(f64, bool)> = stated
        .iter()
        .filter(|(confidence, _)| of(*confidence) == i)
        .collect();
    let n = here.len();
    let mean = |sum: f64| (n > 0).then(|| sum / n as f64);
    Bin {
        low: i as f64 / BINS as f64,
        high: (i + 1) as f64 / BINS as f64,
        n,
        confidence: mean(here.iter().map(|s| s.0).sum()),
        right: mean(here.iter().filter(|s| s.1).count() as f64),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn named(label: &str, confidence: f64, right: Option<bool>) -> Outcome {
        Outcome {
            fate: if right.is_some() {
                Fate::Measured
            } else {
                Fate::Extra
            },
            predicted_label: Some(label.into()),
            confidence: Some(confidence),
            named_right: right,
            ..Outcome::default()
        }
    }

    #[test]
    fn kept_confidence_has_no_error_and_boasting_has() {
        let honest: Vec<Outcome> = (0..10).map(|i| named("rice", 0.7, Some(i < 7))).collect();
        let r = Reliability::of(honest.iter());
        assert!(r.ece.unwrap() < 1e-9);
        assert_eq!((r.named, r.sure, r.bins[7].n), (10, 0, 10));
        let boasting: Vec<Outcome> = (0..10).map(|i| named("rice", 1.0, Some(i < 6))).collect();
        let r = Reliability::of(boasting.iter());
        assert!((r.ece.unwrap() - 40.0).abs() < 1e-9);
        assert_eq!((r.sure, r.sure_right, r.bins[9].n), (10, 6, 10));
    }

    #[test]
    fn unknown_states_nothing_and_extra_items_are_told_apart() {
        let seen = [
            named("unknown", 0.9, Some(false)),
            named("pea", 0.85, None),
            named("pea", 0.2, None),
        ];
        let r = Reliability::of(seen.iter());
        assert_eq!((r.named, r.unknown, r.extra, r.extra_sure), (0, 1, 2, 1));
        assert_eq!(r.ece, None);
        assert!(!r.is_empty() && Reliability::of([].into_iter()).is_empty());
    }
}
