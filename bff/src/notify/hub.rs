//! Wakes the sockets of this process when a notice of their user commits, in whatever process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

    /// Listens until cancelled. Whenever it begins to, everybody is woken: what was missed is in the table.
    pub async fn listen(&self, db: &Db, stop: CancellationToken) {
        let heard = db.hear(CHANNEL, |user| match user.map(str::parse) {
            None => self.wake_all(),
            Some(Ok(user)) => self.wake(user),
            Some(Err(_)) => {}
        });
        tokio::select! {
            _ = heard => {}
            () = stop.cancelled() => {}
        }
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
