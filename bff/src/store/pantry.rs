//! `pantry_inventory`: what is in the kitchen. Deleted rows are hidden here, stay in the export, and go with the user.

use jiff::civil::Date;
use serde::Serialize;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;
use uuid::Uuid;

use super::UserTx;
use super::page::{List, Page, Place};
use super::row::{Changed, Columns, Result, Version, Versioned, date};

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

/// Sorts after every date that a client may send.
const NEVER: Date = jiff::civil::date(9999, 12, 31);

fn read(row: &PgRow) -> Result<Versioned<PantryItem>> {
    Ok(Versioned {
        version: row.version()?,
        value: PantryItem {
            id: row.get_as("id")?,
            item_name: row.get_as("item_name")?,
            category: row.get_as("category")?,
            expiry_date: row.maybe_date("expiry_date")?,
        },
    })
}

fn place(item: &PantryItem) -> Place {
    let day = item.expiry_date.unwrap_or(NEVER);
    let epoch = jiff::civil::date(1970, 1, 1);
    let key = i64::from(epoch.until(day).map_or(0, |span| span.get_days()));
    Place { key, id: item.id }
}

impl UserTx {
    /// What expires first comes first.
    ///
    /// # Errors
    /// The database.
    pub async fn pantry_page(
        &mut self,
        list: &List,
        after: Option<Place>,
        limit: u32,
    ) -> Result<Page<PantryItem>> {
        let rows = sqlx::query(
            "SELECT id, item_name, category, expiry_date, xmin::text::bigint AS version FROM pantry_inventory \
             WHERE user_id = ops.current_user_id() AND NOT is_deleted AND ($1::bigint IS NULL OR \
             (coalesce(expiry_date, $4), id) > (date '1970-01-01' + $1::int, $2)) \
             ORDER BY coalesce(expiry_date, $4), id LIMIT $3",
        )
        .bind(after.map(|p| p.key))
        .bind(after.map(|p| p.id).unwrap_or_default())
        .bind(i64::from(limit) + 1)
        .bind(date(NEVER))
        .fetch_all(self.conn())
        .await?;
        let items = rows
            .iter()
            .map(|r| Ok(read(r)?.value))
            .collect::<Result<Vec<_>>>()?;
        Ok(Page::cut(items, limit, list, place))
    }

    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn pantry_item(&mut self, id: Uuid) -> Result<Versioned<PantryItem>> {
        let row = sqlx::query(
            "SELECT id, item_name, category, expiry_date, xmin::text::bigint AS version FROM pantry_inventory \
             WHERE user_id = ops.current_user_id() AND id = $1 AND NOT is_deleted",
        )
        .bind(id)
        .fetch_one(self.conn())
        .await?;
        read(&row)
    }

    /// # Errors
    /// The database.
    pub async fn add_pantry_item(&mut self, fields: &PantryFields) -> Result<Versioned<PantryItem>> {
        let user = self.user().uuid();
        let row = sqlx::query(
            "INSERT INTO pantry_inventory (user_id, item_name, category, expiry_date) VALUES ($1, $2, $3, $4) \
             RETURNING id, item_name, category, expiry_date, xmin::text::bigint AS version",
        )
        .bind(user)
        .bind(&fields.item_name)
        .bind(&fields.category)
        .bind(fields.expiry_date.map(date))
        .fetch_one(self.conn())
        .await?;
        read(&row)
    }

    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn put_pantry_item(
        &mut self,
        id: Uuid,
        seen: Version,
        fields: &PantryFields,
    ) -> Result<Changed<Versioned<PantryItem>>> {
        let row = sqlx::query(
            "UPDATE pantry_inventory SET item_name = $3, category = $4, expiry_date = $5 \
             WHERE user_id = ops.current_user_id() AND id = $1 AND NOT is_deleted AND xmin::text::bigint = $2 \
             RETURNING id, item_name, category, expiry_date, xmin::text::bigint AS version",
        )
        .bind(id)
        .bind(seen.0)
        .bind(&fields.item_name)
        .bind(&fields.category)
        .bind(fields.expiry_date.map(date))
        .fetch_optional(self.conn())
        .await?;
        match row {
            Some(row) => Ok(Changed::Done(read(&row)?)),
            None => Ok(Changed::Stale(self.pantry_item(id).await?)),
        }
    }

    /// # Errors
    /// The database; `RowNotFound`.
    pub async fn remove_pantry_item(
        &mut self,
        id: Uuid,
        seen: Version,
    ) -> Result<Changed<Option<Versioned<PantryItem>>>> {
        let done = sqlx::query(
            "UPDATE pantry_inventory SET is_deleted = true WHERE user_id = ops.current_user_id() AND id = $1 \
             AND NOT is_deleted AND xmin::text::bigint = $2",
        )
        .bind(id)
        .bind(seen.0)
        .execute(self.conn())
        .await?;
        match done.rows_affected() {
            0 => Ok(Changed::Stale(Some(self.pantry_item(id).await?))),
            _ => Ok(Changed::Done(None)),
        }
    }

    /// All of it, what expires first first; at most a thousand.
    ///
    /// # Errors
    /// The database.
    pub async fn whole_pantry(&mut self) -> Result<Vec<PantryItem>> {
        let sql = "SELECT id, item_name, category, expiry_date, xmin::text::bigint AS version FROM pantry_inventory \
             WHERE user_id = ops.current_user_id() AND NOT is_deleted ORDER BY expiry_date NULLS LAST, id LIMIT 1000";
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(self.conn()).await?;
        rows.iter().map(|r| Ok(read(r)?.value)).collect()
    }
}
