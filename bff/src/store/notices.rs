//! `notices`: that something of a user has changed. Ids and kinds, never values.

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::row::{Columns, Result, instant};
use super::{Db, UserTx};
use crate::domain::notice::{DELIVER, Kind};

/// The channel on which processes hear of new ones; the payload is the user's id.
pub const CHANNEL: &str = "bff_notices";

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// For one user in the order of commits.
    pub id: i64,
    pub kind: String,
    /// What has changed.
    pub subject: Uuid,
}

/// Notices after one that a client has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Since {
    /// The first [`AT_ONCE`] of them.
    pub notices: Vec<Notice>,
    /// The newest there is; 0 if there is none.
    pub newest: i64,
    /// The one that was seen is not kept any more, and so may be some after it.
    pub gap: bool,
}

pub const AT_ONCE: i64 = 100;

impl UserTx {
    /// Tells every client of this user when, and only if, this transaction commits. To be called late in it: another
    /// transaction of this user that tells something waits from here on.
    ///
    /// # Errors
    /// The database.
    pub async fn tell(&mut self, kind: Kind, subject: Uuid) -> Result<()> {
        let user = self.user().uuid();
        self.lock_notices().await?;
        let id: i64 = sqlx::query_scalar(
            "INSERT INTO notices (user_id, kind, subject) VALUES ($1, $2, $3) RETURNING id",
        )
        .bind(user)
        .bind(kind.as_str())
        .bind(subject)
        .fetch_one(self.conn())
        .await?;
        sqlx::query("SELECT pg_notify($1, $2::text)")
            .bind(CHANNEL)
            .bind(user)
            .execute(self.conn())
            .await?;
        // Whoever opens such a socket takes the same lock, so none is missed.
        let elsewhere: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM gateway_sockets WHERE user_id = $1) OR EXISTS (SELECT FROM devices WHERE user_id = $1)",
        )
        .bind(user)
        .fetch_one(self.conn())
        .await?;
        if elsewhere {
            let key = format!("{DELIVER}:{id}");
            self.emit(DELIVER, Some(&key), &json!({ "notice": id })).await?;
        }
        Ok(())
    }

    pub(super) async fn lock_notices(&mut self) -> Result<()> {
        let user = self.user().uuid();
        sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1::text, 7311))")
            .bind(user)
            .execute(self.conn())
            .await?;
        Ok(())
    }

    /// Those after `seen`. A client that has seen one which is not kept any more has a gap.
    ///
    /// # Errors
    /// The database.
    pub async fn notices_since(&mut self, seen: i64) -> Result<Since> {
        let rows = sqlx::query(
            "SELECT id, kind, subject FROM notices WHERE user_id = ops.current_user_id() AND id > $1 ORDER BY id LIMIT $2",
        )
        .bind(seen)
        .bind(AT_ONCE)
        .fetch_all(self.conn())
        .await?;
        let notices = rows
            .iter()
            .map(|row| {
                Ok(Notice {
                    id: row.get_as("id")?,
                    kind: row.get_as("kind")?,
                    subject: row.get_as("subject")?,
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let row = sqlx::query(
            "SELECT coalesce(max(id), 0) AS newest, bool_or(id = $1) AS known FROM notices \
             WHERE user_id = ops.current_user_id()",
        )
        .bind(seen)
        .fetch_one(self.conn())
        .await?;
        let known = row.get_as::<Option<bool>>("known")?.unwrap_or(false);
        Ok(Since {
            notices,
            newest: row.get_as("newest")?,
            gap: seen != 0 && !known,
        })
    }

    /// # Errors
    /// The database.
    pub async fn notice(&mut self, id: i64) -> Result<Option<(Notice, Vec<Uuid>)>> {
        let row = sqlx::query(
            "SELECT id, kind, subject, pushed FROM notices WHERE user_id = ops.current_user_id() AND id = $1",
        )
        .bind(id)
        .fetch_optional(self.conn())
        .await?;
        let Some(row) = row else { return Ok(None) };
        let notice = Notice {
            id: row.get_as("id")?,
            kind: row.get_as("kind")?,
            subject: row.get_as("subject")?,
        };
        Ok(Some((notice, row.get_as("pushed")?)))
    }

    /// # Errors
    /// The database.
    pub async fn note_pushed(&mut self, notice: i64, device: Uuid) -> Result<()> {
        sqlx::query(
            "UPDATE notices SET pushed = array_append(pushed, $2) \
             WHERE user_id = ops.current_user_id() AND id = $1",
        )
        .bind(notice)
        .bind(device)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}

impl Db {
    /// A token shared by all processes, if it was minted after `since`.
    ///
    /// # Errors
    /// The database.
    pub async fn provider_token(&self, name: &str, since: Timestamp) -> Result<Option<(String, Timestamp)>> {
        let row = sqlx::query(
            "SELECT token, minted_at FROM ops.provider_tokens WHERE name = $1 AND minted_at > $2",
        )
        .bind(name)
        .bind(instant(since))
        .fetch_optional(self.pool())
        .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((row.get_as("token")?, row.instant("minted_at")?)))
    }

    /// Keeps this one unless another process was quicker; the one that is kept.
    ///
    /// # Errors
    /// The database.
    pub async fn keep_provider_token(
        &self,
        name: &str,
        token: &str,
        minted_at: Timestamp,
        unless_since: Timestamp,
    ) -> Result<(String, Timestamp)> {
        sqlx::query(
            "INSERT INTO ops.provider_tokens (name, token, minted_at) VALUES ($1, $2, $3) \
             ON CONFLICT (name) DO UPDATE SET token = $2, minted_at = $3 \
             WHERE ops.provider_tokens.minted_at <= $4",
        )
        .bind(name)
        .bind(token)
        .bind(instant(minted_at))
        .bind(instant(unless_since))
        .execute(self.pool())
        .await?;
        let row = sqlx::query("SELECT token, minted_at FROM ops.provider_tokens WHERE name = $1")
            .bind(name)
            .fetch_one(self.pool())
            .await?;
        Ok((row.get_as("token")?, row.instant("minted_at")?))
    }
}
