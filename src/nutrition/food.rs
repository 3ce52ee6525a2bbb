//! One row of the food table.

use serde::{Deserialize, Serialize};

use super::portions::{UsualPortion, usual_portion};
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

/// A row as it is stored, in the CSV file or in a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoodRow {
    pub id: String,
    pub name: String,
    /// Separated by `|`.
    pub aliases: String,
    pub category: String,
    pub basis: String,
    pub shape: String,
    pub density_g_cm3: f64,
    pub density_low: f64,
    pub density_high: f64,
    pub piece_density_g_cm3: Option<f64>,
    pub kcal_100g: f64,
    pub protein_100g: f64,
    pub carbs_100g: f64,
    pub fat_100g: f64,
    pub kcal_sigma_ln: f64,
    pub energy_note: Option<String>,
    pub hidden_kind: Option<String>,
    pub hidden_kcal_100g: Option<f64>,
    pub density_source: String,
    pub nutrient_source: String,
    pub fibre_100g: Option<f64>,
    pub sugars_100g: Option<f64>,
    pub saturated_fat_100g: Option<f64>,
    pub sodium_mg_100g: Option<f64>,
    /// `name=grams`, separated by `|`.
    pub units: Option<String>,
    pub tier: Option<String>,
}

/// A row that cannot be.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("food {id:?}, column {column}: {why}")]
pub struct RowError {
    pub id: String,
    pub column: &'static str,
    pub why: String,
}

/// One of a snake-case enum's names.
fn named<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(text.into())).ok()
}

/// A snake-case enum's name.
fn name_of(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(s)) => s,
        _ => String::new(),
    }
}

impl TryFrom<FoodRow> for Food {
    type Error = RowError;

    /// Checks the physical limits: density 0.03 to 1.6 g/cm3, kcal up to 902 and macros up to 102 g in 100 g,
    /// 4/4/9 within 40 % unless a note says why not.
    fn try_from(row: FoodRow) -> Result<Self, RowError> {
        let fail = |column: &'static str, why: String| RowError {
            id: row.id.clone(),
            column,
            why,
        };
        let bounded = |column: &'static str, value: f64, low: f64, high: f64| {
            if value >= low && value <= high {
                Ok(value)
            } else {
                Err(fail(column, format!("{value} is not between {low} and {high}")))
            }
        };
        let id = FoodId::new(&row.id).ok_or_else(|| fail("id", "is not 1 to 80 of a-z0-9_".into()))?;
        let basis: Basis =
            named(&row.basis).ok_or_else(|| fail("basis", format!("{:?} is not a basis", row.basis)))?;
        if row.name.trim().is_empty() || row.category.trim().is_empty() {
            return Err(fail("name", "name and category must not be empty".into()));
        }
        if !SHAPES.contains(&row.shape.as_str()) {
            return Err(fail("shape", format!("{:?} is not one of {SHAPES:?}", row.shape)));
        }
        let low = bounded("density_low", row.density_low, 0.03, 1.6)?;
        let p50 = bounded("density_g_cm3", row.density_g_cm3, low, 1.6)?;
        let high = bounded("density_high", row.density_high, p50, 1.6)?;
        if let Some(d) = row.piece_density_g_cm3 {
            bounded("piece_density_g_cm3", d, 0.03, 1.6)?;
        }
        let per_100g = Nutrients {
            kcal: bounded("kcal_100g", row.kcal_100g, 0.0, 902.0)?,
            protein_g: bounded("protein_100g", row.protein_100g, 0.0, 100.0)?,
            carbs_g: bounded("carbs_100g", row.carbs_100g, 0.0, 100.0)?,
            fat_g: bounded("fat_100g", row.fat_100g, 0.0, 100.0)?,
        };
        bounded(
            "fat_100g",
            per_100g.protein_g + per_100g.carbs_g + per_100g.fat_g,
            0.0,
            102.0,
        )?;
        let energy_note = match row.energy_note.as_deref() {
            None | Some("") => None,
            Some(text) => Some(
                named::<EnergyNote>(text)
                    .ok_or_else(|| fail("energy_note", format!("{text:?} is not a note")))?,
            ),
        };
        if energy_note.is_none() && per_100g.energy_gap() > 0.4 {
            return Err(fail(
                "kcal_100g",
                format!(
                    "{} kcal against {:.0} by 4/4/9",
                    per_100g.kcal,
                    per_100g.kcal_by_macros()
                ),
            ));
        }
        let hidden = match (row.hidden_kind.as_deref(), row.hidden_kcal_100g) {
            (None | Some(""), _) => None,
            (Some(text), Some(kcal)) => Some(Hidden {
                kind: named(text).ok_or_else(|| fail("hidden_kind", format!("{text:?} is unknown")))?,
                kcal_per_100g: bounded("hidden_kcal_100g", kcal, 0.0, 200.0)?,
            }),
            (Some(_), None) => return Err(fail("hidden_kcal_100g", "is missing".into())),
        };
        let part = |column: &'static str, value: Option<f64>, most: f64| {
            value.map(|v| bounded(column, v, 0.0, most)).transpose()
        };
        let details = Details {
            fibre_g: part("fibre_100g", row.fibre_100g, 100.0)?,
            sugars_g: part("sugars_100g", row.sugars_100g, 100.0)?,
            saturated_fat_g: part("saturated_fat_100g", row.saturated_fat_100g, 100.0)?,
            sodium_mg: part("sodium_mg_100g", row.sodium_mg_100g, 40_000.0)?,
        };
        let units = row
            .units
            .as_deref()
            .unwrap_or_default()
            .split('|')
            .filter(|u| !u.is_empty())
            .map(|unit| {
                let (name, grams) = unit.split_once('=')?;
                let grams = grams.parse::<f64>().ok().filter(|g| *g > 0.0 && *g <= 5000.0)?;
                Some((name.trim().to_owned(), grams))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| {
                fail(
                    "units",
                    "is not name=grams, up to 5000 g each, separated by |".into(),
                )
            })?;
        let tier = match row.tier.as_deref() {
            None | Some("") => Tier::default(),
            Some(text) => named(text).ok_or_else(|| fail("tier", format!("{text:?} is unknown")))?,
        };
        Ok(Self {
            details,
            units,
            tier,
            kcal_sigma_ln: bounded("kcal_sigma_ln", row.kcal_sigma_ln, 0.0, 2.0)?,
            id: Some(id),
            aliases: row
                .aliases
                .split('|')
                .map(str::trim)
                .filter(|a| !a.is_empty())
                .map(str::to_owned)
                .collect(),
            basis,
            density_g_cm3: Estimated {
                p10: low,
                p50,
                p90: high,
            },
            piece_density_g_cm3: row.piece_density_g_cm3,
            per_100g,
            energy_note,
            hidden,
            usual_portion: usual_portion(Some(&row.id), &row.shape).clone(),
            name: row.name,
            category: row.category,
            shape: row.shape,
            density_source: row.density_source,
            nutrient_source: row.nutrient_source,
        })
    }
}

impl From<&Food> for FoodRow {
    fn from(food: &Food) -> Self {
        Self {
            id: food
                .id
                .as_ref()
                .map(|id| id.as_str().to_owned())
                .unwrap_or_default(),
            name: food.name.clone(),
            aliases: food.aliases.join("|"),
            category: food.category.clone(),
            basis: name_of(food.basis),
            shape: food.shape.clone(),
            density_g_cm3: food.density_g_cm3.p50,
            density_low: food.density_g_cm3.p10,
            density_high: food.density_g_cm3.p90,
            piece_density_g_cm3: food.piece_density_g_cm3,
            kcal_100g: food.per_100g.kcal,
            protein_100g: food.per_100g.protein_g,
            carbs_100g: food.per_100g.carbs_g,
            fat_100g: food.per_100g.fat_g,
            kcal_sigma_ln: food.kcal_sigma_ln,
            energy_note: food.energy_note.map(name_of),
            hidden_kind: food.hidden.map(|h| name_of(h.kind)),
            hidden_kcal_100g: food.hidden.map(|h| h.kcal_per_100g),
            density_source: food.density_source.clone(),
            nutrient_source: food.nutrient_source.clone(),
            fibre_100g: food.details.fibre_g,
            sugars_100g: food.details.sugars_g,
            saturated_fat_100g: food.details.saturated_fat_g,
            sodium_mg_100g: food.details.sodium_mg,
            units: (!food.units.is_empty()).then(|| {
                let units: Vec<String> = food.units.iter().map(|(name, g)| format!("{name}={g}")).collect();
                units.join("|")
            }),
            tier: Some(name_of(food.tier)),
        }
    }
}
