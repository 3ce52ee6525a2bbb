//! `pantry_inventory`: what is in the kitchen. Deleted rows are hidden here, stay in the export, and go with the user.

use jiff::civil::{Date, date};
use serde::Serialize;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::UserTx;
use super::page::Place;
use super::resource::{Editable, Order, PgQuery, Resource, Unit};
use super::row::{self, Columns, Result};

#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PantryItem {
    pub id: Uuid,
    pub item_name: String,
    #[schema(required)]
    pub category: Option<String>,
    #[schema(required, value_type = Option<String>, format = Date)]
    pub expiry_date: Option<Date>,
}

/// The editable part.
#[derive(Debug, Clone)]
pub struct PantryFields {
    pub item_name: String,
    pub category: Option<String>,
    pub expiry_date: Option<Date>,
}

/// Sorts after every date that a client may send; [`Resource::ORDER`] names it too.
const NEVER: Date = date(9999, 12, 31);

impl Resource for PantryItem {
    const TABLE: &'static str = "pantry_inventory";
    const COLUMNS: &'static str = "id, item_name, category, expiry_date";
    const ORDER: Order = Order {
        by: "coalesce(expiry_date, date '9999-12-31')",
        unit: Unit::Days,
        descending: false,
    };
    const HIDDEN_BY: Option<&'static str> = Some("is_deleted");

    fn read(row: &PgRow) -> Result<Self> {
        Ok(Self {
            id: row.get_as("id")?,
            item_name: row.get_as("item_name")?,
            category: row.get_as("category")?,
            expiry_date: row.maybe_date("expiry_date")?,
        })
    }

    fn place(&self) -> Place {
        let day = self.expiry_date.unwrap_or(NEVER);
        let key = date(1970, 1, 1).until(day).map_or(0, |span| span.get_days());
        Place {
            key: i64::from(key),
            id: self.id,
        }
    }
}

impl Editable for PantryItem {
    type Fields = PantryFields;
    const WRITTEN: &'static [(&'static str, &'static str)] =
        &[("item_name", "?"), ("category", "?"), ("expiry_date", "?")];

    fn bind<'q>(fields: &PantryFields, query: PgQuery<'q>) -> PgQuery<'q> {
        query
            .bind(&fields.item_name)
            .bind(&fields.category)
            .bind(fields.expiry_date.map(row::date))
    }
}

impl UserTx {
    /// All of it, what expires first first; at most a thousand.
    ///
    /// # Errors
    /// The database.
    pub async fn whole_pantry(&mut self) -> Result<Vec<PantryItem>> {
        let sql = format!(
            "SELECT {} FROM pantry_inventory WHERE user_id = ops.current_user_id() AND NOT is_deleted \
             ORDER BY expiry_date NULLS LAST, id LIMIT 1000",
            PantryItem::COLUMNS
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(self.conn()).await?;
        rows.iter().map(PantryItem::read).collect()
    }
}
