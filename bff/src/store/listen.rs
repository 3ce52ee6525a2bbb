//! LISTEN: what other processes commit wakes this one. A wake-up may be missed, so whoever waits for one looks by itself
//! now and then.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};

use super::Db;

const RECONNECT: Duration = Duration::from_millis(500);

impl Db {
    /// Calls `heard` with the payload of each notification, until dropped; with `None` whenever it begins to listen, the
    /// first time and after a loss, because what came before may have been missed. On a connection of its own, which is
    /// held for good.
    pub async fn hear(&self, channel: &str, mut heard: impl FnMut(Option<&str>) + Send) -> Infallible {
        loop {
            if self.hear_once(channel, &mut heard).await.is_err() {
                tracing::warn!(channel, "notifications of the database are not heard");
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn hear_once(
        &self,
        channel: &str,
        heard: &mut (impl FnMut(Option<&str>) + Send),
    ) -> Result<(), sqlx::Error> {
        let options = self.pool().connect_options().as_ref().clone();
        let own = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&own).await?;
        listener.listen(channel).await?;
        heard(None);
        // `None`: the connection was lost, and is made anew.
        while let Some(notification) = listener.try_recv().await? {
            heard(Some(notification.payload()));
        }
        Ok(())
    }
}
