//! `leftovers`: cooked food kept for later, in servings of one decimal.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::UserTx;
use super::page::{List, Page, Place};
use super::row::{Changed, Columns, Result, Version, Versioned, instant};
use crate::domain::servings::Servings;

/// Grams in one serving.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Macros {
    /// Protein.
    pub p: f64,
    /// Carbohydrate.
    pub c: f64,
    /// Fat.
    pub f: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Leftover {
    pub id: Uuid,
    pub recipe_name: String,
    #[schema(value_type = f64)]
    pub total_servings: Servings,
    #[schema(value_type = f64)]
    pub remaining_servings: Servings,
    pub calories_per_serving: i32,
    pub macros_json: Macros,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    pub is_active: bool,
}

/// The editable part.
#[derive(Debug, Clone)]
pub struct LeftoverFields {
    pub recipe_name: String,
    pub total_servings: Servings,
    pub remaining_servings: Servings,
    pub calories_per_serving: i32,
    pub macros: Macros,
}

const COLUMNS: &str = "id, recipe_name, (total_servings * 10)::int AS total, (remaining_servings * 10)::int AS remaining, \
    calories_per_serving, macros_json, created_at, is_active, xmin::text::bigint AS version";

fn sql(before: &'static str, after: &'static str) -> sqlx::AssertSqlSafe<String> {
    sqlx::AssertSqlSafe(super::bio_profile::const_str(COLUMNS, before, after))
}

fn read(row: &PgRow) -> Result<Versioned<Leftover>> {
    Ok(Versioned {
        version: row.version()?,
        value: Leftover {
            id: row.get_as("id")?,
            recipe_name: row.get_as("recipe_name")?,
            total_servings: Servings::from_tenths(row.get_as("total")?),
            remaining_servings: Servings::from_tenths(row.get_as("remaining")?),
            calories_per_serving: row.get_as("calories_per_serving")?,
            macros_json: row.get_as::<sqlx::types::Json<Macros>>("macros_json")?.0,
            created_at: row.instant("created_at")?,
            is_active: row.get_as("is_active")?,
        },
    })
}

impl UserTx {
    /// The newest first; `active` leaves out what is eaten up.
    ///
    /// # Errors
    /// The database.
    pub async fn leftovers_page(
        &mut self,
        list: &List,
        active: bool,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<Leftover>> {
        let after_time = after.and_then(|p| Timestamp::from_microsecond(p.key).ok());
        let rows = sqlx::query(sql(
            "SELECT ",
            " FROM leftovers WHERE user_id = ops.current_user_id() AND (is_active OR NOT $1) \
             AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3)) ORDER BY created_at DESC, id DESC LIMIT $4",
        ))
        .bind(active)
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
            key: l.created_at.as_microsecond(),
            id: l.id,
        }))
    }

    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn leftover(&mut self, id: Uuid) -> Result<Versioned<Leftover>> {
        let row = sqlx::query(sql(
            "SELECT ",
            " FROM leftovers WHERE user_id = ops.current_user_id() AND id = $1",
        ))
        .bind(id)
        .fetch_one(self.conn())
        .await?;
        read(&row)
    }

    /// # Errors
    /// The database.
    pub async fn add_leftover(&mut self, fields: &LeftoverFields) -> Result<Versioned<Leftover>> {
        let user = self.user().uuid();
        let row = sqlx::query(sql(
            "INSERT INTO leftovers (user_id, recipe_name, total_servings, remaining_servings, calories_per_serving, \
             macros_json) VALUES ($1, $2, $3::int / 10.0, $4::int / 10.0, $5, $6) RETURNING ",
            "",
        ))
        .bind(user)
        .bind(&fields.recipe_name)
        .bind(fields.total_servings.tenths())
        .bind(fields.remaining_servings.tenths())
        .bind(fields.calories_per_serving)
        .bind(sqlx::types::Json(fields.macros))
        .fetch_one(self.conn())
        .await?;
        read(&row)
    }

    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn put_leftover(
        &mut self,
        id: Uuid,
        seen: Version,
        fields: &LeftoverFields,
    ) -> Result<Changed<Versioned<Leftover>>> {
        let row = sqlx::query(sql(
            "UPDATE leftovers SET recipe_name = $3, total_servings = $4::int / 10.0, \
             remaining_servings = $5::int / 10.0, calories_per_serving = $6, macros_json = $7 \
             WHERE user_id = ops.current_user_id() AND id = $1 AND xmin::text::bigint = $2 RETURNING ",
            "",
        ))
        .bind(id)
        .bind(seen.0)
        .bind(&fields.recipe_name)
        .bind(fields.total_servings.tenths())
        .bind(fields.remaining_servings.tenths())
        .bind(fields.calories_per_serving)
        .bind(sqlx::types::Json(fields.macros))
        .fetch_optional(self.conn())
        .await?;
        match row {
            Some(row) => Ok(Changed::Done(read(&row)?)),
            None => Ok(Changed::Stale(self.leftover(id).await?)),
        }
    }

    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn remove_leftover(
        &mut self,
        id: Uuid,
        seen: Version,
    ) -> Result<Changed<Option<Versioned<Leftover>>>> {
        let done = sqlx::query(
            "DELETE FROM leftovers WHERE user_id = ops.current_user_id() AND id = $1 AND xmin::text::bigint = $2",
        )
        .bind(id)
        .bind(seen.0)
        .execute(self.conn())
        .await?;
        match done.rows_affected() {
            0 => Ok(Changed::Stale(Some(self.leftover(id).await?))),
            _ => Ok(Changed::Done(None)),
        }
    }

    /// Takes servings if that many are left: the row's lock and the condition decide, so two at once cannot both take
    /// the last. `None` if fewer are left.
    ///
    /// # Errors
    /// The database.
    pub async fn take_servings(
        &mut self,
        id: Uuid,
        servings: Servings,
    ) -> Result<Option<Versioned<Leftover>>> {
        let row = sqlx::query(sql(
            "UPDATE leftovers SET remaining_servings = remaining_servings - $2::int / 10.0 \
             WHERE user_id = ops.current_user_id() AND id = $1 AND remaining_servings >= $2::int / 10.0 RETURNING ",
            "",
        ))
        .bind(id)
        .bind(servings.tenths())
        .fetch_optional(self.conn())
        .await?;
        row.as_ref().map(read).transpose()
    }
}
