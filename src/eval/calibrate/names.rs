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
    /// Where known foods lie, if that was asked for or the set did not tell.
    pub known: Option<Novelty>,
    /// Crops that it was fitted to, none of them among `crops`.
    pub known_crops: usize,
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

    /// Temperature and limit, on `apart` if it is given; the known foods themselves unless the set keeps its own (`keep_known`). Without
    /// `apart`, they are of every other photo and the rest fits the limit. `None` for too few crops.
    pub(super) fn fit(
        &self,
        apart: Option<&NameSample>,
        keep_known: bool,
        foods: &FoodTable,
    ) -> Option<FittedNames> {
        let (learn, judge): (Vec<&Named>, Vec<&Named>) = match apart {
            _ if keep_known => (Vec::new(), self.crops.iter().collect()),
            Some(apart) => (self.crops.iter().collect(), apart.crops.iter().collect()),
            None => self.crops.iter().partition(|c| c.photo % 2 == 0),
        };
        if judge.len() < MIN_CROPS {
            return None;
        }
        let known = if keep_known {
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
            .flat_map(|photo| of_one_photo(&photo.iter().copied().filter_map(&novelty).collect::<Vec<_>>()))
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
            known_crops: learn.len(),
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Crops of two foods, two a photo; the features of each scatter by `spread`.
    fn sample(photos: usize, spread: f32) -> NameSample {
        let crops = (0..2 * photos).map(|i| {
            let (rice, wave) = (i % 2 == 0, |k: f32| spread * (i as f32 * k).sin());
            let label = if rice { "white rice" } else { "apple" };
            Named {
                photo: i / 2,
                label: label.into(),
                said: Identified {
                    label: label.into(),
                    confidence: 0.9,
                    ..Identified::unknown_food()
                },
                features: vec![if rice { 10.0 } else { 0.0 } + wave(1.7), wave(0.9), wave(2.3)],
            }
        });
        NameSample {
            crops: crops.collect(),
            photos,
        }
    }

    #[test]
    fn the_limit_is_of_the_foods_apart_and_every_food_may_tell_what_is_known() {
        let foods = FoodTable::builtin();
        let all = sample(100, 1.0);
        let halves = all.fit(None, false, &foods).unwrap();
        assert_eq!((halves.known_crops, halves.crops, halves.right), (100, 100, 100));
        let limit = |names: &FittedNames| names.belief.novelty_limit.unwrap();
        let wider = all.fit(Some(&sample(40, 2.0)), false, &foods).unwrap();
        assert_eq!((wider.known_crops, wider.crops), (200, 80));
        let ratio = limit(&wider) / limit(&halves);
        assert!((1.6..2.4).contains(&ratio), "{ratio}");
        assert!(all.fit(Some(&sample(10, 2.0)), false, &foods).is_none());
        assert!(all.fit(None, true, &foods).unwrap().known.is_none());
    }
}
