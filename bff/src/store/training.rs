//! Copies for training: `ops.training_copies`, the only way back to a user, and the view without one.

use futures::{Stream, StreamExt};
use uuid::Uuid;

use super::row::{Columns, Result};
use super::{Db, UserTx};

/// A copy of one meal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainingCopy {
    pub id: Uuid,
    pub photos: i16,
}

impl UserTx {
    /// The name under which a meal is copied; the same again for the same meal.
    ///
    /// # Errors
    /// The database.
    pub async fn training_copy(&mut self, meal_group: Uuid, photos: i16) -> Result<Uuid> {
        let user = self.user().uuid();
        sqlx::query_scalar(
            "INSERT INTO ops.training_copies (user_id, meal_group, photos) VALUES ($1, $2, $3) \
             ON CONFLICT (meal_group) DO UPDATE SET photos = greatest(ops.training_copies.photos, excluded.photos) \
             RETURNING training_id",
        )
        .bind(user)
        .bind(meal_group)
        .bind(photos)
        .fetch_one(self.conn())
        .await
    }

    /// # Errors
    /// The database.
    pub async fn forget_training_copy(&mut self, id: Uuid) -> Result<()> {
        sqlx::query(
            "DELETE FROM ops.training_copies WHERE user_id = ops.current_user_id() AND training_id = $1",
        )
        .bind(id)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}

impl Db {
    /// Copies of a user's meals, of one who is being erased too.
    ///
    /// # Errors
    /// The database.
    pub async fn training_copies(&self, user: super::UserId) -> Result<Vec<TrainingCopy>> {
        let mut tx = self.machinery().await?;
        sqlx::query("SELECT set_config('app.user_id', $1, true)")
            .bind(user.uuid().to_string())
            .execute(&mut *tx)
            .await?;
        let rows = sqlx::query("SELECT training_id, photos FROM ops.training_copies WHERE user_id = $1")
            .bind(user.uuid())
            .fetch_all(&mut *tx)
            .await?;
        rows.iter()
            .map(|row| {
                Ok(TrainingCopy {
                    id: row.get_as("training_id")?,
                    photos: row.get_as("photos")?,
                })
            })
            .collect()
    }

    /// Each line of the export for training, without anything of a user; never all of them in memory.
    ///
    /// # Errors
    /// The database, or what `line` says.
    pub async fn training_export<E: From<sqlx::Error>>(
        &self,
        mut line: impl FnMut(&str) -> std::result::Result<(), E>,
    ) -> std::result::Result<u64, E> {
        let mut tx = self.machinery().await?;
        sqlx::query(
            "SELECT set_config('app.purpose', 'training_export', true), set_config('statement_timeout', '0', true)",
        )
        .execute(&mut *tx)
        .await?;
        let mut n = 0;
        {
            // By the random id: no order that says anything.
            let sql = "SELECT row_to_json(t)::text FROM training_food_logs t ORDER BY training_id";
            let mut rows: std::pin::Pin<Box<dyn Stream<Item = Result<String>> + Send + '_>> =
                sqlx::query_scalar::<_, String>(sql).fetch(&mut *tx).boxed();
            while let Some(row) = rows.next().await {
                line(&row?)?;
                n += 1;
            }
        }
        tx.commit().await?;
        Ok(n)
    }
}
