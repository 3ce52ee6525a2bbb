//! A second opinion on every food that was settled on: its crop as it was drawn last, and that crop's mirror image.
//!
//! A name comes from one crop around one mask of many. What is asked again is a handful of crops beside dozens; the mean of three
//! answers is right more often than each, and less sure of itself where they differ.

use dragunov_models::RgbImage;

use super::Finder;
use crate::contract::{Control, ScanError, Stage};
use crate::identify::{Identified, Kind};
use crate::perceive::naming::crop;
use crate::perceive::region::Candidate;

/// Foods that are asked about at most, the largest first: a bound on time.
const MAX_FOODS: usize = 12;
/// Other names that an item keeps.
const MAX_ALTERNATIVES: usize = 4;

impl Finder<'_> {
    /// Names every food by the mean of what was said of it and of two more crops. An answer that fails changes nothing.
    ///
    /// # Errors
    /// `cancelled` or `deadline_exceeded` of the job, and the device's own.
    pub(super) fn ask_again(
        &mut self,
        image: &RgbImage,
        candidates: &mut [Candidate],
        control: &dyn Control,
    ) -> Result<(), ScanError> {
        let Some(identifier) = &mut self.identifier else {
            return Ok(());
        };
        control.stage(Stage::Identify)?;
        let mut foods: Vec<usize> = (0..candidates.len())
            .filter(|i| {
                let said = &candidates[*i].identity;
                said.kind == Kind::Food && said.label != Identified::UNKNOWN
            })
            .collect();
        foods.sort_by_key(|i| std::cmp::Reverse(candidates[*i].mask.area()));
        foods.truncate(MAX_FOODS);
        let (asked, crops): (Vec<usize>, Vec<RgbImage>) = foods
            .into_iter()
            .filter_map(|i| Some((i, crop(image, &candidates[i].mask)?)))
            .flat_map(|(i, crop)| {
                let mirrored = mirrored(&crop);
                std::iter::once((i, crop)).chain(mirrored.map(|crop| (i, crop)))
            })
            .unzip();
        let answers = identifier.identify(&crops, &|| control.check().is_err());
        control.check()?;
        let mut said: Vec<Vec<Identified>> = vec![Vec::new(); candidates.len()];
        for (i, answer) in asked.into_iter().zip(answers) {
            match answer {
                Ok(answer) => said[i].push(answer),
                Err(error) if error.code.is_of_device() => return Err(error),
                Err(_) => {}
            }
        }
        for (candidate, more) in candidates.iter_mut().zip(said) {
            if !more.is_empty() {
                candidate.identity = mean(&candidate.identity, &more);
            }
        }
        Ok(())
    }
}

fn mirrored(crop: &RgbImage) -> Option<RgbImage> {
    let (width, height) = (crop.width(), crop.height());
    let pixels = (0..width * height).flat_map(|i| crop.pixel(width - 1 - i % width, i / width));
    RgbImage::new(width, height, pixels.collect()).ok()
}

/// The mean of several answers about one food. What is named as no food at all counts for no name.
fn mean(first: &Identified, more: &[Identified]) -> Identified {
    let all: Vec<&Identified> = std::iter::once(first).chain(more).collect();
    let mut names: Vec<(String, f64)> = Vec::new();
    for said in all.iter().filter(|said| said.kind == Kind::Food) {
        let own = (said.label.clone(), said.confidence);
        for (label, p) in std::iter::once(&own).chain(&said.alternatives) {
            let p = p / all.len() as f64;
            match names.iter_mut().find(|(known, _)| known == label) {
                Some((_, sum)) => *sum += p,
                None => names.push((label.clone(), p)),
            }
        }
    }
    names.sort_by(|a, b| b.1.total_cmp(&a.1));
    names.truncate(1 + MAX_ALTERNATIVES);
    let (label, confidence) = names.remove(0);
    let novelties: Vec<f64> = all.iter().filter_map(|said| said.novelty).collect();
    let ln_novelty = novelties.iter().map(|n| n.ln()).sum::<f64>() / novelties.len().max(1) as f64;
    Identified {
        label,
        confidence,
        alternatives: names,
        novelty: (!novelties.is_empty()).then_some(ln_novelty.exp()),
        ..first.clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn said(label: &str, confidence: f64, other: &str, novelty: f64) -> Identified {
        Identified {
            label: label.into(),
            confidence,
            alternatives: vec![(other.into(), 1.0 - confidence)],
            novelty: Some(novelty),
            ..Identified::unknown_food()
        }
    }

    #[test]
    fn two_that_agree_outvote_one_and_nobody_is_surer_than_the_mean() {
        let first = said("cookie", 0.6, "nuggets", 1.0);
        let more = [
            said("nuggets", 0.9, "cookie", 2.0),
            said("nuggets", 0.7, "cookie", 4.0),
        ];
        let all = mean(&first, &more);
        assert_eq!(all.label, "nuggets");
        assert!((all.confidence - 2.0 / 3.0).abs() < 1e-9);
        assert!((all.novelty.unwrap() - 2.0).abs() < 1e-9);
        assert!((all.alternatives[0].1 - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_food_makes_less_sure_and_names_nothing() {
        let plate = Identified {
            kind: Kind::Plate,
            label: "plate".into(),
            confidence: 0.9,
            ..Identified::unknown_food()
        };
        let all = mean(&said("rice", 0.8, "peas", 1.0), &[plate]);
        assert_eq!((all.label.as_str(), all.kind), ("rice", Kind::Food));
        assert!((all.confidence - 0.4).abs() < 1e-9);
    }

    #[test]
    fn mirrored_left_is_right() {
        let image = RgbImage::new(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        let other = mirrored(&image).unwrap();
        assert_eq!((other.pixel(0, 0), other.pixel(1, 0)), ([4, 5, 6], [1, 2, 3]));
    }
}
