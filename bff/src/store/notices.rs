//! That something of a user has changed. Ids and kinds, never values.

use uuid::Uuid;

use super::UserTx;
use super::row::Result;
use crate::notify::Kind;

/// The channel on which processes hear of new ones; the payload is the user's id.
pub const CHANNEL: &str = "bff_notices";

impl UserTx {
    /// Tells every client of this user when, and only if, this transaction commits. To be called late in it.
    ///
    /// # Errors
    /// The database.
    pub async fn tell(&mut self, _kind: Kind, _subject: Uuid) -> Result<()> {
        let user = self.user().uuid();
        sqlx::query("SELECT pg_notify($1, $2::text)")
            .bind(CHANNEL)
            .bind(user)
            .execute(self.conn())
            .await?;
        Ok(())
    }
}
