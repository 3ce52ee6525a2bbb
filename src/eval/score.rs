//! From answers to figures. An item that was not found, or whose photo was refused, is an error of 100 %.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use dragunov_models::Rect;
use serde::Serialize;

use super::load::Labels;
use super::manifest::{Sample, Support};
use super::predictor::{Predicted, PredictedItem};
use crate::contract::{DishKind, Estimated, ItemFlag, ScanError, WarningCode};
use crate::nutrition::{FoodTable, MatchKind};

/// One true item and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    pub sample: String,
    pub label: String,
    pub in_bowl: bool,
    /// Pitch under 12 degrees; none where it is unknown.
    pub near_nadir: Option<bool>,
    pub volume_cm3: Option<f64>,
    pub mass_g: Option<f64>,
    pub fate: Fate,
    /// The code that the photo had to be refused with, by the manifest.
    pub expected: Option<String>,
    pub predicted_label: Option<String>,
    pub predicted_volume_cm3: Option<Estimated>,
    pub predicted_mass_g: Option<Estimated>,
    pub mask_iou: Option<f64>,
    pub flags: Vec<ItemFlag>,
    pub warnings: Vec<WarningCode>,
    pub camera_height_cm: Option<f64>,
    pub true_camera_height_cm: Option<f64>,
    /// Of the whole photo.
    pub took_ms: f64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "fate", content = "code")]
pub enum Fate {
    Measured,
    /// No predicted item overlaps it.
    Missed,
    /// The photo failed with this code.
    Refused(String),
    /// The photo was refused, as the manifest says it must be.
    RightlyRefused(String),
    /// Measured as food, but no true item is there.
    Extra,
}

/// Least overlap that makes a prediction the answer to a true item.
const MATCH_IOU: f64 = 0.3;
pub const NADIR_DEG: f64 = 12.0;

/// Scores one sample, one outcome for each true item.
pub fn sample(
    root: &Path,
    sample: &Sample,
    answer: Result<Predicted, ScanError>,
    took: Duration,
    out: &mut Vec<Outcome>,
) {
    let blank = |i: Option<usize>, fate: Fate| {
        let item = i.and_then(|i| sample.items.get(i));
        Outcome {
            sample: sample.id.clone(),
            label: item.map(|t| t.label.clone()).unwrap_or_default(),
            in_bowl: item.is_some_and(|t| t.dish == Some(Support::Dish(DishKind::Bowl))),
            near_nadir: sample.pitch_deg.map(|p| p < NADIR_DEG),
            volume_cm3: item.and_then(|t| t.volume_cm3),
            mass_g: item.and_then(|t| t.mass_g),
            fate,
            expected: sample.expect_error.clone(),
            predicted_label: None,
            predicted_volume_cm3: None,
            predicted_mass_g: None,
            mask_iou: None,
            flags: Vec::new(),
            warnings: Vec::new(),
            camera_height_cm: None,
            true_camera_height_cm: sample.camera.height_cm,
            took_ms: took.as_secs_f64() * 1e3,
        }
    };
    match answer {
        Err(error) => {
            let code = error.code.as_str().to_owned();
            let expected = sample.expect_error.as_ref() == Some(&code);
            for i in 0..sample.items.len() {
                let fate = if expected {
                    Fate::RightlyRefused(code.clone())
                } else {
                    Fate::Refused(code.clone())
                };
                out.push(blank(Some(i), fate));
            }
        }
        Ok(predicted) => {
            let pairs = matches(root, sample, &predicted.items);
            let found: Vec<usize> = pairs.iter().flatten().map(|p| p.0).collect();
            for (k, item) in predicted.items.iter().enumerate() {
                if !found.contains(&k) {
                    out.push(Outcome {
                        label: item.label.clone(),
                        in_bowl: false,
                        volume_cm3: None,
                        mass_g: None,
                        predicted_label: Some(item.label.clone()),
                        predicted_volume_cm3: Some(item.volume_cm3),
                        predicted_mass_g: item.mass_g,
                        ..blank(None, Fate::Extra)
                    });
                }
            }
            for (i, pair) in pairs.into_iter().enumerate() {
                let mut outcome = blank(Some(i), Fate::Missed);
                outcome.warnings.clone_from(&predicted.warnings);
                outcome.camera_height_cm = predicted.camera_height_cm;
                if let Some((k, iou)) = pair {
                    let item = &predicted.items[k];
                    outcome.fate = Fate::Measured;
                    outcome.predicted_label = Some(item.label.clone());
                    outcome.predicted_volume_cm3 = Some(item.volume_cm3);
                    outcome.predicted_mass_g = item.mass_g;
                    outcome.mask_iou = iou;
                    outcome.flags.clone_from(&item.flags);
                }
                out.push(outcome);
            }
        }
    }
}

/// For each true item the prediction that answers it and the overlap of their masks; each prediction once, best
/// overlaps first.
fn matches(root: &Path, sample: &Sample, items: &[PredictedItem]) -> Vec<Option<(usize, Option<f64>)>> {
    let mut out = vec![None; sample.items.len()];
    let mut labels = Labels::default();
    let mut pairs = Vec::new();
    for (i, truth) in sample.items.iter().enumerate() {
        if let Some(k) = items.iter().position(|p| p.truth == Some(i)) {
            out[i] = Some((k, None));
            continue;
        }
        let mask = truth
            .mask
            .as_ref()
            .and_then(|at| labels.mask(root, at, [sample.width, sample.height]).ok());
        for (k, item) in items.iter().enumerate().filter(|(_, p)| p.truth.is_none()) {
            let Some(found) = &item.mask else { continue };
            let same = (found.width(), found.height()) == (sample.width, sample.height);
            let overlap = match (&mask, truth.bbox) {
                (Some(mask), _) if same => mask.iou(found),
                (None, Some(b)) => found
                    .bbox()
                    .map_or(0.0, |f| f.iou(&Rect::new(b[0], b[1], b[2], b[3]))),
                _ => 0.0,
            };
            if overlap >= MATCH_IOU {
                pairs.push((overlap, i, k));
            }
        }
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut taken = vec![false; items.len()];
    for (overlap, i, k) in pairs {
        if out[i].is_none() && !taken[k] {
            taken[k] = true;
            out[i] = Some((k, Some(overlap)));
        }
    }
    out
}

/// Figures of a set of outcomes. All in percent except the counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    pub items: usize,
    pub measured: usize,
    pub missed: usize,
    pub refused: usize,
    /// Answered items that are no true item.
    pub extra: usize,
    pub volume: Option<Errors>,
    pub mass: Option<Errors>,
    /// Share of found items whose label is right.
    pub label_top1: Option<f64>,
    pub mask_iou: Option<f64>,
}

/// Of one quantity. Items that were missed or refused count as errors of 100 %.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Errors {
    pub n: usize,
    /// Mean absolute percentage error.
    pub mape: f64,
    /// The same over the items that were found.
    pub mape_found: f64,
    pub median_ape: f64,
    /// Sum of absolute errors over sum of truth.
    pub pmae: f64,
    /// Median signed error.
    pub bias: f64,
    pub within_25: f64,
    /// Share of found items whose p10 to p90 holds the truth; 80 is honest.
    pub coverage: f64,
}

fn middle(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_unstable_by(f64::total_cmp);
    let n = values.len();
    0.5 * (values[(n - 1) / 2] + values[n / 2])
}

/// Errors of (truth, prediction) pairs; `None` is a missed item.
pub fn errors(pairs: &[(f64, Option<Estimated>)]) -> Option<Errors> {
    if pairs.is_empty() {
        return None;
    }
    let n = pairs.len() as f64;
    let signed: Vec<f64> = pairs
        .iter()
        .map(|(t, p)| 100.0 * (p.map_or(0.0, |p| p.p50) / t - 1.0))
        .collect();
    let mut ape: Vec<f64> = signed.iter().map(|e| e.abs()).collect();
    let found: Vec<(f64, Estimated)> = pairs.iter().filter_map(|(t, p)| p.map(|p| (*t, p))).collect();
    let k = found.len().max(1) as f64;
    let truth: f64 = pairs.iter().map(|p| p.0).sum();
    let off: f64 = pairs
        .iter()
        .map(|(t, p)| (p.map_or(0.0, |p| p.p50) - t).abs())
        .sum();
    Some(Errors {
        n: pairs.len(),
        mape: ape.iter().sum::<f64>() / n,
        mape_found: found
            .iter()
            .map(|(t, p)| 100.0 * (p.p50 / t - 1.0).abs())
            .sum::<f64>()
            / k,
        pmae: 100.0 * off / truth,
        within_25: 100.0 * ape.iter().filter(|e| **e <= 25.0).count() as f64 / n,
        median_ape: middle(&mut ape),
        bias: middle(&mut signed.clone()),
        coverage: 100.0 * found.iter().filter(|(t, p)| p.p10 <= *t && *t <= p.p90).count() as f64 / k,
    })
}

/// Whether two labels name one row of the food table ("grape" and "grapes"), or are the same text.
pub(super) fn same_food(a: &str, b: &str) -> bool {
    let exact = |label: &str| {
        let found = FoodTable::builtin();
        let m = found.lookup(label);
        matches!(m.kind, MatchKind::Exact | MatchKind::SameWords)
            .then(|| m.food.id.clone())
            .flatten()
    };
    a.eq_ignore_ascii_case(b) || matches!((exact(a), exact(b)), (Some(a), Some(b)) if a == b)
}

/// Figures of some outcomes. Photos that had to be refused and were do not count.
pub fn summary<'a>(outcomes: impl Iterator<Item = &'a Outcome>) -> Summary {
    let (extra, list): (Vec<&Outcome>, Vec<&Outcome>) = outcomes
        .filter(|o| !matches!(o.fate, Fate::RightlyRefused(_)))
        .partition(|o| o.fate == Fate::Extra);
    let count = |f: fn(&Fate) -> bool| list.iter().filter(|o| f(&o.fate)).count();
    let pairs = |t: fn(&Outcome) -> Option<f64>, p: fn(&Outcome) -> Option<Estimated>, any: bool| {
        let all: Vec<(f64, Option<Estimated>)> = list
            .iter()
            .filter_map(|o| t(o).filter(|t| *t > 0.0).map(|t| (t, p(o))))
            .collect();
        // A quantity that is never predicted is not evaluated, rather than wrong everywhere.
        (any || all.iter().any(|(_, p)| p.is_some())).then_some(all)
    };
    let mean = |v: Vec<f64>| (!v.is_empty()).then(|| v.iter().sum::<f64>() / v.len() as f64);
    Summary {
        items: list.len(),
        measured: count(|f| *f == Fate::Measured),
        missed: count(|f| *f == Fate::Missed),
        refused: count(|f| matches!(f, Fate::Refused(_))),
        extra: extra.len(),
        volume: pairs(|o| o.volume_cm3, |o| o.predicted_volume_cm3, true).and_then(|p| errors(&p)),
        mass: pairs(|o| o.mass_g, |o| o.predicted_mass_g, false).and_then(|p| errors(&p)),
        label_top1: mean(
            list.iter()
                .filter_map(|o| {
                    let hit = same_food(o.predicted_label.as_ref()?, &o.label);
                    Some(if hit { 100.0 } else { 0.0 })
                })
                .collect(),
        ),
        mask_iou: mean(
            list.iter()
                .filter_map(|o| o.mask_iou.map(|v| 100.0 * v))
                .collect(),
        ),
    }
}

/// What needs no photo: the mean of all other photos' items, and of those of the same (true) label.
pub fn baselines(outcomes: &[Outcome]) -> BTreeMap<&'static str, Errors> {
    let guess = |same: fn(&Outcome, &Outcome) -> bool| {
        let pairs: Vec<(f64, Option<Estimated>)> = outcomes
            .iter()
            .filter_map(|o| {
                let truth = o.volume_cm3.filter(|v| *v > 0.0)?;
                let others = |f: &dyn Fn(&&Outcome) -> bool| -> Vec<f64> {
                    outcomes
                        .iter()
                        .filter(|p| p.sample != o.sample && f(p))
                        .filter_map(|p| p.volume_cm3)
                        .collect()
                };
                let mut values = others(&|p| same(o, p));
                if values.is_empty() {
                    values = others(&|_| true);
                }
                let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
                Some((truth, Some(Estimated::exact(mean))))
            })
            .collect();
        errors(&pairs)
    };
    let mut out = BTreeMap::new();
    if let Some(e) = guess(|_, _| true) {
        out.insert("mean of all items", e);
    }
    if let Some(e) = guess(|a, b| a.label == b.label) {
        out.insert("mean of the true label", e);
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_missed_item_is_wholly_wrong() {
        let e = errors(&[
            (100.0, Some(Estimated::log_normal(110.0, 0.2))),
            (50.0, None),
            (200.0, Some(Estimated::exact(100.0))),
        ])
        .unwrap();
        assert!((e.mape - (10.0 + 100.0 + 50.0) / 3.0).abs() < 1e-9);
        assert!((e.mape_found - 30.0).abs() < 1e-9);
        assert!((e.pmae - 100.0 * (10.0 + 50.0 + 100.0) / 350.0).abs() < 1e-9);
        assert!((e.median_ape - 50.0).abs() < 1e-9);
        assert!((e.coverage - 50.0).abs() < 1e-9);
        assert_eq!(errors(&[]), None);
    }
}
