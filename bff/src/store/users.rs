//! `users`: found by the verified subject, made at first sight.

use jiff::Timestamp;
use serde::Serialize;
use sqlx::{Postgres, Transaction};
use utoipa::ToSchema;
use uuid::Uuid;

use super::row::{Columns, Result, instant};
use super::{Db, UserId, UserTx};
use crate::auth::Subject;

/// Whom a token stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    User(UserId),
    /// Erased after this token's sign-in.
    Erased,
}

/// The account.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Account {
    pub id: Uuid,
    /// Null until an id token with a verified address has been seen.
    #[schema(required)]
    pub email: Option<String>,
    /// `free`, `pro_monthly` or `pro_annual`.
    pub tier: String,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
}

impl Db {
    /// The user of a verified token; makes one at first sight.
    ///
    /// # Errors
    /// The database.
    pub async fn resolve(&self, subject: &Subject, subject_hash: &[u8]) -> Result<Known> {
        let mut tx = self.machinery().await?;
        sqlx::query("SELECT set_config('app.subject', $1, true)")
            .bind(subject.key())
            .execute(&mut *tx)
            .await?;
        let erased: Option<jiff_sqlx::Timestamp> =
            sqlx::query_scalar("SELECT requested_at FROM ops.erasures WHERE subject_hash = $1")
                .bind(subject_hash)
                .fetch_optional(&mut *tx)
                .await?;
        // Whoever signs in anew after the erasure is a new user; an old token, however renewed, is nobody.
        if let Some(at) = erased
            && subject.signed_in_at() <= at.to_jiff()
        {
            return Ok(Known::Erased);
        }
        let id = match find(&mut tx, subject).await? {
            Some(id) => id,
            None => create(&mut tx, subject).await?,
        };
        tx.commit().await?;
        Ok(Known::User(UserId::new(id)))
    }

    /// A user named by one of our own messages; `None` if erased meanwhile.
    ///
    /// # Errors
    /// The database.
    pub async fn existing(&self, id: Uuid) -> Result<Option<UserId>> {
        let mut tx = self.user(UserId::new(id)).await?;
        let found: Option<Uuid> = sqlx::query_scalar("SELECT id FROM users WHERE id = ops.current_user_id()")
            .fetch_optional(tx.conn())
            .await?;
        Ok(found.map(UserId::new))
    }
}

async fn find(tx: &mut Transaction<'_, Postgres>, subject: &Subject) -> Result<Option<Uuid>> {
    let row = sqlx::query("SELECT id, email FROM users WHERE cognito_sub = $1")
        .bind(subject.key())
        .fetch_optional(&mut **tx)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let id: Uuid = row.get_as("id")?;
    let email: String = row.get_as("email")?;
    if let Some(verified) = subject.verified_email()
        && verified != email
    {
        take_email(tx, id, verified).await?;
    }
    Ok(Some(id))
}

async fn create(tx: &mut Transaction<'_, Postgres>, subject: &Subject) -> Result<Uuid> {
    let id = Uuid::new_v4();
    // Access tokens carry no address, and the column wants one: `.invalid` is reserved for this.
    let inserted: Option<Uuid> = sqlx::query_scalar(
        "INSERT INTO users (id, email, cognito_sub) VALUES ($1::uuid, $1::uuid::text || '@users.invalid', $2) \
         ON CONFLICT (cognito_sub) DO NOTHING RETURNING id",
    )
    .bind(id)
    .bind(subject.key())
    .fetch_optional(&mut **tx)
    .await?;
    // Another request of the same newcomer may have won.
    let id = match inserted {
        Some(id) => id,
        None => {
            sqlx::query_scalar("SELECT id FROM users WHERE cognito_sub = $1")
                .bind(subject.key())
                .fetch_one(&mut **tx)
                .await?
        }
    };
    if let Some(verified) = subject.verified_email() {
        take_email(tx, id, verified).await?;
    }
    Ok(id)
}

/// Accounts are never joined by address: one that another account has stays there.
async fn take_email(tx: &mut Transaction<'_, Postgres>, id: Uuid, email: &str) -> Result<()> {
    sqlx::query("SAVEPOINT email").execute(&mut **tx).await?;
    let outcome = sqlx::query("UPDATE users SET email = $2 WHERE id = $1")
        .bind(id)
        .bind(email)
        .execute(&mut **tx)
        .await;
    match outcome {
        Ok(_) => {}
        Err(sqlx::Error::Database(db)) if db.is_unique_violation() => {
            sqlx::query("ROLLBACK TO SAVEPOINT email")
                .execute(&mut **tx)
                .await?;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

impl UserTx {
    /// # Errors
    /// The database; `RowNotFound` for a user that is gone.
    pub async fn account(&mut self) -> Result<Account> {
        let row =
            sqlx::query("SELECT id, email, tier, created_at FROM users WHERE id = ops.current_user_id()")
                .fetch_one(self.conn())
                .await?;
        let email: String = row.get_as("email")?;
        Ok(Account {
            id: row.get_as("id")?,
            email: (!email.ends_with("@users.invalid")).then_some(email),
            tier: row
                .get_as::<Option<String>>("tier")?
                .unwrap_or_else(|| "free".into()),
            created_at: row.instant("created_at")?,
        })
    }

    /// Marks the user as erased: from here on their transactions see nothing. Asking again changes nothing.
    ///
    /// # Errors
    /// The database.
    pub async fn request_erasure(&mut self, subject_hash: &[u8], now: Timestamp) -> Result<()> {
        let user = self.user().uuid();
        sqlx::query(
            "INSERT INTO ops.erasures (subject_hash, erased, requested_at) VALUES ($1, $2, $3) \
             ON CONFLICT (subject_hash) DO UPDATE SET erased = excluded.erased, requested_at = excluded.requested_at, \
             steps_done = '{}', finished_at = NULL WHERE ops.erasures.erased <> excluded.erased",
        )
        .bind(subject_hash)
        .bind(user)
        .bind(instant(now))
        .execute(self.conn())
        .await?;
        // Sockets of this user look, find nobody, and close.
        sqlx::query("SELECT pg_notify($1, $2::text)")
            .bind(super::notices::CHANNEL)
            .bind(user)
            .execute(self.conn())
            .await?;
        Ok(())
    }
}
