//! `food_logs`: one row a meal. A row keeps its own numbers when what it came from changes or vanishes.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::UserTx;
use super::page::Place;
use super::resource::{Editable, Order, PgQuery, Resource, Unit};
use super::row::{Columns, Result, instant};
use crate::domain::macros::Totals;

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct FoodLog {
    pub id: Uuid,
    #[schema(value_type = String, format = DateTime)]
    pub log_time: Timestamp,
    pub food_name: String,
    /// kcal.
    #[schema(required)]
    pub calories: Option<i32>,
    #[schema(required)]
    pub protein_g: Option<i32>,
    #[schema(required)]
    pub carbs_g: Option<i32>,
    #[schema(required)]
    pub fats_g: Option<i32>,
    #[schema(required)]
    pub meal_type: Option<String>,
    pub is_caffeine: bool,
    pub is_alcohol: bool,
    pub meta_data: Map<String, Value>,
    /// `pending_confirmation`, `confirmed` or `rejected`; only confirmed meals count.
    pub status: String,
    #[schema(required)]
    pub scan_id: Option<Uuid>,
    /// `macros_inconsistent` if the calories disagree with 4/4/9 by more than 20 % and 25 kcal. Saving stays possible.
    pub warnings: Vec<&'static str>,
}

/// The editable part.
#[derive(Debug, Clone)]
pub struct FoodLogFields {
    pub log_time: Timestamp,
    pub food_name: String,
    pub calories: Option<i32>,
    pub protein_g: Option<i32>,
    pub carbs_g: Option<i32>,
    pub fats_g: Option<i32>,
    pub meal_type: Option<String>,
    pub is_caffeine: bool,
    pub is_alcohol: bool,
    pub meta_data: Map<String, Value>,
    pub status: String,
}

impl Resource for FoodLog {
    const TABLE: &'static str = "food_logs";
    const COLUMNS: &'static str = "id, log_time, food_name, calories, protein_g, carbs_g, fats_g, meal_type, \
        is_caffeine, is_alcohol, meta_data, status, scan_id";
    /// The latest first.
    const ORDER: Order = Order {
        by: "log_time",
        unit: Unit::Microseconds,
        descending: true,
    };
    const FILTER: &'static str = "$1::text IS NULL OR status = $1";

    fn read(row: &PgRow) -> Result<Self> {
        let mut log = Self {
            id: row.get_as("id")?,
            log_time: row.instant("log_time")?,
            food_name: row.get_as("food_name")?,
            calories: row.get_as("calories")?,
            protein_g: row.get_as("protein_g")?,
            carbs_g: row.get_as("carbs_g")?,
            fats_g: row.get_as("fats_g")?,
            meal_type: row.get_as("meal_type")?,
            is_caffeine: row.get_as("is_caffeine")?,
            is_alcohol: row.get_as("is_alcohol")?,
            meta_data: row.get_as::<sqlx::types::Json<_>>("meta_data")?.0,
            status: row.get_as("status")?,
            scan_id: row.get_as("scan_id")?,
            warnings: Vec::new(),
        };
        log.warn();
        Ok(log)
    }

    fn place(&self) -> Place {
        Place {
            key: self.log_time.as_microsecond(),
            id: self.id,
        }
    }
}

impl FoodLog {
    /// As it will read once it is written.
    pub fn new(id: Uuid, fields: FoodLogFields) -> Self {
        let mut log = Self {
            id,
            log_time: fields.log_time,
            food_name: fields.food_name,
            calories: fields.calories,
            protein_g: fields.protein_g,
            carbs_g: fields.carbs_g,
            fats_g: fields.fats_g,
            meal_type: fields.meal_type,
            is_caffeine: fields.is_caffeine,
            is_alcohol: fields.is_alcohol,
            meta_data: fields.meta_data,
            status: fields.status,
            scan_id: None,
            warnings: Vec::new(),
        };
        log.warn();
        log
    }

    fn warn(&mut self) {
        let disagree =
            crate::domain::macros::disagree(self.calories, self.protein_g, self.carbs_g, self.fats_g);
        if disagree && !self.is_alcohol {
            self.warnings.push("macros_inconsistent");
        }
    }
}

impl Editable for FoodLog {
    type Fields = FoodLogFields;
    const WRITTEN: &'static [(&'static str, &'static str)] = &[
        ("log_time", "?"),
        ("food_name", "?"),
        ("calories", "?"),
        ("protein_g", "?"),
        ("carbs_g", "?"),
        ("fats_g", "?"),
        ("meal_type", "?"),
        ("is_caffeine", "?"),
        ("is_alcohol", "?"),
        ("meta_data", "?"),
        ("status", "?"),
    ];

    fn bind<'q>(fields: &FoodLogFields, query: PgQuery<'q>) -> PgQuery<'q> {
        query
            .bind(instant(fields.log_time))
            .bind(&fields.food_name)
            .bind(fields.calories)
            .bind(fields.protein_g)
            .bind(fields.carbs_g)
            .bind(fields.fats_g)
            .bind(&fields.meal_type)
            .bind(fields.is_caffeine)
            .bind(fields.is_alcohol)
            .bind(sqlx::types::Json(&fields.meta_data))
            .bind(&fields.status)
    }
}

impl UserTx {
    /// Sums of the confirmed meals in `[from, to)`, and how many wait for confirmation.
    ///
    /// # Errors
    /// The database.
    pub async fn eaten(&mut self, from: Timestamp, to: Timestamp) -> Result<(Totals, i64)> {
        let row = sqlx::query(
            "SELECT coalesce(sum(calories) FILTER (WHERE status = 'confirmed'), 0)::bigint AS calories, \
             coalesce(sum(protein_g) FILTER (WHERE status = 'confirmed'), 0)::bigint AS protein, \
             coalesce(sum(carbs_g) FILTER (WHERE status = 'confirmed'), 0)::bigint AS carbs, \
             coalesce(sum(fats_g) FILTER (WHERE status = 'confirmed'), 0)::bigint AS fats, \
             count(*) FILTER (WHERE status = 'confirmed') AS meals, \
             count(*) FILTER (WHERE status = 'pending_confirmation') AS pending \
             FROM food_logs WHERE user_id = ops.current_user_id() AND log_time >= $1 AND log_time < $2",
        )
        .bind(instant(from))
        .bind(instant(to))
        .fetch_one(self.conn())
        .await?;
        let totals = Totals {
            calories: row.get_as("calories")?,
            protein_g: row.get_as("protein")?,
            carbs_g: row.get_as("carbs")?,
            fats_g: row.get_as("fats")?,
            meals: row.get_as("meals")?,
        };
        Ok((totals, row.get_as("pending")?))
    }
}
