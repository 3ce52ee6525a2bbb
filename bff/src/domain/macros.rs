//! Sums of meals, and whether calories and macros tell the same story.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was eaten in a diary day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Totals {
    /// kcal.
    pub calories: i64,
    pub protein_g: i64,
    pub carbs_g: i64,
    pub fats_g: i64,
    pub meals: i64,
}

/// Calories that differ from 4/4/9 of the macros by more than 25 kcal and 20 %. Unknown values disagree with nothing.
/// Fibre and alcohol explain smaller or one-sided gaps, so this is a warning only.
pub fn disagree(
    calories: Option<i32>,
    protein_g: Option<i32>,
    carbs_g: Option<i32>,
    fats_g: Option<i32>,
) -> bool {
    let (Some(kcal), Some(p), Some(c), Some(f)) = (calories, protein_g, carbs_g, fats_g) else {
        return false;
    };
    let (kcal, e) = (f64::from(kcal), f64::from(4 * p + 4 * c + 9 * f));
    (kcal - e).abs() > f64::max(25.0, 0.2 * e)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_percent_and_twenty_five() {
        assert!(!disagree(Some(500), Some(30), Some(50), Some(20)));
        assert!(!disagree(Some(600), Some(30), Some(50), Some(20)), "exactly 20 %");
        assert!(disagree(Some(601), Some(30), Some(50), Some(20)));
        assert!(disagree(Some(0), Some(30), Some(50), Some(20)));
        assert!(!disagree(Some(25), Some(0), Some(0), Some(0)));
        assert!(disagree(Some(26), Some(0), Some(0), Some(0)));
        assert!(!disagree(None, Some(30), Some(50), Some(20)));
    }
}
