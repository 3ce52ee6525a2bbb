//! Meals.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::body::{Check, given};
use super::resource::{Edited, Listed};
use crate::problem::Problem;
use crate::store::food_logs::{FoodLog, FoodLogFields};

const META_BYTES: usize = 32 << 10;

#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MealStatus {
    PendingConfirmation,
    Confirmed,
    Rejected,
}

impl MealStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::PendingConfirmation => "pending_confirmation",
            Self::Confirmed => "confirmed",
            Self::Rejected => "rejected",
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MealType {
    Breakfast,
    Lunch,
    Dinner,
    Snack,
    Other,
}

impl MealType {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Breakfast => "breakfast",
            Self::Lunch => "lunch",
            Self::Dinner => "dinner",
            Self::Snack => "snack",
            Self::Other => "other",
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct FoodLogFilter {
    /// Only meals of this status.
    #[param(inline)]
    status: Option<MealStatus>,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFoodLog {
    /// Now unless told; at most a day ahead.
    #[schema(value_type = Option<String>, format = DateTime)]
    log_time: Option<Timestamp>,
    #[schema(min_length = 1, max_length = 200)]
    food_name: String,
    /// kcal.
    #[schema(minimum = 0, maximum = 20_000)]
    calories: Option<i32>,
    #[schema(minimum = 0, maximum = 2_000)]
    protein_g: Option<i32>,
    #[schema(minimum = 0, maximum = 2_000)]
    carbs_g: Option<i32>,
    #[schema(minimum = 0, maximum = 2_000)]
    fats_g: Option<i32>,
    #[schema(inline)]
    meal_type: Option<MealType>,
    #[serde(default)]
    is_caffeine: bool,
    #[serde(default)]
    is_alcohol: bool,
    /// Up to 32 KiB, for example `{"breakdown":{"bread":120,"butter":50}}`.
    #[serde(default)]
    meta_data: Map<String, Value>,
}

impl NewFoodLog {
    fn checked(
        self,
        now: Timestamp,
        meal_type: Option<String>,
        status: String,
    ) -> Result<FoodLogFields, Problem> {
        let mut check = Check::default();
        let log_time = check.instant("/log_time", self.log_time.unwrap_or(now));
        if log_time > now + SignedDuration::from_hours(24) {
            check.fail("/log_time", "in_the_future");
        }
        let fields = FoodLogFields {
            log_time,
            food_name: check.text("/food_name", &self.food_name, 200),
            calories: check.range("/calories", self.calories, 0, 20_000),
            protein_g: check.range("/protein_g", self.protein_g, 0, 2_000),
            carbs_g: check.range("/carbs_g", self.carbs_g, 0, 2_000),
            fats_g: check.range("/fats_g", self.fats_g, 0, 2_000),
            meal_type,
            is_caffeine: self.is_caffeine,
            is_alcohol: self.is_alcohol,
            meta_data: check.object("/meta_data", self.meta_data, META_BYTES),
            status,
        };
        check.done()?;
        Ok(fields)
    }
}

/// Fields to change; null clears a number, what is absent stays. A new `log_time` moves the meal between diary days.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FoodLogChange {
    #[schema(value_type = Option<String>, format = DateTime)]
    log_time: Option<Timestamp>,
    #[schema(min_length = 1, max_length = 200)]
    food_name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 20_000)]
    calories: Option<Option<i32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 2_000)]
    protein_g: Option<Option<i32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 2_000)]
    carbs_g: Option<Option<i32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 2_000)]
    fats_g: Option<Option<i32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<MealType>)]
    meal_type: Option<Option<MealType>>,
    is_caffeine: Option<bool>,
    is_alcohol: Option<bool>,
    meta_data: Option<Map<String, Value>>,
    #[schema(inline)]
    status: Option<MealStatus>,
}

impl Listed for FoodLog {
    const PATH: &'static str = "/food_logs";
    const TAG: &'static str = "food_logs";
    const NOUN: &'static str = "meal";
    const LIST: &'static str = "Meals, the latest first.";
    type Filter = FoodLogFilter;

    fn filter(asked: &FoodLogFilter) -> Option<&'static str> {
        asked.status.map(MealStatus::as_str)
    }
}

impl Edited for FoodLog {
    type New = NewFoodLog;
    type Change = FoodLogChange;
    const ON_DASHBOARD: bool = true;

    fn added(new: NewFoodLog, now: Timestamp) -> Result<FoodLogFields, Problem> {
        let meal_type = new.meal_type.map(|m| m.as_str().to_owned());
        new.checked(now, meal_type, "confirmed".into())
    }

    fn changed(self, change: FoodLogChange, now: Timestamp) -> Result<FoodLogFields, Problem> {
        let status = change.status.map_or(self.status, |s| s.as_str().to_owned());
        let meal_type = match change.meal_type {
            Some(new) => new.map(|m| m.as_str().to_owned()),
            None => self.meal_type,
        };
        NewFoodLog {
            log_time: Some(change.log_time.unwrap_or(self.log_time)),
            food_name: change.food_name.unwrap_or(self.food_name),
            calories: change.calories.unwrap_or(self.calories),
            protein_g: change.protein_g.unwrap_or(self.protein_g),
            carbs_g: change.carbs_g.unwrap_or(self.carbs_g),
            fats_g: change.fats_g.unwrap_or(self.fats_g),
            meal_type: None,
            is_caffeine: change.is_caffeine.unwrap_or(self.is_caffeine),
            is_alcohol: change.is_alcohol.unwrap_or(self.is_alcohol),
            meta_data: change.meta_data.unwrap_or(self.meta_data),
        }
        .checked(now, meal_type, status)
    }
}
