//! `sync_cursors`: how far each device of a user has come.

use super::UserTx;
use super::row::Result;

impl UserTx {
    /// # Errors
    /// The database.
    pub async fn sync_cursor(&mut self, device: &str) -> Result<Option<String>> {
        sqlx::query_scalar(
            "SELECT cursor FROM sync_cursors WHERE user_id = ops.current_user_id() AND device = $1",
        )
        .bind(device)
        .fetch_optional(self.conn())
        .await
    }

    /// # Errors
    /// The database.
    pub async fn put_sync_cursor(&mut self, device: &str, cursor: &str) -> Result<()> {
        let user = self.user().uuid();
        sqlx::query(
            "INSERT INTO sync_cursors (user_id, device, cursor) VALUES ($1, $2, $3) ON CONFLICT (user_id, device) \
             DO UPDATE SET cursor = excluded.cursor, updated_at = now()",
        )
        .bind(user)
        .bind(device)
        .bind(cursor)
        .execute(self.conn())
        .await?;
        Ok(())
    }
}
