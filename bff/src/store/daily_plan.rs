//! `daily_plan`: targets, suggestion and energy score of one local date, and where that date was lived.

use jiff::civil::Date;
use sqlx::postgres::PgRow;
use sqlx::types::Json;

use super::UserTx;
use super::row::{Columns, Result, date};
use crate::domain::plan::{Rejected, Suggestion};
use crate::domain::targets::Targets;

#[derive(Debug, Clone, PartialEq)]
pub struct DailyPlan {
    pub date: Date,
    /// IANA name of the zone in which the day is counted.
    pub timezone: String,
    pub target_calories: Option<i32>,
    pub target_protein: Option<i32>,
    pub suggestion: Option<Suggestion>,
    pub rejected: Vec<Rejected>,
    pub energy_score: Option<f64>,
}

fn read(row: &PgRow) -> Result<DailyPlan> {
    Ok(DailyPlan {
        date: row.date("date")?,
        timezone: row.get_as("timezone")?,
        target_calories: row.get_as("target_calories")?,
        target_protein: row.get_as("target_protein")?,
        suggestion: row
            .get_as::<Option<Json<Suggestion>>>("next_meal_suggestion")?
            .map(|j| j.0),
        rejected: row
            .get_as::<Vec<Json<Rejected>>>("rejected_suggestions")?
            .into_iter()
            .map(|j| j.0)
            .collect(),
        energy_score: row.get_as("energy_score")?,
    })
}

impl UserTx {
    /// # Errors
    /// The database.
    pub async fn plan(&mut self, day: Date) -> Result<Option<DailyPlan>> {
        let row = sqlx::query(
            "SELECT p.date, coalesce(d.timezone, 'UTC') AS timezone, p.target_calories, p.target_protein, \
             p.next_meal_suggestion, p.rejected_suggestions, p.energy_score::float8 AS energy_score \
             FROM daily_plan p LEFT JOIN ops.days d ON d.user_id = p.user_id AND d.date = p.date \
             WHERE p.user_id = ops.current_user_id() AND p.date = $1",
        )
        .bind(date(day))
        .fetch_optional(self.conn())
        .await?;
        row.as_ref().map(read).transpose()
    }

    /// The plan of a day, made with these targets if there is none yet: a day's targets stay as they were first read.
    ///
    /// # Errors
    /// The database.
    pub async fn plan_or_new(&mut self, day: Date, timezone: &str, targets: &Targets) -> Result<DailyPlan> {
        if let Some(plan) = self.plan(day).await? {
            return Ok(plan);
        }
        let user = self.user().uuid();
        sqlx::query(
            "WITH zone AS (INSERT INTO ops.days (user_id, date, timezone) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING) \
             INSERT INTO daily_plan (user_id, date, target_calories, target_protein) VALUES ($1, $2, $4, $5) \
             ON CONFLICT (user_id, date) DO NOTHING",
        )
        .bind(user)
        .bind(date(day))
        .bind(timezone)
        .bind(targets.calories)
        .bind(targets.protein_g)
        .execute(self.conn())
        .await?;
        self.plan(day).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// New targets and zone for a day under way, after the profile changed.
    ///
    /// # Errors
    /// The database.
    pub async fn retarget(&mut self, day: Date, timezone: &str, targets: &Targets) -> Result<()> {
        sqlx::query(
            "WITH zone AS (UPDATE ops.days SET timezone = $2 WHERE user_id = ops.current_user_id() AND date = $1) \
             UPDATE daily_plan SET target_calories = $3, target_protein = $4 \
             WHERE user_id = ops.current_user_id() AND date = $1",
        )
        .bind(date(day))
        .bind(timezone)
        .bind(targets.calories)
        .bind(targets.protein_g)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Locks the plan of a day until the transaction ends: score, acceptance and rejection change it one by one.
    ///
    /// # Errors
    /// The database.
    pub async fn lock_plan(&mut self, day: Date) -> Result<()> {
        sqlx::query("SELECT FROM daily_plan WHERE user_id = ops.current_user_id() AND date = $1 FOR UPDATE")
            .bind(date(day))
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// # Errors
    /// The database.
    pub async fn put_energy_score(&mut self, day: Date, score: Option<f64>) -> Result<()> {
        sqlx::query(
            "UPDATE daily_plan SET energy_score = $2::float8::numeric(4,1) \
             WHERE user_id = ops.current_user_id() AND date = $1",
        )
        .bind(date(day))
        .bind(score)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// # Errors
    /// The database.
    pub async fn put_suggestion(
        &mut self,
        day: Date,
        suggestion: Option<&Suggestion>,
        newly_rejected: Option<&Rejected>,
    ) -> Result<()> {
        sqlx::query(
            "UPDATE daily_plan SET next_meal_suggestion = $2, rejected_suggestions = \
             CASE WHEN $3::jsonb IS NULL THEN rejected_suggestions ELSE rejected_suggestions || $3::jsonb END \
             WHERE user_id = ops.current_user_id() AND date = $1",
        )
        .bind(date(day))
        .bind(suggestion.map(Json))
        .bind(newly_rejected.map(Json))
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Zones of days that have a plan, for sums over the past.
    ///
    /// # Errors
    /// The database.
    pub async fn day_zone(&mut self, day: Date) -> Result<Option<String>> {
        sqlx::query_scalar(
            "SELECT timezone FROM ops.days WHERE user_id = ops.current_user_id() AND date = $1",
        )
        .bind(date(day))
        .fetch_optional(self.conn())
        .await
    }
}
