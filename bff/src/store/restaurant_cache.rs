//! `restaurant_cache` and `menu_budgets`: menus by normalised name, shared by all users, and what each may cause a day.

use jiff::Timestamp;
use jiff::civil::Date;
use sqlx::postgres::PgRow;
use uuid::Uuid;

use super::row::{Columns, Result, date, instant};
use super::{Db, UserTx};
use crate::domain::menu::Menu;
use crate::domain::menu::name::NameKey;

/// A menu that was fetched.
#[derive(Debug, Clone)]
pub struct Kept {
    pub menu: Menu,
    pub fetched_at: Timestamp,
    pub expires_at: Timestamp,
}

/// What is known of a name.
#[derive(Debug, Clone)]
pub struct Known {
    pub kept: Option<Kept>,
    /// Why the last try failed, until `retry_at`.
    pub failure: Option<String>,
    pub retry_at: Option<Timestamp>,
}

/// A menu that somebody waits for.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub id: Uuid,
    pub key: NameKey,
    pub place: Option<Place>,
}

/// A place id of Google's, and when it was last seen to be good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub id: String,
    pub seen_at: Timestamp,
}

fn maybe_instant(row: &PgRow, column: &str) -> Result<Option<Timestamp>> {
    Ok(row
        .get_as::<Option<jiff_sqlx::Timestamp>>(column)?
        .map(|t| t.to_jiff()))
}

fn kept(row: &PgRow) -> Result<Option<Kept>> {
    let menu: Option<serde_json::Value> = row.get_as("menu")?;
    // One of an older shape counts as none.
    let menu = menu.and_then(|m| serde_json::from_value(m).ok());
    let (fetched, expires) = (
        maybe_instant(row, "fetched_at")?,
        maybe_instant(row, "expires_at")?,
    );
    Ok(match (menu, fetched, expires) {
        (Some(menu), Some(fetched_at), Some(expires_at)) => Some(Kept {
            menu,
            fetched_at,
            expires_at,
        }),
        _ => None,
    })
}

impl UserTx {
    /// # Errors
    /// The database.
    pub async fn known_menu(&mut self, key: &NameKey) -> Result<Option<Known>> {
        let row = sqlx::query(
            "SELECT menu, fetched_at, expires_at, failure, retry_at FROM restaurant_cache WHERE name_key = $1",
        )
        .bind(key.as_str())
        .fetch_optional(self.conn())
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(Known {
            kept: kept(&row)?,
            failure: row.get_as("failure")?,
            retry_at: maybe_instant(&row, "retry_at")?,
        }))
    }

    /// Takes the fetch of a menu until then; `None` if another has it, or there is nothing to fetch now.
    ///
    /// # Errors
    /// The database.
    pub async fn claim_menu(
        &mut self,
        key: &NameKey,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Uuid>> {
        sqlx::query_scalar(
            "INSERT INTO restaurant_cache (name_key, claimed_until, touched_at) VALUES ($1, $3, $2) \
             ON CONFLICT (name_key) DO UPDATE SET claimed_until = $3, touched_at = $2 \
             WHERE coalesce(restaurant_cache.claimed_until <= $2, true) \
             AND coalesce(restaurant_cache.retry_at <= $2, true) \
             AND coalesce(restaurant_cache.expires_at <= $2, true) RETURNING id",
        )
        .bind(key.as_str())
        .bind(instant(now))
        .bind(instant(until))
        .fetch_optional(self.conn())
        .await
    }

    /// One more fetch of this user on this day; false if `most` are spent.
    ///
    /// # Errors
    /// The database.
    pub async fn spend_menu_budget(&mut self, today: Date, most: u32) -> Result<bool> {
        let user = self.user().uuid();
        let spent: Option<i32> = sqlx::query_scalar(
            "INSERT INTO menu_budgets (user_id, date, spent) SELECT $1, $2, 1 WHERE $3 > 0 \
             ON CONFLICT (user_id) DO UPDATE SET date = $2, \
             spent = CASE WHEN menu_budgets.date = $2 THEN menu_budgets.spent + 1 ELSE 1 END \
             WHERE menu_budgets.date <> $2 OR menu_budgets.spent < $3 RETURNING spent",
        )
        .bind(user)
        .bind(date(today))
        .bind(i32::try_from(most).unwrap_or(i32::MAX))
        .fetch_optional(self.conn())
        .await?;
        Ok(spent.is_some())
    }
}

impl Db {
    /// `None` if nobody waits any more: it is there, has failed, or the claim has run out.
    ///
    /// # Errors
    /// The database.
    pub async fn wanted_menu(&self, id: Uuid, now: Timestamp) -> Result<Option<Wanted>> {
        let row = sqlx::query(
            "SELECT name_key, place_id, place_seen_at FROM restaurant_cache WHERE id = $1 AND claimed_until > $2",
        )
        .bind(id)
        .bind(instant(now))
        .fetch_optional(self.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let Some(key) = NameKey::of(&row.get_as::<String>("name_key")?) else {
            return Ok(None);
        };
        let place: Option<String> = row.get_as("place_id")?;
        let place = place.zip(maybe_instant(&row, "place_seen_at")?);
        Ok(Some(Wanted {
            id,
            key,
            place: place.map(|(id, seen_at)| Place { id, seen_at }),
        }))
    }

    /// # Errors
    /// The database.
    pub async fn keep_place(&self, id: Uuid, place: &Place) -> Result<()> {
        sqlx::query("UPDATE restaurant_cache SET place_id = $2, place_seen_at = $3 WHERE id = $1")
            .bind(id)
            .bind(&place.id)
            .bind(instant(place.seen_at))
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// # Errors
    /// The database.
    pub async fn keep_menu(&self, id: Uuid, kept: &Kept, source: &str) -> Result<()> {
        sqlx::query(
            "UPDATE restaurant_cache SET menu = $2, display_name = $3, source = left($4, 40), fetched_at = $5, \
             expires_at = $6, claimed_until = NULL, failure = NULL, retry_at = NULL, touched_at = $5 WHERE id = $1",
        )
        .bind(id)
        .bind(sqlx::types::Json(&kept.menu))
        .bind(&kept.menu.restaurant)
        .bind(source)
        .bind(instant(kept.fetched_at))
        .bind(instant(kept.expires_at))
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// What was kept before stays.
    ///
    /// # Errors
    /// The database.
    pub async fn note_menu_failure(&self, id: Uuid, failure: &str, retry_at: Timestamp) -> Result<()> {
        sqlx::query(
            "UPDATE restaurant_cache SET claimed_until = NULL, failure = left($2, 40), retry_at = $3 WHERE id = $1",
        )
        .bind(id)
        .bind(failure)
        .bind(instant(retry_at))
        .execute(self.pool())
        .await?;
        Ok(())
    }
}
