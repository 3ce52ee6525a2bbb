//! Volumes and labels of one photo to a meal.

use crate::contract::result::{Alternative, NutrientDetails, Question, Totals};
use crate::contract::{Estimated, ItemFlag, Warning, WarningCode};

use super::amount::ToldMass;
use super::food::{Basis, Food, FoodId, Form};
use super::item::ItemInput;
use super::lookup::{FoodMatch, MatchKind};
use super::note::Note;
use super::quantity::{Quantity, total};
use super::questions;
use super::table::FoodTable;

/// Why an item cannot be weighed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NutritionError {
    #[error("a volume of {0} cm3 cannot be weighed")]
    Volume(f64),
    #[error("a volume error of {0} (sd of ln) cannot be used")]
    Sigma(f64),
    #[error("a portion of {0} cannot be eaten")]
    Portion(f64),
    #[error("{food} has no question {question:?} with the answer {option:?}")]
    Answer {
        food: String,
        question: String,
        option: String,
    },
}

/// One item's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Nourished {
    /// None where only an average could be used.
    pub food_id: Option<FoodId>,
    pub match_kind: MatchKind,
    pub match_score: f64,
    pub density_g_cm3: Estimated,
    pub mass_g: Estimated,
    pub kcal: Estimated,
    pub protein_g: Estimated,
    pub carbs_g: Estimated,
    pub fat_g: Estimated,
    pub details: NutrientDetails,
    pub alternatives: Vec<Alternative>,
    pub flags: Vec<ItemFlag>,
    /// What was taken for granted, in words.
    pub assumptions: Vec<String>,
    /// At most two over the whole meal.
    pub questions: Vec<Question>,
}

/// The whole photo's answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Meal {
    /// In the order of the inputs.
    pub items: Vec<Nourished>,
    pub totals: Totals,
    pub warnings: Vec<Warning>,
}

/// Lightest and heaviest item, grams, and the most energetic meal, kcal, that pass without a flag.
pub const ITEM_MASS_G: std::ops::RangeInclusive<f64> = 1.0..=2500.0;
pub const MEAL_KCAL: f64 = 4000.0;
/// Standard deviation of ln(grams told by a person): a kitchen scale, and what clings to the dish.
pub const TOLD_SIGMA_LN: f64 = 0.02;
/// Questions over the whole meal.
pub const MAX_QUESTIONS: usize = 2;
/// The rows that alternatives are shown for.
const MAX_ALTERNATIVES: usize = 5;
/// Standard deviation of ln(fibre, sugars, saturated fat, sodium per gram) between recipes of one food; a judgement.
const DETAIL_SIGMA_LN: f64 = 0.25;
/// Standard deviation of ln(a macronutrient per gram) beyond that of the energy; a judgement.
const MACROS_SIGMA_LN: f64 = 0.1;
/// A guess or told amount this far from the measured mass (factor) contradicts it and is not averaged with it.
const MASSES_DISAGREE: f64 = 3.0;

struct Weighed<'a> {
    food: &'a Food,
    mass: Quantity,
    kcal: Quantity,
    macros: [Quantity; 3],
    answer: Nourished,
}

/// Weighs every item and adds up.
///
/// # Errors
/// [`NutritionError`] for the first item whose volume is not a positive number.
pub fn nourish(table: &FoodTable, items: &[ItemInput]) -> Result<Meal, NutritionError> {
    nourish_noted(table, items, &Note::default())
}

/// [`nourish`]; what the note speaks of is asked first.
///
/// # Errors
/// As [`nourish`].
pub fn nourish_noted(table: &FoodTable, items: &[ItemInput], note: &Note) -> Result<Meal, NutritionError> {
    let mut weighed = items
        .iter()
        .map(|item| weigh(table, item))
        .collect::<Result<Vec<_>, _>>()?;
    let mut candidates: Vec<(usize, questions::Candidate)> = weighed
        .iter()
        .enumerate()
        .flat_map(|(i, w)| {
            let a = &w.answer;
            questions::candidates(
                w.food,
                a.mass_g.p50,
                a.kcal.p50,
                items[i].confidence,
                &a.alternatives,
                note,
            )
            .into_iter()
            .filter(move |c| {
                !items[i]
                    .answers
                    .iter()
                    .any(|(question, _)| *question == c.question.id)
            })
            .map(move |c| (i, c))
        })
        .collect();
    candidates.sort_by(|a, b| {
        b.1.noted
            .cmp(&a.1.noted)
            .then(b.1.variance_kcal2.total_cmp(&a.1.variance_kcal2))
    });
    for (i, c) in candidates.into_iter().take(MAX_QUESTIONS) {
        weighed[i].answer.questions.push(c.question);
    }
    let sum = |part: &dyn Fn(&Weighed<'_>) -> Quantity| total(&weighed.iter().map(part).collect::<Vec<_>>());
    let totals = Totals {
        mass_g: sum(&|w| w.mass),
        kcal: sum(&|w| w.kcal),
        protein_g: sum(&|w| w.macros[0]),
        carbs_g: sum(&|w| w.macros[1]),
        fat_g: sum(&|w| w.macros[2]),
    };
    let mut warnings = Vec::new();
    if totals.kcal.p50 > MEAL_KCAL {
        warnings.push(Warning::new(
            WarningCode::MealImplausible,
            format!(
                "{:.0} kcal is more than one meal holds: check the scale and the items",
                totals.kcal.p50
            ),
        ));
    }
    Ok(Meal {
        items: weighed.into_iter().map(|w| w.answer).collect(),
        totals,
        warnings,
    })
}

fn weigh<'a>(table: &'a FoodTable, item: &ItemInput) -> Result<Weighed<'a>, NutritionError> {
    check(item)?;
    let found = table.lookup(&item.label);
    let food = found.food;
    let density = food.density(form_of(item, food));
    let mut flags = Vec::new();
    let assumptions = assume(&found, form_of(item, food), &mut flags);
    let others = others(table, item, food);
    let told = found.amount.and_then(|amount| amount.mass(food));
    let mass = mass(item, &density, &others, told, &mut flags);
    let energy = energy(item, food, &density, &others, mass)?;
    if food.energy_note.is_none() && food.per_100g.energy_gap() > 0.2 {
        flags.push(ItemFlag::EnergyCheck);
    }
    let [protein_g, carbs_g, fat_g] = energy.macros.map(|q| q.estimate_or_zero());
    let answer = Nourished {
        food_id: food.id.clone(),
        match_kind: found.kind,
        match_score: found.score,
        density_g_cm3: density,
        mass_g: mass.estimate(),
        kcal: energy.kcal.estimate_or_zero(),
        protein_g,
        carbs_g,
        fat_g,
        details: details(food, mass, energy.composition),
        alternatives: alternatives(item, &others),
        flags,
        assumptions,
        questions: Vec::new(),
    };
    Ok(Weighed {
        food,
        mass,
        kcal: energy.kcal,
        macros: energy.macros,
        answer,
    })
}

fn check(item: &ItemInput) -> Result<(), NutritionError> {
    let v = item.volume;
    if !v.p50_cm3.is_finite() || v.p50_cm3 <= 0.0 {
        return Err(NutritionError::Volume(v.p50_cm3));
    }
    for sigma in [v.sigma_shared_ln, v.sigma_own_ln] {
        if !sigma.is_finite() || sigma < 0.0 {
            return Err(NutritionError::Sigma(sigma));
        }
    }
    if !item.portion.is_finite() || item.portion <= 0.0 {
        return Err(NutritionError::Portion(item.portion));
    }
    Ok(())
}

/// What the item's volume would be the volume of, were it this food.
fn form_of(item: &ItemInput, food: &Food) -> Form {
    item.form.unwrap_or_else(|| food.usual_form())
}

/// Flags of the look-up, and what is taken for granted, in words.
fn assume(found: &FoodMatch<'_>, form: Form, flags: &mut Vec<ItemFlag>) -> Vec<String> {
    let food = found.food;
    let mut assumptions = Vec::new();
    match found.kind {
        MatchKind::Exact | MatchKind::SameWords => {}
        MatchKind::Fuzzy => {
            flags.push(ItemFlag::LabelFuzzy);
            assumptions.push(format!("taken for {}", food.name));
        }
        MatchKind::Category => {
            flags.push(ItemFlag::LabelCategory);
            assumptions.push(format!("average of the foods in {:?}", food.category));
        }
        MatchKind::Unknown => {
            flags.push(ItemFlag::LabelUnknown);
            assumptions.push("food of average density and energy".to_owned());
        }
    }
    if food.basis == Basis::Leaf {
        flags.push(ItemFlag::Leaf);
    }
    assumptions.push(match form {
        Form::Pile if food.basis == Basis::Pile => format!("{} in a heap, with air between", food.name),
        _ => food.name.clone(),
    });
    assumptions
}

/// Grams of what counts of the item: told by a person, else measured and averaged with what the label and the vision
/// model say.
fn mass(
    item: &ItemInput,
    density: &Estimated,
    others: &[(String, &Food, f64)],
    told: Option<ToldMass>,
    flags: &mut Vec<ItemFlag>,
) -> Quantity {
    let mut mass = match item.told_g {
        Some(grams) => Quantity {
            p50: grams,
            shared: 0.0,
            own: TOLD_SIGMA_LN,
            hidden: 0.0,
        },
        None => {
            let identity = identity_sigma(item, others, |f| f.density(form_of(item, f)).p50 / density.p50);
            let v = item.volume;
            Quantity {
                p50: v.p50_cm3 * density.p50,
                shared: v.sigma_shared_ln,
                own: v.sigma_own_ln.hypot(density.sigma_ln()).hypot(identity),
                hidden: 0.0,
            }
        }
    };
    if item.told_g.is_none() {
        let guess = item.vlm.filter(|v| v.grams.is_finite() && v.grams > 0.0);
        let guess = guess.map(|v| ToldMass {
            grams: v.grams,
            sigma_ln: v.sigma_ln(),
        });
        let evidence = [
            (told, ItemFlag::LabelAmount, ItemFlag::LabelAmountDisagrees),
            (guess, ItemFlag::MassFused, ItemFlag::VlmGramsDisagree),
        ];
        for (grams, agrees, disagrees) in evidence {
            let Some(grams) = grams else { continue };
            match fused(mass, grams) {
                Some(together) => {
                    mass = together;
                    flags.push(agrees);
                }
                None => flags.push(disagrees),
            }
        }
    }
    mass.p50 *= item.portion;
    if !ITEM_MASS_G.contains(&mass.p50) {
        flags.push(ItemFlag::MassImplausible);
        if item.told_g.is_none() {
            mass.own = mass.own.max(0.7);
        }
    }
    mass
}

struct Energy {
    kcal: Quantity,
    /// Protein, carbohydrate, fat, grams.
    macros: [Quantity; 3],
    /// Standard deviation of ln(kcal per gram).
    composition: f64,
}

/// Energy and macros of a mass, with what the answers to questions add.
fn energy(
    item: &ItemInput,
    food: &Food,
    density: &Estimated,
    others: &[(String, &Food, f64)],
    mass: Quantity,
) -> Result<Energy, NutritionError> {
    let n = &food.per_100g;
    let identity = identity_sigma(item, others, |f| {
        let own = n.kcal * density.p50;
        f.per_100g.kcal * f.density(form_of(item, f)).p50 / own.max(1e-9)
    });
    // `mass.own` holds the density's part of the identity error already; the larger of the two is the whole.
    let composition = food.kcal_sigma_ln.hypot(identity);
    let mut kcal = mass.scaled(n.kcal / 100.0, composition);
    let mut macros =
        [n.protein_g, n.carbs_g, n.fat_g].map(|g| mass.scaled(g / 100.0, composition.hypot(MACROS_SIGMA_LN)));
    match hidden_answer(food, item, mass.p50, kcal.p50)? {
        Some(added) => {
            kcal.p50 += added.kcal;
            macros[1].p50 = (macros[1].p50 + added.carbs_g).max(0.0);
            macros[2].p50 = (macros[2].p50 + added.fat_g).max(0.0);
        }
        None => kcal.hidden = questions::hidden_variance(food, mass.p50, kcal.p50),
    }
    Ok(Energy {
        kcal,
        macros,
        composition,
    })
}

fn details(food: &Food, mass: Quantity, composition: f64) -> NutrientDetails {
    let sigma = composition.hypot(DETAIL_SIGMA_LN);
    let detail =
        |per_100g: Option<f64>| per_100g.map(|amount| mass.scaled(amount / 100.0, sigma).estimate_or_zero());
    NutrientDetails {
        fibre_g: detail(food.details.fibre_g),
        sugars_g: detail(food.details.sugars_g),
        saturated_fat_g: detail(food.details.saturated_fat_g),
        sodium_mg: detail(food.details.sodium_mg),
    }
}

fn alternatives(item: &ItemInput, others: &[(String, &Food, f64)]) -> Vec<Alternative> {
    others
        .iter()
        .take(MAX_ALTERNATIVES)
        .map(|(label, food, confidence)| {
            let grams = item.volume.p50_cm3 * food.density(form_of(item, food)).p50;
            Alternative {
                label: label.clone(),
                food_id: food.id.as_ref().map(|id| id.as_str().to_owned()),
                confidence: *confidence,
                mass_g: grams,
                kcal: grams * food.per_100g.kcal / 100.0,
            }
        })
        .collect()
}

/// Other foods the item may be: the identifier's, or the nearest rows when the label itself was only near.
fn others<'a>(table: &'a FoodTable, item: &ItemInput, chosen: &Food) -> Vec<(String, &'a Food, f64)> {
    let mut out: Vec<(String, &Food, f64)> = Vec::new();
    let mut push = |label: &str, food: &'a Food, p: f64| {
        let known = food.name == chosen.name || out.iter().any(|(_, f, _)| f.name == food.name);
        if !known && p.is_finite() && p > 0.0 {
            out.push((label.to_owned(), food, p.min(1.0)));
        }
    };
    for (label, p) in &item.alternatives {
        let found = table.lookup(label);
        if found.kind != MatchKind::Unknown {
            push(label, found.food, *p);
        }
    }
    let kind = table.lookup(&item.label).kind;
    if item.alternatives.is_empty() && matches!(kind, MatchKind::Fuzzy | MatchKind::Category) {
        for m in table.search(&item.label, 4) {
            push(&m.food.name, m.food, 0.25 * m.score);
        }
    }
    out
}

/// Standard deviation of ln(quantity) from not being sure of the label; `ratio` is a food's quantity over the
/// chosen one's.
fn identity_sigma(item: &ItemInput, others: &[(String, &Food, f64)], ratio: impl Fn(&Food) -> f64) -> f64 {
    let own = item.confidence.clamp(0.05, 1.0);
    let sum = own + others.iter().map(|o| o.2).sum::<f64>();
    let variance: f64 = others
        .iter()
        .map(|(_, food, p)| p / sum * ratio(food).max(1e-3).ln().powi(2))
        .sum();
    variance.sqrt().min(0.8)
}

/// What the answer to the question about a food's hidden part adds; none if nobody answered.
fn hidden_answer(
    food: &Food,
    item: &ItemInput,
    mass_g: f64,
    kcal: f64,
) -> Result<Option<questions::Added>, NutritionError> {
    let Some((question, option)) = item.answers.first() else {
        return Ok(None);
    };
    questions::added_by(food, question, option, mass_g, kcal)
        .map(Some)
        .filter(|_| item.answers.len() == 1)
        .ok_or_else(|| NutritionError::Answer {
            food: food.name.clone(),
            question: question.chars().take(40).collect(),
            option: option.chars().take(40).collect(),
        })
}

/// Inverse-variance mean of the measured and a told mass in log space; none where they contradict each other.
fn fused(mass: Quantity, told: ToldMass) -> Option<Quantity> {
    let ratio = told.grams / mass.p50;
    if ratio.ln().abs() > MASSES_DISAGREE.ln() {
        return None;
    }
    let ours = mass.shared * mass.shared + mass.own * mass.own;
    let theirs = told.sigma_ln.powi(2);
    let w = theirs / (ours + theirs).max(f64::MIN_POSITIVE);
    Some(Quantity {
        p50: mass.p50 * ratio.powf(1.0 - w),
        shared: w * mass.shared,
        own: (w * mass.own).hypot((1.0 - w) * told.sigma_ln),
        hidden: mass.hidden,
    })
}
