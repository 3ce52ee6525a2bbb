//! `idempotency_keys`: claim, effect and stored answer are one transaction. A crash leaves nothing and a retry runs;
//! there is no "in progress" row that could stay behind.

use std::time::Duration;

use super::UserTx;
use super::row::{Columns, Result};

/// An action under a key of the client's.
#[derive(Debug, Clone)]
pub struct Action {
    pub method: &'static str,
    /// Path template.
    pub path: &'static str,
    pub key: String,
    /// SHA-256 of the request's meaning.
    pub fingerprint: [u8; 32],
}

/// An answer that was given before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub status: u16,
    pub body: Vec<u8>,
}

#[derive(Debug)]
pub enum Claim {
    /// Nobody has done it: go on, then [`UserTx::store_answer`].
    Ours,
    Replay(Stored),
    /// The key was used for something else.
    OtherRequest,
    /// The same action is being done by another request right now.
    InFlight,
}

/// An answered request may hold its lock until its transaction is rolled back in the background.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(100)];

impl UserTx {
    /// # Errors
    /// The database.
    pub async fn claim(&mut self, action: &Action) -> Result<Claim> {
        let user = self.user().uuid();
        let mut pauses = PAUSES.into_iter();
        loop {
            let locked: bool = sqlx::query_scalar(
                "SELECT pg_try_advisory_xact_lock(hashtextextended($1::uuid::text || $2 || $3 || $4, 0))",
            )
            .bind(user)
            .bind(action.method)
            .bind(action.path)
            .bind(&action.key)
            .fetch_one(self.conn())
            .await?;
            match pauses.next() {
                _ if locked => break,
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Ok(Claim::InFlight),
            }
        }
        // A statement of its own: its snapshot must be younger than the lock.
        let row = sqlx::query(
            "SELECT fingerprint, status, body FROM idempotency_keys WHERE user_id = ops.current_user_id() \
             AND method = $1 AND path = $2 AND key = $3",
        )
        .bind(action.method)
        .bind(action.path)
        .bind(&action.key)
        .fetch_optional(self.conn())
        .await?;
        let Some(row) = row else { return Ok(Claim::Ours) };
        if row.get_as::<Vec<u8>>("fingerprint")? != action.fingerprint {
            return Ok(Claim::OtherRequest);
        }
        Ok(Claim::Replay(Stored {
            status: row.get_as::<i16>("status")?.unsigned_abs(),
            body: row.get_as("body")?,
        }))
    }

    /// # Errors
    /// The database.
    pub async fn store_answer(&mut self, action: &Action, answer: &Stored) -> Result<()> {
        let user = self.user().uuid();
        sqlx::query(
            "INSERT INTO idempotency_keys (user_id, method, path, key, fingerprint, status, body) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(user)
        .bind(action.method)
        .bind(action.path)
        .bind(&action.key)
        .bind(action.fingerprint.as_slice())
        .bind(i16::try_from(answer.status).unwrap_or(500))
        .bind(&answer.body)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
