//! From answers to outcomes: which answered item is which true one, and what became of each item and of each photo.

use std::path::Path;
use std::time::Duration;

use dragunov_models::Rect;
use serde::{Deserialize, Serialize};

use super::amounts::{EstimatedAmounts, TrueAmounts};
use super::load::Labels;
use super::manifest::{Sample, Support};
use super::predictor::{Predicted, PredictedItem};
use super::scale_group::ScaleGroup;
use crate::contract::{DishKind, ItemFlag, ScanError, WarningCode};
use crate::nutrition::{FoodTable, MatchKind};

/// One true item and what became of it, or an answered item that is no true one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    pub sample: String,
    pub label: String,
    pub in_bowl: bool,
    /// Pitch under 12 degrees; none where it is unknown.
    pub near_nadir: Option<bool>,
    #[serde(flatten)]
    pub truth: TrueAmounts,
    pub fate: Fate,
    /// The code that the photo had to be refused with, by the manifest.
    pub expected: Option<String>,
    pub predicted_label: Option<String>,
    /// Of that label, as it was stated, 0 to 1.
    #[serde(default)]
    pub confidence: Option<f64>,
    /// Whether the label is the true one; none where nobody knows.
    #[serde(default)]
    pub named_right: Option<bool>,
    #[serde(flatten)]
    pub predicted: EstimatedAmounts,
    pub mask_iou: Option<f64>,
    pub flags: Vec<ItemFlag>,
    pub warnings: Vec<WarningCode>,
    /// What the photo's scale rests on.
    #[serde(default)]
    pub scale: Option<ScaleGroup>,
    pub camera_height_cm: Option<f64>,
    pub true_camera_height_cm: Option<f64>,
    /// Of the whole photo.
    pub took_ms: f64,
}

/// One photo and all the food on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PhotoOutcome {
    pub sample: String,
    /// Whether some of the food lies in a bowl.
    pub in_bowl: bool,
    pub near_nadir: Option<bool>,
    #[serde(flatten)]
    pub truth: TrueAmounts,
    pub fate: Fate,
    pub expected: Option<String>,
    #[serde(flatten)]
    pub predicted: EstimatedAmounts,
    pub scale: Option<ScaleGroup>,
    /// Items of the answer.
    pub items: usize,
    pub took_ms: f64,
}

/// All that a run gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcomes {
    pub items: Vec<Outcome>,
    pub photos: Vec<PhotoOutcome>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "fate", content = "code")]
pub enum Fate {
    #[default]
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

/// Scores the answer to one sample. Two names are of one food where `foods` says so.
pub fn sample(
    root: &Path,
    sample: &Sample,
    answer: Result<Predicted, ScanError>,
    took: Duration,
    foods: &FoodTable,
    out: &mut Outcomes,
) {
    let took_ms = took.as_secs_f64() * 1e3;
    let photo = |fate: Fate| PhotoOutcome {
        sample: sample.id.clone(),
        in_bowl: (0..sample.items.len()).any(|i| in_bowl(sample, i)),
        near_nadir: near_nadir(sample),
        // A scan sums no volumes.
        truth: TrueAmounts {
            volume_cm3: None,
            ..sample.amounts()
        },
        fate,
        expected: sample.expect_error.clone(),
        took_ms,
        ..PhotoOutcome::default()
    };
    match answer {
        Err(error) => {
            let code = error.code.as_str().to_owned();
            let fate = if sample.expect_error.as_ref() == Some(&code) {
                Fate::RightlyRefused(code)
            } else {
                Fate::Refused(code)
            };
            out.items
                .extend((0..sample.items.len()).map(|i| blank(sample, Some(i), fate.clone(), took_ms)));
            out.photos.push(photo(fate));
        }
        Ok(predicted) => {
            out.photos.push(PhotoOutcome {
                predicted: predicted.totals,
                scale: predicted.scale,
                items: predicted.items.len(),
                ..photo(Fate::Measured)
            });
            items(root, sample, &predicted, foods, took_ms, &mut out.items);
        }
    }
}

fn in_bowl(sample: &Sample, item: usize) -> bool {
    sample.items[item].dish == Some(Support::Dish(DishKind::Bowl))
}

fn near_nadir(sample: &Sample) -> Option<bool> {
    sample.pitch_deg.map(|p| p < NADIR_DEG)
}

/// The outcome of a true item, or of none, before anything was answered.
fn blank(sample: &Sample, item: Option<usize>, fate: Fate, took_ms: f64) -> Outcome {
    let truth = item.and_then(|i| sample.items.get(i));
    Outcome {
        sample: sample.id.clone(),
        label: truth.map(|t| t.label.clone()).unwrap_or_default(),
        in_bowl: item.is_some_and(|i| in_bowl(sample, i)),
        near_nadir: near_nadir(sample),
        truth: truth.map(super::manifest::ItemTruth::amounts).unwrap_or_default(),
        fate,
        expected: sample.expect_error.clone(),
        true_camera_height_cm: sample.camera.height_cm,
        took_ms,
        ..Outcome::default()
    }
}

/// What was answered of the items of a photo that was measured.
fn items(
    root: &Path,
    sample: &Sample,
    predicted: &Predicted,
    foods: &FoodTable,
    took_ms: f64,
    out: &mut Vec<Outcome>,
) {
    let answered = |outcome: &mut Outcome, item: &PredictedItem| {
        outcome.predicted_label = Some(item.label.clone());
        outcome.confidence = item.confidence;
        outcome.predicted = item.amounts;
        outcome.flags.clone_from(&item.flags);
    };
    let pairs = matches(root, sample, &predicted.items);
    let found: Vec<usize> = pairs.iter().flatten().map(|p| p.0).collect();
    for (k, item) in predicted.items.iter().enumerate() {
        if found.contains(&k) {
            continue;
        }
        let mut outcome = blank(sample, None, Fate::Extra, took_ms);
        outcome.label.clone_from(&item.label);
        outcome.scale = predicted.scale;
        answered(&mut outcome, item);
        // Where only the names of what is there are known, and not the places.
        let mut contents = sample.contents.iter();
        outcome.named_right =
            (!sample.contents.is_empty()).then(|| contents.any(|c| same_food(foods, c, &item.label)));
        out.push(outcome);
    }
    for (i, pair) in pairs.into_iter().enumerate() {
        let mut outcome = blank(sample, Some(i), Fate::Missed, took_ms);
        outcome.warnings.clone_from(&predicted.warnings);
        outcome.camera_height_cm = predicted.camera_height_cm;
        outcome.scale = predicted.scale;
        if let Some((k, iou)) = pair {
            outcome.fate = Fate::Measured;
            outcome.mask_iou = iou;
            answered(&mut outcome, &predicted.items[k]);
            outcome.named_right = Some(same_food(foods, &predicted.items[k].label, &outcome.label));
        }
        out.push(outcome);
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

/// Whether two labels name one row of this food table ("grape" and "grapes"), or are the same text.
pub(super) fn same_food(foods: &FoodTable, a: &str, b: &str) -> bool {
    let exact = |label: &str| {
        let m = foods.lookup(label);
        matches!(m.kind, MatchKind::Exact | MatchKind::SameWords)
            .then(|| m.food.id.clone())
            .flatten()
    };
    a.eq_ignore_ascii_case(b) || matches!((exact(a), exact(b)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::contract::{ErrorCode, Estimated};

    fn photo(more: &str) -> Sample {
        serde_json::from_str(&format!(
            r#"{{"id": "a", "image": "a.jpg", "width": 40, "height": 10, "items": [] {more}}}"#
        ))
        .unwrap()
    }

    fn item(label: &str) -> PredictedItem {
        PredictedItem {
            label: label.into(),
            confidence: Some(0.9),
            amounts: EstimatedAmounts {
                mass_g: Some(Estimated::exact(80.0)),
                ..EstimatedAmounts::default()
            },
            mask: None,
            truth: None,
            flags: Vec::new(),
        }
    }

    fn scored(sample: &Sample, answer: Result<Predicted, ScanError>, foods: &FoodTable) -> Outcomes {
        let mut out = Outcomes::default();
        super::sample(Path::new("."), sample, answer, Duration::ZERO, foods, &mut out);
        out
    }

    #[test]
    fn two_names_are_one_food_where_the_table_of_the_run_says_so() {
        let builtin = FoodTable::builtin();
        assert!(same_food(&builtin, "grape", "Grapes"));
        assert!(!same_food(&builtin, "tahdig", "boiled rice"));
        // The same two names in a table that knows both.
        let text =
            include_str!("../nutrition/foods.csv").replacen("steamed rice|", "steamed rice|tahdig|", 1);
        let own = FoodTable::from_csv(&text).unwrap();
        assert!(same_food(&own, "tahdig", "boiled rice"));
    }

    #[test]
    fn where_only_names_are_known_they_are_judged_and_the_photo_is_weighed() {
        let sample = photo(r#", "contents": ["apple", "pear"], "totals": {"mass_g": 100.0, "kcal": 52.0}"#);
        let predicted = Predicted {
            items: vec![item("apple"), item("steak")],
            totals: EstimatedAmounts {
                mass_g: Some(Estimated::exact(160.0)),
                ..EstimatedAmounts::default()
            },
            ..Predicted::default()
        };
        let out = scored(&sample, Ok(predicted), &FoodTable::builtin());
        let right: Vec<Option<bool>> = out.items.iter().map(|o| o.named_right).collect();
        assert_eq!(right, [Some(true), Some(false)]);
        let photo = &out.photos[0];
        assert_eq!(
            (photo.items, photo.truth.mass_g, photo.truth.kcal),
            (2, Some(100.0), Some(52.0))
        );
        assert_eq!(photo.predicted.mass_g.unwrap().p50, 160.0);
    }

    #[test]
    fn a_refusal_is_of_the_photo_and_of_each_item() {
        let sample: Sample = serde_json::from_str(
            r#"{"id": "a", "image": "a.jpg", "width": 40, "height": 10, "expect_error": "tilt_too_large", "items": [
                {"label": "apple", "mass_g": 70.0, "kcal": 36.0, "dish": "bowl"}, {"label": "pear", "mass_g": 30.0}]}"#,
        )
        .unwrap();
        for (code, right) in [(ErrorCode::TiltTooLarge, true), (ErrorCode::NoFood, false)] {
            let out = scored(&sample, Err(ScanError::new(code, "x")), &FoodTable::builtin());
            assert_eq!(out.items.len(), 2);
            let text = code.as_str().to_owned();
            let fate = if right {
                Fate::RightlyRefused(text)
            } else {
                Fate::Refused(text)
            };
            assert!(out.items.iter().all(|o| o.fate == fate));
            assert_eq!(out.photos[0].fate, fate);
            // Both were weighed, the energy of one alone is known.
            assert_eq!(
                (out.photos[0].truth.mass_g, out.photos[0].truth.kcal),
                (Some(100.0), None)
            );
            assert!(out.photos[0].in_bowl);
        }
    }

    #[test]
    fn outcomes_are_read_as_they_are_written() {
        let sample = photo(r#", "totals": {"mass_g": 100.0}"#);
        let answer = Predicted {
            items: vec![item("apple")],
            scale: Some(ScaleGroup::Coin),
            ..Predicted::default()
        };
        let out = scored(&sample, Ok(answer), &FoodTable::builtin());
        let text = serde_json::to_string(&(&out.items, &out.photos)).unwrap();
        assert!(text.contains(r#""predicted_mass_g":{"p10":80.0"#), "{text}");
        let back: (Vec<Outcome>, Vec<PhotoOutcome>) = serde_json::from_str(&text).unwrap();
        assert_eq!(back, (out.items, out.photos));
    }
}
