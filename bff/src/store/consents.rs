//! `consents`: append only; the latest row of a purpose holds.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::postgres::PgRow;
use utoipa::ToSchema;

use super::UserTx;
use super::row::{Columns, Result};

#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Consent {
    pub purpose: String,
    pub granted: bool,
    /// Version of the wording that was shown.
    pub text_version: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

fn read(row: &PgRow) -> Result<Consent> {
    Ok(Consent {
        purpose: row.get_as("purpose")?,
        granted: row.get_as("granted")?,
        text_version: row.get_as("text_version")?,
        created_at: row.instant("created_at")?,
    })
}

impl UserTx {
    /// What holds now, one a purpose.
    ///
    /// # Errors
    /// The database.
    pub async fn consents(&mut self) -> Result<Vec<Consent>> {
        let rows = sqlx::query(
            "SELECT DISTINCT ON (purpose) purpose, granted, text_version, created_at FROM consents \
             WHERE user_id = ops.current_user_id() ORDER BY purpose, created_at DESC, id LIMIT 100",
        )
        .fetch_all(self.conn())
        .await?;
        rows.iter().map(read).collect()
    }

    /// # Errors
    /// The database.
    pub async fn add_consent(&mut self, purpose: &str, granted: bool, text_version: &str) -> Result<Consent> {
        let user = self.user().uuid();
        let row = sqlx::query(
            "INSERT INTO consents (user_id, purpose, granted, text_version, created_at) \
             VALUES ($1, $2, $3, $4, clock_timestamp()) RETURNING purpose, granted, text_version, created_at",
        )
        .bind(user)
        .bind(purpose)
        .bind(granted)
        .bind(text_version)
        .fetch_one(self.conn())
        .await?;
        read(&row)
    }
}
