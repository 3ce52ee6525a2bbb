//! `outbox`: events in the transaction of what caused them, until the queue has them.
//!
//! Rows are claimed one by one with SKIP LOCKED, never by "all above the last id": ids are taken before commit, so a
//! later id may be visible first. Sent, then deleted: at least once.

use serde_json::Value;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::row::{Columns, Result};
use super::{Db, UserTx};

/// Kinds of events, as the outbox and the queue name them.
pub mod kinds {
    /// Something that the score is made of has changed.
    pub const CALCULATE_ENERGY_SCORE: &str = "CalculateEnergyScore";
    /// The score of today has fallen below the threshold.
    pub const UPDATE_DAILY_PLAN: &str = "UpdateDailyPlan";
    /// Days that TimescaleDB's aggregate has materialised were changed.
    pub const REFRESH_HEALTH_DAILY: &str = "RefreshHealthDaily";
    pub use crate::domain::notice::DELIVER;

    /// Somebody waits for the menu of a restaurant.
    pub const FETCH_MENU: &str = "FetchMenu";
    /// The user asked to be forgotten.
    pub const ERASE_USER: &str = "EraseUser";
    /// All photos of a scan are there.
    pub const SUBMIT_SCAN: &str = "SubmitScan";
    /// The photos of a measured meal leave the bucket for uploads.
    pub const KEEP_PHOTOS: &str = "KeepPhotos";
    /// A meal was thrown away, or nobody confirmed it.
    pub const FORGET_PHOTOS: &str = "ForgetPhotos";
    /// A confirmed meal whose user allows it.
    pub const COPY_FOR_TRAINING: &str = "CopyForTraining";
    /// A user allows it no more.
    pub const FORGET_TRAINING: &str = "ForgetTraining";
}

/// An event on its way to the queue.
#[derive(Debug, Clone)]
pub struct Pending {
    pub id: i64,
    pub event_id: Uuid,
    pub user_id: Uuid,
    pub kind: String,
    pub dedup_key: Option<String>,
    pub payload: Value,
    pub attempts: i32,
}

/// After this many failed sends a row stays for a person to look at.
const ATTEMPTS: i32 = 10;

impl UserTx {
    /// # Errors
    /// The database.
    pub async fn emit(&mut self, kind: &str, dedup_key: Option<&str>, payload: &Value) -> Result<()> {
        let user = self.user().uuid();
        sqlx::query("INSERT INTO outbox (user_id, kind, dedup_key, payload) VALUES ($1, $2, $3, $4)")
            .bind(user)
            .bind(kind)
            .bind(dedup_key)
            .bind(payload)
            .execute(self.conn())
            .await?;
        Ok(())
    }
}

/// Claimed rows; other relays skip them until this ends.
#[derive(Debug)]
pub struct Claimed {
    tx: Transaction<'static, Postgres>,
    pub events: Vec<Pending>,
}

impl Db {
    /// # Errors
    /// The database.
    pub async fn claim_outbox(&self, limit: i64) -> Result<Claimed> {
        let mut tx = self.machinery().await?;
        let rows = sqlx::query(
            "SELECT id, event_id, user_id, kind, dedup_key, payload, attempts FROM outbox \
             WHERE dead_at IS NULL AND next_at <= now() ORDER BY next_at, id LIMIT $1 FOR UPDATE SKIP LOCKED",
        )
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            events.push(Pending {
                id: row.get_as("id")?,
                event_id: row.get_as("event_id")?,
                user_id: row.get_as("user_id")?,
                kind: row.get_as("kind")?,
                dedup_key: row.get_as("dedup_key")?,
                payload: row.get_as("payload")?,
                attempts: row.get_as("attempts")?,
            });
        }
        Ok(Claimed { tx, events })
    }
}

impl Claimed {
    /// # Errors
    /// The database.
    pub async fn sent(&mut self, ids: &[i64]) -> Result<()> {
        sqlx::query("DELETE FROM outbox WHERE id = ANY($1)")
            .bind(ids)
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// Later again, with growing pauses and jitter; dead after ten. `why` holds no payload values.
    ///
    /// # Errors
    /// The database.
    pub async fn failed(&mut self, id: i64, why: &str) -> Result<()> {
        sqlx::query(
            "UPDATE outbox SET attempts = attempts + 1, last_error = left($2, 200), \
             next_at = now() + least(interval '5 minutes', interval '1 second' * power(2, attempts)) \
             * (0.5 + random()), dead_at = CASE WHEN attempts + 1 >= $3 THEN now() END WHERE id = $1",
        )
        .bind(id)
        .bind(why)
        .bind(ATTEMPTS)
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// # Errors
    /// The commit failed; the events will be sent again.
    pub async fn done(self) -> Result<()> {
        self.tx.commit().await
    }
}
