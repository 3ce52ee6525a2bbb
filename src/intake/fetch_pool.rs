//! How many photos are fetched at the same time, in all and from one host: a host that answers slowly on purpose holds
//! up itself.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::stopping;
use crate::contract::ScanError;

/// Each may hold a photo of the largest size.
const AT_ONCE: usize = 12;
const PER_HOST: usize = 3;

#[derive(Debug)]
pub(super) struct FetchPool {
    all: Arc<Semaphore>,
    hosts: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// A place in the pool.
#[derive(Debug)]
pub struct FetchPlace {
    _host: Option<OwnedSemaphorePermit>,
    _all: OwnedSemaphorePermit,
}

impl FetchPool {
    pub(super) fn new() -> Self {
        Self {
            all: Arc::new(Semaphore::new(AT_ONCE)),
            hosts: Mutex::new(HashMap::new()),
        }
    }

    /// Waits for a place: of its host first, so that those who wait for one host take no place from others.
    /// No host: one that belongs to whoever runs the service.
    pub(super) async fn place(&self, host: Option<&str>) -> Result<FetchPlace, ScanError> {
        let host = match host {
            Some(host) => Some(self.of(host).acquire_owned().await.map_err(stopping)?),
            None => None,
        };
        let all = self.all.clone().acquire_owned().await.map_err(stopping)?;
        Ok(FetchPlace {
            _host: host,
            _all: all,
        })
    }

    fn of(&self, host: &str) -> Arc<Semaphore> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody fetches from or waits for those any more.
        hosts.retain(|_, places| Arc::strong_count(places) > 1);
        let new = || Arc::new(Semaphore::new(PER_HOST));
        hosts.entry(host.to_owned()).or_insert_with(new).clone()
    }
}
