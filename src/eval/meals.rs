//! Several photos of one meal against each of them alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::figures::{Errors, Pair};
use super::full_pipeline::{FullPipeline, amounts_of, mask_of};
use super::manifest::{Dataset, Sample, Support};
use super::predictor::{Predicted, PredictedItem, Predictor};
use super::score::{self, Fate, Outcome, Outcomes};
use crate::contract::{DishKind, Estimated, ScanError, ScanResult};
use crate::nutrition::FoodTable;

/// One thing that every photo of its meal shows.
#[derive(Debug, Clone, Serialize)]
pub struct SeenThing {
    pub meal: String,
    pub object: String,
    pub label: String,
    pub in_bowl: bool,
    pub volume_cm3: f64,
    /// By each photo alone, in the manifest's order; null where it was missed.
    pub alone: Vec<Option<Estimated>>,
    /// By all of them together.
    pub together: Option<Estimated>,
}

/// What several photos gain.
#[derive(Debug, Clone, Serialize)]
pub struct MealsReport {
    pub title: String,
    pub meals: usize,
    /// Meals that could not be measured together, by code.
    pub refused: BTreeMap<String, usize>,
    /// Photos that were left out of a meal.
    pub left_out: usize,
    /// Items of the meals' answers beyond the true things among them: what is no food, and what an answer has twice.
    pub surplus: usize,
    pub alone: Option<Errors>,
    pub together: Option<Errors>,
    /// The same over the things that every photo alone found as well.
    pub alone_found: Option<Errors>,
    pub together_found: Option<Errors>,
    /// The first two over the things that lie in bowls.
    pub alone_in_bowls: Option<Errors>,
    pub together_in_bowls: Option<Errors>,
    /// Correlation of the errors, ln(estimate / truth), of the first two photos alone.
    pub correlation: Option<f64>,
    pub things: Vec<SeenThing>,
    /// Mean time of a meal, ms.
    pub took_ms: f64,
}

/// Measures every meal of the data set with each photo alone and with all together; `tick` is called after each meal.
pub fn run(
    dataset: &Dataset,
    pipeline: &FullPipeline,
    foods: &FoodTable,
    title: String,
    mut tick: impl FnMut(&Sample),
) -> MealsReport {
    let mut meals: BTreeMap<&str, Vec<&Sample>> = BTreeMap::new();
    for sample in &dataset.samples {
        if let Some(meal) = &sample.meal {
            meals.entry(meal).or_default().push(sample);
        }
    }
    meals.retain(|_, photos| photos.len() > 1);
    let (mut things, mut refused, mut took) = (Vec::new(), BTreeMap::new(), Duration::ZERO);
    let (mut left_out, mut surplus) = (0, 0);
    for (meal, photos) in &meals {
        let alone: Vec<Vec<Outcome>> = photos
            .iter()
            .map(|photo| outcomes(dataset, photo, pipeline.predict(&dataset.root, photo), foods))
            .collect();
        let begun = Instant::now();
        let together = pipeline.predict_meal(&dataset.root, photos);
        took += begun.elapsed();
        if let Err(error) = &together {
            *refused.entry(error.code.as_str().to_owned()).or_insert(0) += 1;
        }
        left_out += together
            .iter()
            .flat_map(|r| &r.photos)
            .filter(|photo| !photo.used)
            .count();
        let fused: Vec<Vec<Outcome>> = (0..photos.len())
            .map(|k| {
                let answer = together.as_ref().map(|result| on_photo(result, k));
                outcomes(
                    dataset,
                    photos[k],
                    answer.map_err(|e| ScanError::new(e.code, e.message.clone())),
                    foods,
                )
            })
            .collect();
        let answered = together.as_ref().map_or(0, |result| result.items.len());
        surplus += answered.saturating_sub(objects_found(photos, &fused));
        things.extend(shown_by_all(meal, photos, &alone, &fused));
        photos.iter().for_each(|photo| tick(photo));
    }
    MealsReport {
        refused,
        left_out,
        surplus,
        ..MealsReport::new(title, meals.len(), things, took)
    }
}

/// How many true things the meal's items are, on whichever photo.
fn objects_found(photos: &[&Sample], fused: &[Vec<Outcome>]) -> usize {
    let found = photos.iter().zip(fused).flat_map(|(photo, outcomes)| {
        let items = photo.items.iter().zip(outcomes);
        items.filter_map(|(item, outcome)| {
            (outcome.fate == Fate::Measured)
                .then_some(item.object.as_ref())
                .flatten()
        })
    });
    found.collect::<BTreeSet<_>>().len()
}

/// Of the true items, in their order.
fn outcomes(
    dataset: &Dataset,
    sample: &Sample,
    answer: Result<Predicted, ScanError>,
    foods: &FoodTable,
) -> Vec<Outcome> {
    let mut out = Outcomes::default();
    score::sample(&dataset.root, sample, answer, Duration::ZERO, foods, &mut out);
    out.items.retain(|outcome| outcome.fate != Fate::Extra);
    out.items
}

/// The meal's items where one of its photos shows them.
fn on_photo(result: &ScanResult, k: usize) -> Predicted {
    let seen = result
        .photos
        .iter()
        .filter(|photo| photo.photo == k)
        .flat_map(|photo| &photo.items);
    let items = seen
        .filter_map(|seen| {
            let item = result
                .items
                .iter()
                .find(|item| Some(&item.id) == seen.item.as_ref())?;
            Some(PredictedItem {
                label: item.label.clone(),
                confidence: Some(item.confidence),
                amounts: amounts_of(item),
                mask: seen.mask.as_ref().and_then(mask_of),
                truth: None,
                flags: item.flags.clone(),
            })
        })
        .collect();
    Predicted {
        items,
        ..Predicted::default()
    }
}

fn shown_by_all(
    meal: &str,
    photos: &[&Sample],
    alone: &[Vec<Outcome>],
    fused: &[Vec<Outcome>],
) -> Vec<SeenThing> {
    let place = |photo: &Sample, object: &String| {
        photo
            .items
            .iter()
            .position(|item| item.object.as_ref() == Some(object))
    };
    let first = photos.first().map_or(&[][..], |photo| &photo.items);
    first
        .iter()
        .filter_map(|item| {
            let (object, volume_cm3) = (item.object.as_ref()?, item.volume_cm3?);
            let at: Vec<usize> = photos
                .iter()
                .map(|photo| place(photo, object))
                .collect::<Option<_>>()?;
            let of = |lists: &[Vec<Outcome>]| -> Vec<Option<Estimated>> {
                lists
                    .iter()
                    .zip(&at)
                    .map(|(list, &i)| list.get(i)?.predicted.volume_cm3)
                    .collect()
            };
            Some(SeenThing {
                meal: meal.to_owned(),
                object: object.clone(),
                label: item.label.clone(),
                in_bowl: item.dish == Some(Support::Dish(DishKind::Bowl)),
                volume_cm3,
                alone: of(alone),
                together: of(fused).into_iter().flatten().next(),
            })
        })
        .collect()
}

impl MealsReport {
    fn new(title: String, meals: usize, things: Vec<SeenThing>, took: Duration) -> Self {
        let pairs = |things: &[&SeenThing]| -> Vec<Pair> {
            things
                .iter()
                .flat_map(|t| t.alone.iter().map(|e| (t.volume_cm3, *e)))
                .collect()
        };
        let joint = |things: &[&SeenThing]| -> Vec<Pair> {
            things.iter().map(|t| (t.volume_cm3, t.together)).collect()
        };
        let all: Vec<&SeenThing> = things.iter().collect();
        let found: Vec<&SeenThing> = all
            .iter()
            .copied()
            .filter(|t| t.alone.iter().all(Option::is_some) && t.together.is_some())
            .collect();
        let bowls: Vec<&SeenThing> = all.iter().copied().filter(|t| t.in_bowl).collect();
        let [
            alone,
            together,
            alone_found,
            together_found,
            alone_in_bowls,
            together_in_bowls,
        ] = [
            pairs(&all),
            joint(&all),
            pairs(&found),
            joint(&found),
            pairs(&bowls),
            joint(&bowls),
        ]
        .map(|p| Errors::of(&p));
        Self {
            title,
            meals,
            refused: BTreeMap::new(),
            left_out: 0,
            surplus: 0,
            alone,
            together,
            alone_found,
            together_found,
            alone_in_bowls,
            together_in_bowls,
            correlation: correlation(&found),
            took_ms: took.as_secs_f64() * 1e3 / meals.max(1) as f64,
            things,
        }
    }

    /// Plain text for a terminal.
    pub fn text(&self) -> String {
        let mut out = format!(
            "{}\n{} meals, {} things that every photo shows\n\n",
            self.title,
            self.meals,
            self.things.len()
        );
        let _ = writeln!(
            out,
            "{:<44}{:>6}{:>8}{:>8}{:>8}{:>8}{:>9}",
            "volume, %", "n", "MAPE", "median", "bias", "<=25", "p10-90"
        );
        for (name, e) in [
            ("one photo", &self.alone),
            ("all photos together", &self.together),
            ("found by every photo alone: one photo", &self.alone_found),
            ("found by every photo alone: all together", &self.together_found),
            ("in bowls: one photo", &self.alone_in_bowls),
            ("in bowls: all photos together", &self.together_in_bowls),
        ] {
            if let Some(e) = e {
                let _ = writeln!(
                    out,
                    "{:<44}{:>6}{:>8.1}{:>8.1}{:>8.1}{:>8.1}{:>9.1}",
                    name, e.n, e.mape, e.median_ape, e.bias, e.within_25, e.coverage
                );
            }
        }
        for (what, one, all) in [
            ("all things", &self.alone, &self.together),
            (
                "things found by every photo",
                &self.alone_found,
                &self.together_found,
            ),
        ] {
            if let (Some(one), Some(all)) = (one, all) {
                let _ = writeln!(
                    out,
                    "MAPE of {what}: {:.0} % less than one photo's",
                    100.0 * (1.0 - all.mape / one.mape)
                );
            }
        }
        if let Some(r) = self.correlation {
            let _ = writeln!(out, "errors of two photos of one thing are correlated by {r:.2}");
        }
        for (code, n) in &self.refused {
            let _ = writeln!(out, "{n} meals refused with {code}");
        }
        let _ = writeln!(
            out,
            "{} photos left out; {} items beyond the true things; {:.0} ms a meal",
            self.left_out, self.surplus, self.took_ms
        );
        out
    }
}

/// Of ln(estimate / truth) of the first two photos, about their own means.
fn correlation(things: &[&SeenThing]) -> Option<f64> {
    let off: Vec<[f64; 2]> = things
        .iter()
        .filter_map(|t| {
            let ln = |k: usize| Some((t.alone.get(k)?.as_ref()?.p50 / t.volume_cm3).ln());
            Some([ln(0)?, ln(1)?])
        })
        .collect();
    let n = off.len() as f64;
    let mean = |k: usize| off.iter().map(|o| o[k]).sum::<f64>() / n;
    let (a, b) = (mean(0), mean(1));
    let sum = |f: &dyn Fn(&[f64; 2]) -> f64| off.iter().map(f).sum::<f64>();
    let both = sum(&|o| (o[0] - a) * (o[1] - b));
    let each = sum(&|o| (o[0] - a).powi(2)).sqrt() * sum(&|o| (o[1] - b).powi(2)).sqrt();
    (off.len() > 2 && each > 0.0).then(|| both / each)
}
