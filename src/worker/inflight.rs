//! The jobs in hand: what the ping lists and the stop channel cancels.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Shared by all loops.
#[derive(Debug, Clone, Default)]
pub struct Inflight(Arc<Mutex<BTreeMap<String, CancellationToken>>>);

impl Inflight {
    /// Bytes of the ping's list.
    const MAX_LIST: usize = 65_535;

    /// False if the job is in hand already.
    pub fn insert(&self, id: &str, token: CancellationToken) -> bool {
        let mut jobs = self.lock();
        if jobs.contains_key(id) {
            return false;
        }
        jobs.insert(id.to_owned(), token);
        true
    }

    pub fn remove(&self, id: &str) {
        self.lock().remove(id);
    }

    /// False if the job is not in hand.
    pub fn cancel(&self, id: &str) -> bool {
        let token = self.lock().get(id).cloned();
        token.is_some_and(|token| {
            token.cancel();
            true
        })
    }

    pub fn cancel_all(&self) {
        let all: Vec<_> = self.lock().values().cloned().collect();
        all.iter().for_each(CancellationToken::cancel);
    }

    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Ids joined by commas, cut at a comma where they are too many.
    pub fn list(&self) -> String {
        let mut list = String::new();
        for id in self.lock().keys() {
            if list.len() + 1 + id.len() > Self::MAX_LIST {
                break;
            }
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(id);
        }
        list
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
