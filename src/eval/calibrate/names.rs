//! What a set's names are worth, by crops of the true masks of foods with known names.

use dragunov_models::{Mask, RgbImage};

use crate::contract::ScanError;
use crate::eval::score::same_food;
use crate::identify::{Identified, Kind, NameBelief, Novelty, of_one_photo};
use crate::nutrition::FoodTable;
use crate::perceive::crop;
use crate::pipeline::Scanner;

/// Fewer crops than this fit nothing.
const MIN_CROPS: usize = 40;
/// Share of known foods that may be taken for unknown ones: what lies beyond the limit.
const LOST_SHARE: f64 = 0.05;
/// Temperatures that are tried: powers of this.
const TEMPERATURE_STEP: f64 = 1.03;

/// One crop of a food with a known name.
#[derive(Debug)]
struct Named {
    /// Number of its photo.
    photo: usize,
    label: String,
    said: Identified,
    features: Vec<f32>,
}

/// All crops of a data set.
#[derive(Debug, Default)]
pub(super) struct NameSample {
    crops: Vec<Named>,
    photos: usize,
}

/// How names are to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct FittedNames {
    pub belief: NameBelief,
    /// Crops that temperature and limit were fitted on, and how many of them were named rightly.
    pub crops: usize,
    pub right: usize,
    /// Where known foods lie, if the set did not tell: of the crops of every other photo, the rest of which fitted the limit.
    pub known: Option<Novelty>,
}

impl NameSample {
    /// Adds the foods of one photo.
    ///
    /// # Errors
    /// The device's.
    pub(super) fn add(
        &mut self,
        scanner: &mut Scanner,
        photo: &RgbImage,
        items: &[(Mask, &str)],
    ) -> Result<(), ScanError> {
        let (crops, labels): (Vec<RgbImage>, Vec<&str>) = items
            .iter()
            .filter_map(|(mask, label)| Some((crop(photo, mask)?, *label)))
            .unzip();
        let Some(identifier) = scanner.identifier() else {
            return Ok(());
        };
        let Some(features) = identifier.features(&crops)? else {
            return Ok(());
        };
        let answers = identifier.identify(&crops, &|| false);
        for ((said, features), label) in answers.into_iter().zip(features).zip(labels) {
            self.crops.push(Named {
                photo: self.photos,
                label: label.to_owned(),
                said: said?,
                features,
            });
        }
        self.photos += 1;
        Ok(())
    }

    /// Temperature and limit; the known foods themselves where the set has none (`has_known`). `None` for too few crops.
    pub(super) fn fit(&self, has_known: bool, foods: &FoodTable) -> Option<FittedNames> {
        let (learn, judge): (Vec<&Named>, Vec<&Named>) = if has_known {
            (Vec::new(), self.crops.iter().collect())
        } else {
            self.crops.iter().partition(|c| c.photo % 2 == 0)
        };
        if judge.len() < MIN_CROPS {
            return None;
        }
        let known = if has_known {
            None
        } else {
            Some(Novelty::fit(&numbered(&learn))?)
        };
        let novelty = |c: &Named| match &known {
            Some(known) => Some(known.of(&c.features)),
            None => c.said.novelty,
        };
        let mut novelties: Vec<f64> = judge
            .chunk_by(|a, b| a.photo == b.photo)
            .flat_map(|photo| of_one_photo(&photo.iter().filter_map(|c| novelty(c)).collect::<Vec<_>>()))
            .collect();
        novelties.sort_unstable_by(f64::total_cmp);
        let at = ((1.0 - LOST_SHARE) * novelties.len() as f64) as usize;
        let limit = novelties.get(at).copied();
        let right = judge
            .iter()
            .filter(|c| c.said.kind == Kind::Food && same_food(foods, &c.said.label, &c.label))
            .count();
        Some(FittedNames {
            belief: NameBelief {
                temperature: temperature(&judge, foods),
                novelty_limit: limit,
                ..NameBelief::default()
            },
            crops: judge.len(),
            right,
            known,
        })
    }
}

/// The features, with names as numbers.
fn numbered(crops: &[&Named]) -> Vec<(usize, Vec<f32>)> {
    let mut names: Vec<&str> = crops.iter().map(|c| c.label.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let number = |label: &str| names.binary_search(&label).unwrap_or(0);
    crops
        .iter()
        .map(|c| (number(&c.label), c.features.clone()))
        .collect()
}

/// The temperature under which what was said is likeliest.
fn temperature(crops: &[&Named], foods: &FoodTable) -> f64 {
    let loss = |temperature: f64| -> f64 {
        let belief = NameBelief {
            temperature,
            ..NameBelief::default()
        };
        crops
            .iter()
            .filter(|c| c.said.kind == Kind::Food)
            .map(|c| {
                let mut said = c.said.clone();
                said.novelty = said.novelty.or(Some(0.0));
                belief.judge(&mut said);
                let p = said.confidence.clamp(1e-4, 1.0 - 1e-4);
                if same_food(foods, &said.label, &c.label) {
                    -p.ln()
                } else {
                    -(1.0 - p).ln()
                }
            })
            .sum()
    };
    (-30..=30)
        .map(|k| TEMPERATURE_STEP.powi(k))
        .min_by(|a, b| loss(*a).total_cmp(&loss(*b)))
        .unwrap_or(1.0)
}
