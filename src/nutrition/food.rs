//! One row of the food table.

use serde::{Deserialize, Serialize};

use super::portions::UsualPortion;
use crate::contract::Estimated;
use crate::geometry::ShapeClass;

/// Stable name of a row, `a-z0-9_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FoodId(String);

impl FoodId {
    /// None unless 1 to 80 characters of `a-z0-9_`.
    pub fn new(text: &str) -> Option<Self> {
        let ok = (1..=80).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        ok.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for FoodId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the row's density is the density of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Basis {
    /// One body.
    Solid,
    /// Loose pieces with the air between them.
    Pile,
    /// A dish of pieces and sauce.
    Mixed,
    Liquid,
    /// Bread and cake, with their pores.
    Porous,
    /// Leaves; very uncertain.
    Leaf,
}

/// How the food lies there, which decides between bulk and piece density.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// One volume around all pieces and the air between them.
    Pile,
    /// The volume of the pieces themselves.
    Pieces,
}

/// Legitimate reasons for kcal to depart from 4/4/9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnergyNote {
    /// Fibre is counted as carbohydrate but gives 2 kcal/g or less.
    Fibre,
    /// 7 kcal/g that no macro column holds.
    Alcohol,
}

/// What no photo of this food shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HiddenKind {
    /// Frying oil; the row holds a usual amount.
    OilIncluded,
    /// Oil or butter; the row holds none.
    OilAdded,
    /// Salad dressing; the row holds none or little.
    Dressing,
    /// Sauce or topping; the row holds none.
    Sauce,
    /// Sugar stirred in; the row holds none.
    Sugar,
    /// A sweet drink that may be the sugar-free kind.
    SugarFree,
}

/// A hidden part and its usual step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hidden {
    pub kind: HiddenKind,
    /// One usual amount, kcal per 100 g of food.
    pub kcal_per_100g: f64,
}

/// Per 100 g as it lies on the plate, with skin, peel and stone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nutrients {
    pub kcal: f64,
    pub protein_g: f64,
    pub carbs_g: f64,
    pub fat_g: f64,
}

impl Nutrients {
    /// 4 kcal/g protein and carbohydrate, 9 kcal/g fat (Atwater's general factors).
    pub fn kcal_by_macros(&self) -> f64 {
        4.0 * self.protein_g + 4.0 * self.carbs_g + 9.0 * self.fat_g
    }

    /// |4/4/9 - kcal| over kcal, with 20 kcal as the least denominator.
    pub fn energy_gap(&self) -> f64 {
        (self.kcal_by_macros() - self.kcal).abs() / self.kcal.max(20.0)
    }
}

/// Parts of the macros and salt per 100 g; none where the source does not say.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Details {
    pub fibre_g: Option<f64>,
    pub sugars_g: Option<f64>,
    pub saturated_fat_g: Option<f64>,
    pub sodium_mg: Option<f64>,
}

/// How a row came into the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// Kept by hand: foods that are common on plates, with their names in everyday speech.
    #[default]
    Core,
    /// Made from a nutrient database, for names that the core does not hold.
    LongTail,
}

/// A food: density, nutrients and what they rest on.
#[derive(Debug, Clone, PartialEq)]
pub struct Food {
    /// None for a category's average and for `unknown`.
    pub id: Option<FoodId>,
    pub name: String,
    pub aliases: Vec<String>,
    pub category: String,
    pub basis: Basis,
    /// One of [`SHAPES`]: the solid that the geometry should assume.
    pub shape: String,
    /// Bulk density as [`Basis`] says; p10 to p90 is the plausible range.
    pub density_g_cm3: Estimated,
    /// Density of a single piece, where the row is a pile.
    pub piece_density_g_cm3: Option<f64>,
    pub per_100g: Nutrients,
    pub details: Details,
    /// Grams of one usual piece or measure, by its name (`medium`, `slice`, `cup`).
    pub units: Vec<(String, f64)>,
    pub tier: Tier,
    /// Spread of the composition behind one label, of ln kcal.
    pub kcal_sigma_ln: f64,
    pub energy_note: Option<EnergyNote>,
    pub hidden: Option<Hidden>,
    pub density_source: String,
    pub nutrient_source: String,
    /// Usual size on a plate, and what that rests on.
    pub usual_portion: UsualPortion,
}

/// Names of the solids a food may be taken for, as `geometry` spells them.
pub const SHAPES: &[&str] = &[
    "ball",
    "rod",
    "cup",
    "dome",
    "slab",
    "pile",
    "cluster",
    "tapered",
    "rounded_slab",
    "liquid",
    "unknown",
];

impl Food {
    /// The solid that the geometry should assume.
    pub fn shape_class(&self) -> ShapeClass {
        named(&self.shape).unwrap_or_default()
    }

    /// Grams of one of a named unit.
    pub fn unit(&self, name: &str) -> Option<f64> {
        self.units
            .iter()
            .find(|(unit, _)| unit == name)
            .map(|(_, grams)| *grams)
    }

    /// Grams of one piece as it is usually had.
    pub fn piece_g(&self) -> Option<f64> {
        [
            "piece", "medium", "large", "slice", "patty", "link", "cookie", "fillet", "small",
        ]
        .iter()
        .find_map(|name| self.unit(name))
    }

    /// What this food's shape class measures: a heap's outline, or the pieces themselves.
    pub fn usual_form(&self) -> Form {
        match self.shape.as_str() {
            "pile" | "liquid" | "unknown" => Form::Pile,
            _ => Form::Pieces,
        }
    }

    /// Density for a volume of that form. A pile's row says nothing sure of one piece; food is mostly water, so 1.03
    /// stands in where no piece density is known.
    pub fn density(&self, form: Form) -> Estimated {
        if form == Form::Pile || self.basis != Basis::Pile {
            return self.density_g_cm3;
        }
        match self.piece_density_g_cm3 {
            Some(d) => Estimated::log_normal(d, 0.06),
            None => Estimated::log_normal(1.03, 0.08),
        }
    }
}

/// One of a snake-case enum's names.
pub(super) fn named<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(text.into())).ok()
}

/// A snake-case enum's name.
pub(super) fn name_of(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(s)) => s,
        _ => String::new(),
    }
}
