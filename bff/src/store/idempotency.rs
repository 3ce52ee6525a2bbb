//! `idempotency_keys`: claim, effect and stored answer are one transaction. A crash leaves nothing and a retry runs;
//! there is no "in progress" row that could stay behind.

use std::time::Duration;

use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgRow;

use super::food_logs::FoodLog;
use super::row::{Columns, Result, instant};
use super::{Db, UserId, UserTx};

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

impl Stored {
    fn code(&self) -> i16 {
        i16::try_from(self.status).unwrap_or(500)
    }
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

impl Action {
    /// Who holds this advisory lock does the action of this user.
    fn lock(&self, user: UserId) -> i64 {
        let mut hash = Sha256::new();
        hash.update(user.uuid());
        for part in [self.method, self.path, &self.key] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let hash: [u8; 32] = hash.finalize().into();
        i64::from_be_bytes([
            hash[0], hash[1], hash[2], hash[3], hash[4], hash[5], hash[6], hash[7],
        ])
    }
}

impl Db {
    /// A transaction of one user for an action; tries to take the action's lock as it begins, in the same round trip.
    ///
    /// # Errors
    /// No connection.
    pub async fn user_for(&self, user: UserId, action: Option<&Action>) -> Result<UserTx> {
        match action {
            // The text holds a number that we format, nothing else.
            Some(action) => {
                self.user_with(user, &format!("; {}", try_lock(action.lock(user))))
                    .await
            }
            None => self.user(user).await,
        }
    }
}

/// Kept for the transaction; a function of the statement after it would look at rows from before the lock.
fn try_lock(lock: i64) -> String {
    format!("SELECT set_config('app.claimed', pg_try_advisory_xact_lock('{lock}'::bigint)::text, true)")
}

impl UserTx {
    /// In a transaction that [`Db::user_for`] began.
    ///
    /// # Errors
    /// The database.
    pub async fn claim(&mut self, action: &Action) -> Result<Claim> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let row = sqlx::query(
                "SELECT coalesce(current_setting('app.claimed', true) = 'true', false) AS claimed, \
                 k.fingerprint, k.status, k.body FROM (SELECT) AS one LEFT JOIN idempotency_keys k \
                 ON k.user_id = ops.current_user_id() AND k.method = $1 AND k.path = $2 AND k.key = $3",
            )
            .bind(action.method)
            .bind(action.path)
            .bind(&action.key)
            .fetch_one(self.conn())
            .await?;
            if row.get_as("claimed")? {
                return claim_of(action, &row);
            }
            let Some(pause) = pauses.next() else {
                return Ok(Claim::InFlight);
            };
            tokio::time::sleep(pause).await;
            let lock = try_lock(action.lock(self.user()));
            sqlx::query(AssertSqlSafe(lock)).execute(self.conn()).await?;
        }
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
        .bind(answer.code())
        .bind(&answer.body)
        .execute(self.conn())
        .await?;
        Ok(())
    }

    /// A meal, and the answer that tells of it, in one statement.
    ///
    /// # Errors
    /// The database.
    pub async fn log_and_answer(&mut self, log: &FoodLog, action: &Action, answer: &Stored) -> Result<()> {
        let user = self.user().uuid();
        sqlx::query(
            "WITH log AS (INSERT INTO food_logs (id, user_id, log_time, food_name, calories, protein_g, carbs_g, fats_g, \
             meta_data, status) VALUES ($8, $1, $9, $10, $11, $12, $13, $14, $15, $16)) \
             INSERT INTO idempotency_keys (user_id, method, path, key, fingerprint, status, body) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(user)
        .bind(action.method)
        .bind(action.path)
        .bind(&action.key)
        .bind(action.fingerprint.as_slice())
        .bind(answer.code())
        .bind(&answer.body)
        .bind(log.id)
        .bind(instant(log.log_time))
        .bind(&log.food_name)
        .bind(log.calories)
        .bind(log.protein_g)
        .bind(log.carbs_g)
        .bind(log.fats_g)
        .bind(sqlx::types::Json(&log.meta_data))
        .bind(&log.status)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}

fn claim_of(action: &Action, row: &PgRow) -> Result<Claim> {
    let Some(fingerprint) = row.get_as::<Option<Vec<u8>>>("fingerprint")? else {
        return Ok(Claim::Ours);
    };
    if fingerprint != action.fingerprint {
        return Ok(Claim::OtherRequest);
    }
    Ok(Claim::Replay(Stored {
        status: row.get_as::<i16>("status")?.unsigned_abs(),
        body: row.get_as("body")?,
    }))
}
