//! A row of the food table as it is stored, and the checks that make a food of it.

use serde::{Deserialize, Serialize};

use super::food::{
    Basis, Details, EnergyNote, Food, FoodId, Hidden, Nutrients, SHAPES, Tier, name_of, named,
};
use super::portions::usual_portion;
use crate::contract::Estimated;

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

impl FoodRow {
    fn fail(&self, column: &'static str, why: impl Into<String>) -> RowError {
        RowError {
            id: self.id.clone(),
            column,
            why: why.into(),
        }
    }

    fn bounded(&self, column: &'static str, value: f64, low: f64, high: f64) -> Result<f64, RowError> {
        if value >= low && value <= high {
            Ok(value)
        } else {
            Err(self.fail(column, format!("{value} is not between {low} and {high}")))
        }
    }

    fn density(&self) -> Result<Estimated, RowError> {
        let p10 = self.bounded("density_low", self.density_low, 0.03, 1.6)?;
        let p50 = self.bounded("density_g_cm3", self.density_g_cm3, p10, 1.6)?;
        let p90 = self.bounded("density_high", self.density_high, p50, 1.6)?;
        Ok(Estimated { p10, p50, p90 })
    }

    /// Energy up to 902 kcal, macros up to 102 g together.
    fn nutrients(&self) -> Result<Nutrients, RowError> {
        let per_100g = Nutrients {
            kcal: self.bounded("kcal_100g", self.kcal_100g, 0.0, 902.0)?,
            protein_g: self.bounded("protein_100g", self.protein_100g, 0.0, 100.0)?,
            carbs_g: self.bounded("carbs_100g", self.carbs_100g, 0.0, 100.0)?,
            fat_g: self.bounded("fat_100g", self.fat_100g, 0.0, 100.0)?,
        };
        let macros = per_100g.protein_g + per_100g.carbs_g + per_100g.fat_g;
        self.bounded("fat_100g", macros, 0.0, 102.0)?;
        Ok(per_100g)
    }

    /// The note that excuses a row whose energy is not 4/4/9 within 40 %.
    fn energy_note(&self, per_100g: &Nutrients) -> Result<Option<EnergyNote>, RowError> {
        let note = match self.energy_note.as_deref() {
            None | Some("") => None,
            Some(text) => Some(
                named::<EnergyNote>(text)
                    .ok_or_else(|| self.fail("energy_note", format!("{text:?} is not a note")))?,
            ),
        };
        if note.is_none() && per_100g.energy_gap() > 0.4 {
            let (stated, computed) = (per_100g.kcal, per_100g.kcal_by_macros());
            return Err(self.fail(
                "kcal_100g",
                format!("{stated} kcal against {computed:.0} by 4/4/9"),
            ));
        }
        Ok(note)
    }

    fn hidden(&self) -> Result<Option<Hidden>, RowError> {
        match (self.hidden_kind.as_deref(), self.hidden_kcal_100g) {
            (None | Some(""), _) => Ok(None),
            (Some(text), Some(kcal)) => Ok(Some(Hidden {
                kind: named(text).ok_or_else(|| self.fail("hidden_kind", format!("{text:?} is unknown")))?,
                kcal_per_100g: self.bounded("hidden_kcal_100g", kcal, 0.0, 200.0)?,
            })),
            (Some(_), None) => Err(self.fail("hidden_kcal_100g", "is missing")),
        }
    }

    fn details(&self) -> Result<Details, RowError> {
        let part = |column: &'static str, value: Option<f64>, most: f64| {
            value.map(|v| self.bounded(column, v, 0.0, most)).transpose()
        };
        Ok(Details {
            fibre_g: part("fibre_100g", self.fibre_100g, 100.0)?,
            sugars_g: part("sugars_100g", self.sugars_100g, 100.0)?,
            saturated_fat_g: part("saturated_fat_100g", self.saturated_fat_100g, 100.0)?,
            sodium_mg: part("sodium_mg_100g", self.sodium_mg_100g, 40_000.0)?,
        })
    }

    fn units(&self) -> Result<Vec<(String, f64)>, RowError> {
        parts(self.units.as_deref().unwrap_or_default())
            .map(|unit| {
                let (name, grams) = unit.split_once('=')?;
                let grams = grams.parse::<f64>().ok().filter(|g| *g > 0.0 && *g <= 5000.0)?;
                Some((name.trim().to_owned(), grams))
            })
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| self.fail("units", "is not name=grams, up to 5000 g each, separated by |"))
    }

    fn tier(&self) -> Result<Tier, RowError> {
        match self.tier.as_deref() {
            None | Some("") => Ok(Tier::default()),
            Some(text) => named(text).ok_or_else(|| self.fail("tier", format!("{text:?} is unknown"))),
        }
    }
}

/// The parts of a list that `|` separates.
fn parts(list: &str) -> impl Iterator<Item = &str> {
    list.split('|').map(str::trim).filter(|part| !part.is_empty())
}

impl TryFrom<FoodRow> for Food {
    type Error = RowError;

    /// Checks names, and the physical limits: density 0.03 to 1.6 g/cm3 and what the columns' own checks say.
    fn try_from(row: FoodRow) -> Result<Self, RowError> {
        let id = FoodId::new(&row.id).ok_or_else(|| row.fail("id", "is not 1 to 80 of a-z0-9_"))?;
        let basis: Basis =
            named(&row.basis).ok_or_else(|| row.fail("basis", format!("{:?} is not a basis", row.basis)))?;
        if row.name.trim().is_empty() || row.category.trim().is_empty() {
            return Err(row.fail("name", "name and category must not be empty"));
        }
        if !SHAPES.contains(&row.shape.as_str()) {
            return Err(row.fail("shape", format!("{:?} is not one of {SHAPES:?}", row.shape)));
        }
        if let Some(density) = row.piece_density_g_cm3 {
            row.bounded("piece_density_g_cm3", density, 0.03, 1.6)?;
        }
        let per_100g = row.nutrients()?;
        Ok(Self {
            id: Some(id),
            basis,
            density_g_cm3: row.density()?,
            piece_density_g_cm3: row.piece_density_g_cm3,
            energy_note: row.energy_note(&per_100g)?,
            per_100g,
            details: row.details()?,
            units: row.units()?,
            tier: row.tier()?,
            kcal_sigma_ln: row.bounded("kcal_sigma_ln", row.kcal_sigma_ln, 0.0, 2.0)?,
            hidden: row.hidden()?,
            usual_portion: usual_portion(Some(&row.id), &row.shape).clone(),
            aliases: parts(&row.aliases).map(str::to_owned).collect(),
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
