//! Erasure of a user, table by table as the catalogue lists them: a new table with a user column cannot be forgotten.

use jiff::Timestamp;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::row::{Columns, Result};
use super::{Db, UserId};

/// One that is under way.
#[derive(Debug, Clone)]
pub struct Erasure {
    pub user: UserId,
    pub steps_done: Vec<String>,
}

/// How far one has come.
#[derive(Debug, Clone)]
pub struct ErasureState {
    pub requested_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

impl Db {
    /// The unfinished erasure of a user.
    ///
    /// # Errors
    /// The database.
    pub async fn erasure(&self, id: Uuid) -> Result<Option<Erasure>> {
        let steps: Option<Vec<String>> = sqlx::query_scalar(
            "SELECT steps_done FROM ops.erasures WHERE erased = $1 AND finished_at IS NULL",
        )
        .bind(id)
        .fetch_optional(self.pool())
        .await?;
        Ok(steps.map(|steps_done| Erasure {
            user: UserId::new(id),
            steps_done,
        }))
    }

    /// Of a subject.
    ///
    /// # Errors
    /// The database.
    pub async fn erasure_state(&self, subject_hash: &[u8]) -> Result<Option<ErasureState>> {
        let row = sqlx::query("SELECT requested_at, finished_at FROM ops.erasures WHERE subject_hash = $1")
            .bind(subject_hash)
            .fetch_optional(self.pool())
            .await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(ErasureState {
            requested_at: row.instant("requested_at")?,
            finished_at: row
                .get_as::<Option<jiff_sqlx::Timestamp>>("finished_at")?
                .map(|t| t.to_jiff()),
        }))
    }
}

impl Erasure {
    /// Deletes the user's rows of every table, a transaction a table.
    ///
    /// # Errors
    /// The database; what was deleted stays deleted.
    pub async fn delete_rows(&self, db: &Db) -> Result<()> {
        let tables: Vec<String> = sqlx::query_scalar(
            "SELECT format('%I.%I', c.table_schema, c.table_name) FROM information_schema.columns c \
             JOIN information_schema.tables t USING (table_schema, table_name) WHERE c.column_name = 'user_id' \
             AND t.table_type = 'BASE TABLE' AND c.table_schema IN ('public', 'ops') ORDER BY 1",
        )
        .fetch_all(db.pool())
        .await?;
        for table in tables {
            // The name is quoted by the server.
            self.delete(db, format!("DELETE FROM {table} WHERE user_id = $1"))
                .await?;
        }
        self.delete(db, "DELETE FROM users WHERE id = $1".to_owned())
            .await
    }

    async fn delete(&self, db: &Db, sql: String) -> Result<()> {
        let mut tx = db.machinery().await?;
        sqlx::query("SELECT set_config('app.user_id', $1, true), set_config('statement_timeout', '0', true)")
            .bind(self.user.uuid().to_string())
            .execute(&mut *tx)
            .await?;
        sqlx::query(AssertSqlSafe(sql))
            .bind(self.user.uuid())
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// # Errors
    /// The database.
    pub async fn note(&self, db: &Db, step: &str) -> Result<()> {
        sqlx::query("UPDATE ops.erasures SET steps_done = steps_done || $2::text WHERE erased = $1")
            .bind(self.user.uuid())
            .bind(step)
            .execute(db.pool())
            .await?;
        Ok(())
    }

    /// # Errors
    /// The database.
    pub async fn finish(&self, db: &Db) -> Result<()> {
        sqlx::query("UPDATE ops.erasures SET finished_at = now() WHERE erased = $1")
            .bind(self.user.uuid())
            .execute(db.pool())
            .await?;
        Ok(())
    }
}
