//! The taps that narrow a meal most: what no photo shows.

use crate::contract::result::{Alternative, Question, QuestionOption};

use super::food::{Food, HiddenKind};
use super::note::Note;

/// A question and how much of the kcal variance its answer removes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Candidate {
    pub(super) question: Question,
    pub(super) variance_kcal2: f64,
    /// The note speaks of it.
    pub(super) noted: bool,
}

/// Answers that would move a meal by less than this (standard deviation, kcal) are not worth a tap.
const LEAST_SD_KCAL: f64 = 15.0;
/// The second label's kcal must differ by this share before identity is asked.
const IDENTITY_DIFFERS: f64 = 0.2;

/// One answer: text, usual steps added, how often it is given (our estimate).
type Answer = (&'static str, f64, f64);

fn answers(kind: HiddenKind) -> (&'static str, &'static str, &'static [Answer]) {
    match kind {
        HiddenKind::OilIncluded => (
            "oil",
            "How much oil was used for the {}?",
            &[
                ("little or none", -1.0, 0.2),
                ("as usual", 0.0, 0.6),
                ("a lot", 1.5, 0.2),
            ],
        ),
        HiddenKind::OilAdded => (
            "oil",
            "Was oil or butter added to the {}?",
            &[("none", 0.0, 0.5), ("a little", 1.0, 0.35), ("a lot", 3.0, 0.15)],
        ),
        HiddenKind::Dressing => (
            "dressing",
            "Is there dressing on the {}?",
            &[("none", 0.0, 0.4), ("some", 1.0, 0.4), ("a lot", 2.0, 0.2)],
        ),
        HiddenKind::Sauce => (
            "sauce",
            "Is there sauce or topping with the {}?",
            &[("none", 0.0, 0.5), ("some", 1.0, 0.35), ("a lot", 2.5, 0.15)],
        ),
        HiddenKind::Sugar => (
            "sugar",
            "Is the {} sweetened?",
            &[("no", 0.0, 0.5), ("a little", 1.0, 0.3), ("sweet", 2.0, 0.2)],
        ),
        HiddenKind::SugarFree => (
            "sugar_free",
            "Is the {} sugar-free?",
            &[("no", 0.0, 0.7), ("yes", -1.0, 0.3)],
        ),
    }
}

/// kcal that one answer adds; an item never falls below zero.
fn added(food: &Food, steps: f64, mass_g: f64, kcal: f64) -> f64 {
    let step = food.hidden.map_or(0.0, |h| h.kcal_per_100g) * mass_g / 100.0;
    (steps * step).max(-kcal)
}

/// What a hidden part adds to an item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Added {
    pub(super) kcal: f64,
    pub(super) carbs_g: f64,
    pub(super) fat_g: f64,
}

/// What the chosen option of the food's question adds; none if the food is not asked that, or has no such option. Oil and
/// dressing are counted as fat, sugar as carbohydrate, sauces as half of each by energy.
pub(super) fn added_by(food: &Food, question: &str, option: &str, mass_g: f64, kcal: f64) -> Option<Added> {
    let kind = food.hidden?.kind;
    let (id, _, answers) = answers(kind);
    let steps = answers.iter().find(|(label, _, _)| *label == option)?.1;
    let kcal = (id == question).then(|| added(food, steps, mass_g, kcal))?;
    let fat = match kind {
        HiddenKind::OilIncluded | HiddenKind::OilAdded | HiddenKind::Dressing => 1.0,
        HiddenKind::Sauce => 0.5,
        HiddenKind::Sugar | HiddenKind::SugarFree => 0.0,
    };
    Some(Added {
        kcal,
        carbs_g: kcal * (1.0 - fat) / 4.0,
        fat_g: kcal * fat / 9.0,
    })
}

/// Variance in kcal^2 of what is hidden in `mass_g` of a food that shows `kcal`.
pub(super) fn hidden_variance(food: &Food, mass_g: f64, kcal: f64) -> f64 {
    let Some(hidden) = food.hidden else { return 0.0 };
    let (_, _, answers) = answers(hidden.kind);
    variance(
        answers
            .iter()
            .map(|&(_, steps, p)| (added(food, steps, mass_g, kcal), p)),
    )
}

fn variance(values: impl Iterator<Item = (f64, f64)> + Clone) -> f64 {
    let weight: f64 = values.clone().map(|(_, p)| p).sum();
    if weight <= 0.0 {
        return 0.0;
    }
    let mean = values.clone().map(|(v, p)| v * p).sum::<f64>() / weight;
    values.map(|(v, p)| p * (v - mean).powi(2)).sum::<f64>() / weight
}

/// What could be asked of one item. `confidence` is the label's, `alternatives` hold the others' kcal.
pub(super) fn candidates(
    food: &Food,
    mass_g: f64,
    kcal: f64,
    confidence: f64,
    alternatives: &[Alternative],
    note: &Note,
) -> Vec<Candidate> {
    let mut out = Vec::new();
    if let Some(hidden) = food.hidden {
        let (id, text, answers) = answers(hidden.kind);
        let suggested = note.option(hidden.kind, id).and_then(|i| answers.get(i));
        out.push(Candidate {
            noted: suggested.is_some(),
            variance_kcal2: hidden_variance(food, mass_g, kcal),
            question: Question {
                id: id.into(),
                text: text.replace("{}", short(&food.name)),
                options: answers
                    .iter()
                    .map(|&(label, steps, _)| QuestionOption {
                        label: label.into(),
                        kcal: added(food, steps, mass_g, kcal),
                    })
                    .collect(),
                suggested: suggested.map(|(label, ..)| (*label).to_owned()),
            },
        });
    }
    if let Some(second) = alternatives.first()
        && food.id.is_some()
        && (second.kcal - kcal).abs() > IDENTITY_DIFFERS * kcal.max(1.0)
    {
        let spread = std::iter::once((0.0, confidence.clamp(0.0, 1.0)))
            .chain(alternatives.iter().map(|a| (a.kcal - kcal, a.confidence)));
        out.push(Candidate {
            noted: false,
            variance_kcal2: variance(spread),
            question: Question {
                id: "identity".into(),
                text: format!("Is “{}” the right name?", short(&food.name)),
                options: std::iter::once(QuestionOption {
                    label: food.name.clone(),
                    kcal: 0.0,
                })
                .chain(alternatives.iter().take(3).map(|a| QuestionOption {
                    label: a.label.clone(),
                    kcal: a.kcal - kcal,
                }))
                .collect(),
                suggested: None,
            },
        });
    }
    out.retain(|c| c.noted || c.variance_kcal2 >= LEAST_SD_KCAL * LEAST_SD_KCAL);
    out
}

/// `white rice, cooked` is asked about as `white rice`.
fn short(name: &str) -> &str {
    name.split(',').next().unwrap_or(name)
}
