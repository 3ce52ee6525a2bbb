//! What is known and what is answered of a food, or of all food on a photo.

use serde::{Deserialize, Serialize};

use crate::contract::Estimated;

/// What is measured against truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    Volume,
    Mass,
    Kcal,
    Protein,
    Carbs,
    Fat,
}

impl Quantity {
    pub const ALL: [Self; 6] = [
        Self::Volume,
        Self::Mass,
        Self::Kcal,
        Self::Protein,
        Self::Carbs,
        Self::Fat,
    ];

    pub fn title(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Mass => "mass",
            Self::Kcal => "kcal",
            Self::Protein => "protein",
            Self::Carbs => "carbs",
            Self::Fat => "fat",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::Volume => "cm3",
            Self::Kcal => "kcal",
            Self::Mass | Self::Protein | Self::Carbs | Self::Fat => "g",
        }
    }
}

/// True amounts, as far as they are known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct TrueAmounts {
    pub volume_cm3: Option<f64>,
    pub mass_g: Option<f64>,
    pub kcal: Option<f64>,
    pub protein_g: Option<f64>,
    pub carbs_g: Option<f64>,
    pub fat_g: Option<f64>,
}

impl TrueAmounts {
    pub fn get(&self, quantity: Quantity) -> Option<f64> {
        match quantity {
            Quantity::Volume => self.volume_cm3,
            Quantity::Mass => self.mass_g,
            Quantity::Kcal => self.kcal,
            Quantity::Protein => self.protein_g,
            Quantity::Carbs => self.carbs_g,
            Quantity::Fat => self.fat_g,
        }
    }

    /// Sums of what is known of every one of these; a sum that lacks one is not known.
    pub fn sums(parts: &[Self]) -> Self {
        let sum = |quantity| -> Option<f64> {
            let known: Option<Vec<f64>> = parts.iter().map(|p| p.get(quantity)).collect();
            known.filter(|k| !k.is_empty()).map(|k| k.iter().sum())
        };
        Self {
            volume_cm3: sum(Quantity::Volume),
            mass_g: sum(Quantity::Mass),
            kcal: sum(Quantity::Kcal),
            protein_g: sum(Quantity::Protein),
            carbs_g: sum(Quantity::Carbs),
            fat_g: sum(Quantity::Fat),
        }
    }
}

/// Answered amounts; keys start with `predicted_`, so that they stand beside the true ones in one object.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EstimatedAmounts {
    #[serde(rename = "predicted_volume_cm3")]
    pub volume_cm3: Option<Estimated>,
    #[serde(rename = "predicted_mass_g")]
    pub mass_g: Option<Estimated>,
    #[serde(rename = "predicted_kcal")]
    pub kcal: Option<Estimated>,
    #[serde(rename = "predicted_protein_g")]
    pub protein_g: Option<Estimated>,
    #[serde(rename = "predicted_carbs_g")]
    pub carbs_g: Option<Estimated>,
    #[serde(rename = "predicted_fat_g")]
    pub fat_g: Option<Estimated>,
}

impl EstimatedAmounts {
    pub fn get(&self, quantity: Quantity) -> Option<Estimated> {
        match quantity {
            Quantity::Volume => self.volume_cm3,
            Quantity::Mass => self.mass_g,
            Quantity::Kcal => self.kcal,
            Quantity::Protein => self.protein_g,
            Quantity::Carbs => self.carbs_g,
            Quantity::Fat => self.fat_g,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_that_lacks_a_part_is_not_known() {
        let food = |mass_g, kcal| TrueAmounts {
            mass_g,
            kcal,
            ..TrueAmounts::default()
        };
        let sums = TrueAmounts::sums(&[food(Some(100.0), Some(50.0)), food(Some(20.0), None)]);
        assert_eq!(
            (sums.mass_g, sums.kcal, sums.volume_cm3),
            (Some(120.0), None, None)
        );
        assert_eq!(TrueAmounts::sums(&[]), TrueAmounts::default());
    }
}
