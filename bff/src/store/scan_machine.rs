//! What the machinery does with scans of everybody: it finds those that are due, and a scan by its webhook's token.

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{Postgres, Transaction};
use uuid::Uuid;

use super::row::{Columns, Result, instant};
use super::scans::{Scan, state};
use super::{Db, UserTx};
use crate::domain::scan::{Event, State};

/// A scan as the machinery names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    pub scan: Uuid,
    pub user: Uuid,
    pub state: State,
}

/// Whose webhook it is.
#[derive(Debug, Clone)]
pub struct Named {
    pub model_set: Option<String>,
}

fn due(row: &PgRow) -> Result<Due> {
    Ok(Due {
        scan: row.get_as("id")?,
        user: row.get_as("user_id")?,
        state: state(row)?,
    })
}

impl Db {
    /// Up to `limit` scans that are due; others do not get them before `until`.
    ///
    /// # Errors
    /// The database.
    pub async fn due_scans(&self, now: Timestamp, until: Timestamp, limit: i64) -> Result<Vec<Due>> {
        let rows = sqlx::query(
            "UPDATE scans SET next_at = $2 WHERE id IN (SELECT id FROM scans WHERE next_at <= $1 ORDER BY next_at \
             LIMIT $3 FOR UPDATE SKIP LOCKED) RETURNING id, user_id, state",
        )
        .bind(instant(now))
        .bind(instant(until))
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        rows.iter().map(due).collect()
    }

    /// The scan that a webhook's address names.
    ///
    /// # Errors
    /// The database.
    pub async fn scan_of_webhook(&self, token_hash: &[u8]) -> Result<Option<Named>> {
        let mut tx = self.of_webhook(token_hash).await?;
        let row = sqlx::query("SELECT model_set FROM scans WHERE webhook_hash = ops.current_webhook()")
            .fetch_optional(&mut *tx)
            .await?;
        row.map(|row| {
            Ok(Named {
                model_set: row.get_as("model_set")?,
            })
        })
        .transpose()
    }

    async fn of_webhook(&self, token_hash: &[u8]) -> Result<Transaction<'static, Postgres>> {
        let mut tx = self.machinery().await?;
        let hex: String = token_hash.iter().map(|b| format!("{b:02x}")).collect();
        sqlx::query("SELECT set_config('app.webhook', $1, true)")
            .bind(hex)
            .execute(&mut *tx)
            .await?;
        Ok(tx)
    }

    /// The scan that a webhook speaks of; noted, in case its job is not written yet. `true` if there is a job to ask for.
    ///
    /// # Errors
    /// The database.
    pub async fn hint(&self, token_hash: &[u8]) -> Result<Option<(Due, bool)>> {
        let mut tx = self.of_webhook(token_hash).await?;
        let row = sqlx::query(
            "UPDATE scans SET hinted = true WHERE webhook_hash = ops.current_webhook() \
             RETURNING id, user_id, state, job_id IS NOT NULL AND state IN ('queued', 'running') AS has_job",
        )
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some((due(&row)?, row.get_as("has_job")?)))
    }
}

impl UserTx {
    /// Takes an uploaded scan for submission: nobody else does before `until`. `None` if there is nothing to submit, or
    /// somebody does.
    ///
    /// # Errors
    /// The database.
    pub async fn claim_submission(
        &mut self,
        id: Uuid,
        token_hash: &[u8],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Scan>> {
        let row = sqlx::query(
            "UPDATE scans SET webhook_hash = $2, hinted = false, job_id = NULL, submissions = submissions + 1, \
             claimed_until = $4, next_at = $4 WHERE user_id = ops.current_user_id() AND id = $1 AND state = 'uploaded' \
             AND (claimed_until IS NULL OR claimed_until <= $3) RETURNING id",
        )
        .bind(id)
        .bind(token_hash)
        .bind(instant(now))
        .bind(instant(until))
        .fetch_optional(self.conn())
        .await?;
        self.claimed(id, row.is_some()).await
    }

    /// The scan, if it was claimed.
    async fn claimed(&mut self, id: Uuid, yes: bool) -> Result<Option<Scan>> {
        if yes {
            self.scan(id).await.map(Some)
        } else {
            Ok(None)
        }
    }

    /// Writes the job of a claimed submission. `None` if the scan went elsewhere meanwhile; else whether its webhook was
    /// faster than this.
    ///
    /// # Errors
    /// The database.
    pub async fn job_taken(
        &mut self,
        id: Uuid,
        token_hash: &[u8],
        job: &str,
        now: Timestamp,
        next_at: Timestamp,
    ) -> Result<Option<bool>> {
        let Some(next) = State::Uploaded.after(Event::JobTaken) else {
            return Ok(None);
        };
        sqlx::query_scalar(
            "UPDATE scans SET state = $7, job_id = $3, claimed_until = NULL, failures = 0, version = version + 1, \
             updated_at = $4, entered_at = $4, next_at = $5 WHERE user_id = ops.current_user_id() AND id = $1 \
             AND state = $6 AND webhook_hash = $2 RETURNING hinted",
        )
        .bind(id)
        .bind(token_hash)
        .bind(job)
        .bind(instant(now))
        .bind(instant(next_at))
        .bind(State::Uploaded.as_str())
        .bind(next.as_str())
        .fetch_optional(self.conn())
        .await
    }

    /// Takes a scan whose job is to be asked after: nobody else asks before `until`. `None` if there is nothing to ask for,
    /// or somebody does.
    ///
    /// # Errors
    /// The database.
    pub async fn claim_look(&mut self, id: Uuid, now: Timestamp, until: Timestamp) -> Result<Option<Scan>> {
        let row = sqlx::query(
            "UPDATE scans SET claimed_until = $3, next_at = $3, hinted = false WHERE user_id = ops.current_user_id() \
             AND id = $1 AND state IN ('queued', 'running') AND job_id IS NOT NULL \
             AND (claimed_until IS NULL OR claimed_until <= $2) RETURNING id",
        )
        .bind(id)
        .bind(instant(now))
        .bind(instant(until))
        .fetch_optional(self.conn())
        .await?;
        self.claimed(id, row.is_some()).await
    }

    /// The job is not done yet: looks again at `next_at`, or at once if a webhook came during the look.
    ///
    /// # Errors
    /// The database.
    pub async fn look_done(&mut self, id: Uuid, now: Timestamp, next_at: Timestamp) -> Result<()> {
        sqlx::query(
            "UPDATE scans SET claimed_until = NULL, hinted = false, next_at = CASE WHEN hinted THEN $2 ELSE $3 END \
             WHERE user_id = ops.current_user_id() AND id = $1 AND state IN ('queued', 'running')",
        )
        .bind(id)
        .bind(instant(now))
        .bind(instant(next_at))
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// A submission that came to nothing: it does not count, and comes again at `next_at`.
    ///
    /// # Errors
    /// The database.
    pub async fn submission_failed(&mut self, id: Uuid, next_at: Timestamp) -> Result<()> {
        sqlx::query(
            "UPDATE scans SET next_at = $2, claimed_until = NULL, failures = failures + 1, submissions = submissions - 1 \
             WHERE user_id = ops.current_user_id() AND id = $1 AND state = 'uploaded'",
        )
        .bind(id)
        .bind(instant(next_at))
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// Looks again at `next_at`, whoever does; a failed attempt is counted.
    ///
    /// # Errors
    /// The database.
    pub async fn look_again(&mut self, id: Uuid, next_at: Timestamp, failed: bool) -> Result<()> {
        sqlx::query(
            "UPDATE scans SET next_at = $2, claimed_until = NULL, failures = failures + $3 \
             WHERE user_id = ops.current_user_id() AND id = $1 AND next_at IS NOT NULL",
        )
        .bind(id)
        .bind(instant(next_at))
        .bind(i32::from(failed))
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
