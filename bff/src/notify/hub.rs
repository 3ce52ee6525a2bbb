//! Wakes the sockets of this process when a notice of their user commits, in whatever process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::notices::CHANNEL;
use crate::store::{Db, UserId};

/// Sockets of one user in one process.
pub const OF_A_USER: usize = 8;
/// Sockets of one process.
pub const IN_ALL: usize = 10_000;
const STRANGERS: usize = 1024;
const RECONNECT: Duration = Duration::from_millis(500);

/// The sockets of this process, by user.
#[derive(Debug)]
pub struct Hub {
    users: Mutex<HashMap<Uuid, watch::Sender<()>>>,
    /// Sockets that have not said who they are.
    strangers: Arc<Semaphore>,
    /// Cancelled when the process drains: sockets close and their clients go elsewhere.
    pub closing: CancellationToken,
}

/// A socket's place; gone when dropped.
#[derive(Debug)]
pub struct Seat {
    hub: Arc<Hub>,
    user: Uuid,
    woken: Option<watch::Receiver<()>>,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            users: Mutex::default(),
            strangers: Arc::new(Semaphore::new(STRANGERS)),
            closing: CancellationToken::new(),
        }
    }
}

impl Hub {
    /// A place until the first message; `None` if too many wait there.
    pub fn knock(&self) -> Option<OwnedSemaphorePermit> {
        self.strangers.clone().try_acquire_owned().ok()
    }

    fn users(&self) -> MutexGuard<'_, HashMap<Uuid, watch::Sender<()>>> {
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` if this user, or the process, has enough.
    pub fn sit(self: &Arc<Self>, user: UserId) -> Option<Seat> {
        let user = user.uuid();
        let mut users = self.users();
        let all: usize = users.values().map(watch::Sender::receiver_count).sum();
        let wake = users.entry(user).or_default();
        if all >= IN_ALL || wake.receiver_count() >= OF_A_USER {
            return None;
        }
        let woken = Some(wake.subscribe());
        Some(Seat {
            hub: self.clone(),
            user,
            woken,
        })
    }

    pub fn wake(&self, user: Uuid) {
        if let Some(wake) = self.users().get(&user) {
            wake.send_replace(());
        }
    }

    fn wake_all(&self) {
        self.users().values().for_each(|wake| {
            wake.send_replace(());
        });
    }

    /// Listens until cancelled. After each reconnection everybody is woken: what was missed is in the table.
    pub async fn listen(&self, db: &Db, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let outcome = tokio::select! {
                outcome = self.listen_once(db) => outcome,
                () = stop.cancelled() => return,
            };
            if let Err(error) = outcome {
                tracing::warn!(
                    "notices are not heard: {}",
                    crate::problem::Problem::from(error).detail
                );
            }
            tokio::time::sleep(RECONNECT).await;
        }
    }

    async fn listen_once(&self, db: &Db) -> Result<(), sqlx::Error> {
        // A connection of its own: it is held for good.
        let options = db.pool().connect_options().as_ref().clone();
        let own = PgPoolOptions::new().max_connections(1).connect_lazy_with(options);
        let mut listener = PgListener::connect_with(&own).await?;
        listener.listen(CHANNEL).await?;
        self.wake_all();
        // `None`: the connection was lost, and is made anew.
        while let Some(notification) = listener.try_recv().await? {
            if let Ok(user) = notification.payload().parse() {
                self.wake(user);
            }
        }
        Ok(())
    }
}

impl Seat {
    /// Until something of this user has changed.
    pub async fn woken(&mut self) {
        if let Some(woken) = &mut self.woken
            && woken.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.woken = None;
        let mut users = self.hub.users();
        if users
            .get(&self.user)
            .is_some_and(|wake| wake.receiver_count() == 0)
        {
            users.remove(&self.user);
        }
    }
}
