//! In the process: for one process alone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use super::{Cache, Look, Ticket};
use crate::store::UserId;

#[derive(Debug, Default)]
struct Entry {
    version: u64,
    body: Option<(u64, Instant, Vec<u8>)>,
}

/// Bounded in number; the least used go first.
#[derive(Debug)]
pub struct MemoryCache {
    entries: moka::sync::Cache<UserId, Arc<Mutex<Entry>>>,
}

impl MemoryCache {
    pub fn new(users: u64) -> Self {
        Self {
            entries: moka::sync::Cache::new(users),
        }
    }

    fn entry(&self, user: UserId) -> Arc<Mutex<Entry>> {
        // A random first version: an entry that was dropped and made anew never looks like the old one.
        self.entries.get_with(user, || {
            Arc::new(Mutex::new(Entry {
                version: rand::random(),
                body: None,
            }))
        })
    }
}

impl Cache for MemoryCache {
    fn look(&self, user: UserId) -> BoxFuture<'_, Look> {
        let entry = self.entry(user);
        let entry = entry.lock().unwrap_or_else(PoisonError::into_inner);
        let look = match &entry.body {
            Some((version, until, body)) if *version == entry.version && Instant::now() < *until => {
                Look::Hit(body.clone())
            }
            _ => Look::Miss(Ticket(entry.version)),
        };
        Box::pin(async { look })
    }

    fn fill(&self, user: UserId, ticket: Ticket, body: Vec<u8>, life: Duration) -> BoxFuture<'_, ()> {
        let entry = self.entry(user);
        let mut entry = entry.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.version == ticket.0 {
            entry.body = Some((ticket.0, Instant::now() + life, body));
        }
        Box::pin(async {})
    }

    fn invalidate(&self, user: UserId) -> BoxFuture<'_, ()> {
        let entry = self.entry(user);
        let mut entry = entry.lock().unwrap_or_else(PoisonError::into_inner);
        entry.version = rand::random();
        entry.body = None;
        Box::pin(async {})
    }

    fn forget(&self, user: UserId) -> BoxFuture<'_, ()> {
        self.entries.invalidate(&user);
        Box::pin(async {})
    }

    fn healthy(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { true })
    }
}
