//! What has served its time.

use super::Db;
use super::row::Result;

impl Db {
    /// Removes answers kept under keys for longer than a day, and the memory of erasures that no token can reach back
    /// beyond. As the worker: row security lets it see those of everybody.
    ///
    /// # Errors
    /// The database.
    pub async fn upkeep(&self) -> Result<()> {
        for sql in [
            "DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours'",
            "DELETE FROM ops.erasures WHERE finished_at < now() - interval '60 days'",
            // A client that was away for longer fetches everything anew.
            "DELETE FROM notices WHERE created_at < now() - interval '24 hours'",
            // API Gateway ends a connection after two hours.
            "DELETE FROM gateway_sockets WHERE opened_at < now() - interval '2 hours'",
            "DELETE FROM restaurant_cache WHERE touched_at < now() - interval '60 days'",
        ] {
            sqlx::query(sql).execute(self.pool()).await?;
        }
        Ok(())
    }
}
