//! The jobs in hand: what the ping lists and the stop channel cancels.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;
use tracing::Span;

/// Shared by all loops.
#[derive(Debug, Clone, Default)]
pub struct Inflight(Arc<Mutex<BTreeMap<String, InHand>>>);

#[derive(Debug)]
struct InHand {
    token: CancellationToken,
    /// Names the job, and its batch, in the log.
    span: Span,
}

/// A job's place in the list, until dropped.
#[derive(Debug)]
pub struct Place {
    jobs: Inflight,
    id: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.jobs.lock().remove(&self.id);
    }
}

impl Inflight {
    /// Bytes of the ping's list.
    const MAX_LIST: usize = 65_535;

    /// None if the job is in hand already.
    pub fn insert(&self, id: &str, token: CancellationToken, span: Span) -> Option<Place> {
        let mut jobs = self.lock();
        if jobs.contains_key(id) {
            return None;
        }
        jobs.insert(id.to_owned(), InHand { token, span });
        Some(Place {
            jobs: self.clone(),
            id: id.to_owned(),
        })
    }

    /// Cancels a job at the platform's word. False if it is not in hand.
    pub fn stop(&self, id: &str) -> bool {
        match self.lock().get(id) {
            Some(job) => {
                job.span
                    .in_scope(|| tracing::info!(job = id, "stopped by the platform"));
                job.token.cancel();
                true
            }
            None => false,
        }
    }

    pub fn cancel_all(&self) {
        self.lock().values().for_each(|job| job.token.cancel());
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, InHand>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
