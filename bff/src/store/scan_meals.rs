//! The row of `food_logs` that a photographed meal becomes: one, whatever happens to its scans.

use jiff::Timestamp;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::UserTx;
use super::row::{Columns, Result, instant};
use crate::domain::result::Meal;

/// Where the row of a meal comes from.
#[derive(Debug, Clone, Copy)]
pub struct MealOf<'a> {
    pub meal_group: Uuid,
    pub scan: Uuid,
    pub eaten_at: Timestamp,
    pub meal_type: Option<&'a str>,
}

impl UserTx {
    /// Proposes a meal, unless it was confirmed before.
    ///
    /// # Errors
    /// The database.
    pub async fn propose_meal(&mut self, of: MealOf<'_>, meal: &Meal) -> Result<()> {
        self.put_meal(
            of,
            meal,
            "pending_confirmation",
            "food_logs.status <> 'confirmed'",
        )
        .await?;
        Ok(())
    }

    /// Makes a meal count, with these numbers. Its row's id.
    ///
    /// # Errors
    /// The database.
    pub async fn confirm_meal(&mut self, of: MealOf<'_>, meal: &Meal) -> Result<Option<Uuid>> {
        self.put_meal(of, meal, "confirmed", "true").await
    }

    async fn put_meal(
        &mut self,
        of: MealOf<'_>,
        meal: &Meal,
        status: &'static str,
        unless: &'static str,
    ) -> Result<Option<Uuid>> {
        let user = self.user().uuid();
        let sql = format!(
            "INSERT INTO food_logs (user_id, log_time, food_name, calories, protein_g, carbs_g, fats_g, meal_type, \
             meta_data, status, scan_id, meal_group) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
             ON CONFLICT (meal_group) WHERE meal_group IS NOT NULL DO UPDATE SET log_time = excluded.log_time, \
             food_name = excluded.food_name, calories = excluded.calories, protein_g = excluded.protein_g, \
             carbs_g = excluded.carbs_g, fats_g = excluded.fats_g, meal_type = excluded.meal_type, \
             meta_data = excluded.meta_data, status = excluded.status, scan_id = excluded.scan_id \
             WHERE food_logs.user_id = ops.current_user_id() AND {unless} RETURNING id"
        );
        // Both texts are ours.
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
            .bind(user)
            .bind(instant(of.eaten_at))
            .bind(&meal.food_name)
            .bind(meal.calories)
            .bind(meal.protein_g)
            .bind(meal.carbs_g)
            .bind(meal.fats_g)
            .bind(of.meal_type)
            .bind(sqlx::types::Json(&meal.meta_data))
            .bind(status)
            .bind(of.scan)
            .bind(of.meal_group)
            .fetch_optional(self.conn())
            .await
    }

    /// Takes back a proposal; a confirmed meal stays.
    ///
    /// # Errors
    /// The database.
    pub async fn withdraw_meal(&mut self, meal_group: Uuid, scan: Uuid) -> Result<()> {
        sqlx::query(
            "DELETE FROM food_logs WHERE user_id = ops.current_user_id() AND meal_group = $1 AND scan_id = $2 \
             AND status <> 'confirmed'",
        )
        .bind(meal_group)
        .bind(scan)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Id, status and time of the meal of a group.
    ///
    /// # Errors
    /// The database.
    pub async fn meal_of(&mut self, meal_group: Uuid) -> Result<Option<(Uuid, String, Timestamp)>> {
        let row = sqlx::query(
            "SELECT id, status, log_time FROM food_logs WHERE user_id = ops.current_user_id() AND meal_group = $1",
        )
        .bind(meal_group)
        .fetch_optional(self.conn())
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((
            row.get_as("id")?,
            row.get_as("status")?,
            row.instant("log_time")?,
        )))
    }
}

/// `meta_data` of a meal: what the result says, and where it comes from.
pub fn meta_of(meal: &Meal, scan: Uuid, evidence: Map<String, Value>) -> Map<String, Value> {
    let mut meta = meal.meta_data.clone();
    meta.insert("source".into(), "scan".into());
    meta.insert("scan_id".into(), scan.to_string().into());
    meta.insert("evidence".into(), evidence.into());
    meta
}
