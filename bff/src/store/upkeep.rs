//! What has served its time.

use jiff::Timestamp;

use super::Db;
use super::row::{Result, instant};

impl Db {
    /// Removes answers kept under keys for longer than a day, and the memory of erasures that no token can reach back
    /// beyond. As the worker: row security lets it see those of everybody.
    ///
    /// # Errors
    /// The database.
    pub async fn upkeep(&self, now: Timestamp) -> Result<()> {
        for sql in [
            "DELETE FROM idempotency_keys WHERE created_at < $1 - interval '24 hours'",
            "DELETE FROM ops.erasures WHERE finished_at < $1 - interval '60 days'",
            // A client that was away for longer fetches everything anew.
            "DELETE FROM notices WHERE created_at < $1 - interval '24 hours'",
            // API Gateway ends a connection after two hours.
            "DELETE FROM gateway_sockets WHERE opened_at < $1 - interval '2 hours'",
            "DELETE FROM restaurant_cache WHERE touched_at < $1 - interval '60 days'",
        ] {
            sqlx::query(sql).bind(instant(now)).execute(self.pool()).await?;
        }
        Ok(())
    }
}
