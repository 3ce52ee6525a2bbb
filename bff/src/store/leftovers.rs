//! `leftovers`: cooked food kept for later, in servings of one decimal.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::UserTx;
use super::page::Place;
use super::resource::{self, Editable, Order, PgQuery, Resource, Unit};
use super::row::{Columns, Result, Versioned};
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

impl Resource for Leftover {
    const TABLE: &'static str = "leftovers";
    const COLUMNS: &'static str = "id, recipe_name, (total_servings * 10)::int AS total, \
        (remaining_servings * 10)::int AS remaining, calories_per_serving, macros_json, created_at, is_active";
    /// The newest first.
    const ORDER: Order = Order {
        by: "created_at",
        unit: Unit::Microseconds,
        descending: true,
    };
    /// What is eaten up shows only on request.
    const FILTER: &'static str = "is_active OR $1::text = 'all'";

    fn read(row: &PgRow) -> Result<Self> {
        Ok(Self {
            id: row.get_as("id")?,
            recipe_name: row.get_as("recipe_name")?,
            total_servings: Servings::from_tenths(row.get_as("total")?),
            remaining_servings: Servings::from_tenths(row.get_as("remaining")?),
            calories_per_serving: row.get_as("calories_per_serving")?,
            macros_json: row.get_as::<sqlx::types::Json<Macros>>("macros_json")?.0,
            created_at: row.instant("created_at")?,
            is_active: row.get_as("is_active")?,
        })
    }

    fn place(&self) -> Place {
        Place {
            key: self.created_at.as_microsecond(),
            id: self.id,
        }
    }
}

impl Editable for Leftover {
    type Fields = LeftoverFields;
    const WRITTEN: &'static [(&'static str, &'static str)] = &[
        ("recipe_name", "?"),
        ("total_servings", "?::int / 10.0"),
        ("remaining_servings", "?::int / 10.0"),
        ("calories_per_serving", "?"),
        ("macros_json", "?"),
    ];

    fn bind<'q>(fields: &LeftoverFields, query: PgQuery<'q>) -> PgQuery<'q> {
        query
            .bind(&fields.recipe_name)
            .bind(fields.total_servings.tenths())
            .bind(fields.remaining_servings.tenths())
            .bind(fields.calories_per_serving)
            .bind(sqlx::types::Json(fields.macros))
    }
}

impl UserTx {
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
        let sql = format!(
            "UPDATE leftovers SET remaining_servings = remaining_servings - $2::int / 10.0 \
             WHERE user_id = ops.current_user_id() AND id = $1 AND remaining_servings >= $2::int / 10.0 RETURNING {}",
            resource::returned::<Leftover>()
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(id)
            .bind(servings.tenths())
            .fetch_optional(self.conn())
            .await?;
        row.as_ref().map(resource::read).transpose()
    }
}
