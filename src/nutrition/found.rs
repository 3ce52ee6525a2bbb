//! What is known of a food, for who asks by name.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::food::Form;
use super::lookup::{FoodMatch, MatchKind};
use super::table::FoodTable;
use crate::contract::Estimated;

/// One row of the food table, or the average that stands for what is not in it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FoundFood {
    /// Null for an average.
    pub food_id: Option<String>,
    pub name: String,
    pub category: String,
    #[serde(rename = "match")]
    pub kind: MatchKind,
    /// 1 for exact; below 1 a similarity, 0 for `unknown`.
    pub score: f64,
    pub shape: String,
    pub density_g_cm3: Estimated,
    pub piece_density_g_cm3: Option<f64>,
    pub kcal_100g: f64,
    pub protein_100g: f64,
    pub carbs_100g: f64,
    pub fat_100g: f64,
    pub fibre_100g: Option<f64>,
    pub sugars_100g: Option<f64>,
    pub saturated_fat_100g: Option<f64>,
    pub sodium_mg_100g: Option<f64>,
    /// Grams of usual pieces and measures.
    pub units: BTreeMap<String, f64>,
    /// Grams that the name itself tells ("2 eggs").
    pub told_g: Option<f64>,
    pub density_source: String,
    pub nutrient_source: String,
    /// Plan area of a usual portion and its mean height.
    pub helping_area_cm2: f64,
    pub helping_height_cm: f64,
    pub helping_source: String,
}

impl From<&FoodMatch<'_>> for FoundFood {
    fn from(m: &FoodMatch<'_>) -> Self {
        let (food, n) = (m.food, &m.food.per_100g);
        Self {
            food_id: food.id.as_ref().map(|id| id.as_str().to_owned()),
            name: food.name.clone(),
            category: food.category.clone(),
            kind: m.kind,
            score: m.score,
            shape: food.shape.clone(),
            density_g_cm3: food.density(Form::Pile),
            piece_density_g_cm3: food.piece_density_g_cm3,
            kcal_100g: n.kcal,
            protein_100g: n.protein_g,
            carbs_100g: n.carbs_g,
            fat_100g: n.fat_g,
            fibre_100g: food.details.fibre_g,
            sugars_100g: food.details.sugars_g,
            saturated_fat_100g: food.details.saturated_fat_g,
            sodium_mg_100g: food.details.sodium_mg,
            units: food
                .units
                .iter()
                .map(|(name, g)| (name.to_string(), *g))
                .collect(),
            told_g: m.amount.and_then(|a| a.mass(food)).map(|told| told.grams),
            density_source: food.density_source.clone(),
            nutrient_source: food.nutrient_source.clone(),
            helping_area_cm2: food.usual_portion.portion.area_cm2,
            helping_height_cm: food.usual_portion.portion.height_cm,
            helping_source: food.usual_portion.source.clone(),
        }
    }
}

impl FoodTable {
    /// What a scan would take the name for, then the nearest other rows, `n` in all.
    pub fn foods_called(&self, name: &str, n: usize) -> Vec<FoundFood> {
        let best = self.lookup(name);
        let others = self.search(name, n + 1);
        std::iter::once(&best)
            .chain(others.iter().filter(|m| m.food.name != best.food.name))
            .take(n)
            .map(FoundFood::from)
            .collect()
    }
}
