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
}
