//! `food_logs`: one row a meal. A row keeps its own numbers when what it came from changes or vanishes.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::UserTx;
use super::page::{List, Page, Place};
use super::row::{Changed, Columns, Result, Version, Versioned, instant};
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

const COLUMNS: &str = "id, log_time, food_name, calories, protein_g, carbs_g, fats_g, meal_type, is_caffeine, \
    is_alcohol, meta_data, status, scan_id, xmin::text::bigint AS version";

fn sql(before: &'static str, after: &'static str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(super::bio_profile::const_str(COLUMNS, before, after))
}

fn read(row: &PgRow) -> Result<Versioned<FoodLog>> {
    let mut log = FoodLog {
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
    if crate::domain::macros::disagree(log.calories, log.protein_g, log.carbs_g, log.fats_g)
        && !log.is_alcohol
    {
        log.warnings.push("macros_inconsistent");
    }
    Ok(Versioned {
        version: row.version()?,
        value: log,
    })
}

impl UserTx {
    /// The latest first.
    ///
    /// # Errors
    /// The database.
    pub async fn food_logs_page(
        &mut self,
        list: &List,
        status: Option<&str>,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<FoodLog>> {
        let after_time = after.and_then(|p| Timestamp::from_microsecond(p.key).ok());
        let rows = sqlx::query(sql(
            "SELECT ",
            " FROM food_logs WHERE user_id = ops.current_user_id() AND ($1::text IS NULL OR status = $1) \
             AND ($2::timestamptz IS NULL OR (log_time, id) < ($2, $3)) ORDER BY log_time DESC, id DESC LIMIT $4",
        ))
        .bind(status)
        .bind(after_time.map(instant))
        .bind(after.map(|p| p.id).unwrap_or_default())
        .bind(i64::from(limit) + 1)
        .fetch_all(self.conn())
        .await?;
        let items = rows
            .iter()
            .map(|r| Ok(read(r)?.value))
            .collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(items, limit, list, |l| Place {
            key: l.log_time.as_microsecond(),
            id: l.id,
        }))
    }

    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn food_log(&mut self, id: Uuid) -> Result<Versioned<FoodLog>> {
        let row = sqlx::query(sql(
            "SELECT ",
            " FROM food_logs WHERE user_id = ops.current_user_id() AND id = $1",
        ))
        .bind(id)
        .fetch_one(self.conn())
        .await?;
        read(&row)
    }

    /// # Errors
    /// The database.
    pub async fn add_food_log(&mut self, f: &FoodLogFields) -> Result<Versioned<FoodLog>> {
        let user = self.user().uuid();
        let row = sqlx::query(sql(
            "INSERT INTO food_logs (user_id, log_time, food_name, calories, protein_g, carbs_g, fats_g, meal_type, \
             is_caffeine, is_alcohol, meta_data, status) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
             RETURNING ",
            "",
        ))
        .bind(user)
        .bind(instant(f.log_time))
        .bind(&f.food_name)
        .bind(f.calories)
        .bind(f.protein_g)
        .bind(f.carbs_g)
        .bind(f.fats_g)
        .bind(&f.meal_type)
        .bind(f.is_caffeine)
        .bind(f.is_alcohol)
        .bind(sqlx::types::Json(&f.meta_data))
        .bind(&f.status)
        .fetch_one(self.conn())
        .await?;
        read(&row)
    }

    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn put_food_log(
        &mut self,
        id: Uuid,
        seen: Version,
        f: &FoodLogFields,
    ) -> Result<Changed<Versioned<FoodLog>>> {
        let row = sqlx::query(sql(
            "UPDATE food_logs SET log_time = $3, food_name = $4, calories = $5, protein_g = $6, carbs_g = $7, \
             fats_g = $8, meal_type = $9, is_caffeine = $10, is_alcohol = $11, meta_data = $12, status = $13 \
             WHERE user_id = ops.current_user_id() AND id = $1 AND xmin::text::bigint = $2 RETURNING ",
            "",
        ))
        .bind(id)
        .bind(seen.0)
        .bind(instant(f.log_time))
        .bind(&f.food_name)
        .bind(f.calories)
        .bind(f.protein_g)
        .bind(f.carbs_g)
        .bind(f.fats_g)
        .bind(&f.meal_type)
        .bind(f.is_caffeine)
        .bind(f.is_alcohol)
        .bind(sqlx::types::Json(&f.meta_data))
        .bind(&f.status)
        .fetch_optional(self.conn())
        .await?;
        match row {
            Some(row) => Ok(Changed::Done(read(&row)?)),
            None => Ok(Changed::Stale(self.food_log(id).await?)),
        }
    }

    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn remove_food_log(
        &mut self,
        id: Uuid,
        seen: Version,
    ) -> Result<Changed<Option<Versioned<FoodLog>>>> {
        let done = sqlx::query(
            "DELETE FROM food_logs WHERE user_id = ops.current_user_id() AND id = $1 AND xmin::text::bigint = $2",
        )
        .bind(id)
        .bind(seen.0)
        .execute(self.conn())
        .await?;
        match done.rows_affected() {
            0 => Ok(Changed::Stale(Some(self.food_log(id).await?))),
            _ => Ok(Changed::Done(None)),
        }
    }

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
