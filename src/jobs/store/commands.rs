//! What clients and time do to jobs: cancel, retry, purge, expire.

use metrics::gauge;
use tokio_util::sync::CancellationToken;

use super::{Store, StoreError};
use crate::jobs::Status;
use crate::jobs::disk::Change;
use crate::jobs::record::{Delivery, JobView};
use crate::runtime::Outcome;
use crate::telemetry::names;

impl Store {
    /// Queued: cancelled at once. Running: told to stop, and its result will not count. Ended: stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn cancel(&self, id: &str) -> Result<Status, StoreError> {
        {
            let mut table = self.lock();
            let entry = table.jobs.get(id).ok_or(StoreError::NotFound)?;
            if entry.record.status.is_terminal() {
                return Ok(entry.record.status);
            }
            table.unqueue(id);
        }
        self.end(id, Status::Cancelled, Outcome::default()).await;
        self.status(id).ok_or(StoreError::NotFound)
    }

    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::NotRetryable`], [`StoreError::Disk`].
    pub async fn retry(&self, id: &str) -> Result<JobView, StoreError> {
        let (record, view) = {
            let mut table = self.lock();
            let entry = table.jobs.get_mut(id).ok_or(StoreError::NotFound)?;
            let status = entry.record.status;
            if !matches!(status, Status::Failed | Status::TimedOut) || entry.record.input.is_none() {
                return Err(StoreError::NotRetryable(status));
            }
            entry.record.requeue();
            entry.record.retries += 1;
            entry.record.attempts = 0;
            if entry.record.webhook.is_some() {
                entry.record.delivery = Delivery::Due;
            }
            entry.taken = false;
            entry.ending = false;
            entry.token = CancellationToken::new();
            entry.bump();
            let both = (entry.record.clone(), entry.record.view(&self.0.worker_id));
            table.ended.retain(|other| other != id);
            table.totals.retried += 1;
            both
        };
        let (this, id) = (self.clone(), id.to_owned());
        self.undisturbed(async move {
            if let Some(disk) = &this.0.disk {
                disk.write(Change::Put(Box::new(record), None)).await?;
            }
            this.lock().enqueue(&id);
            this.0.arrived.notify_one();
            Ok(view)
        })
        .await?
    }

    /// Cancels every queued job; the number of them.
    pub async fn purge(&self) -> usize {
        let ids: Vec<String> = {
            let mut table = self.lock();
            let mut ids: Vec<String> = table.queue.drain(..).collect();
            ids.extend(table.low.drain(..));
            ids
        };
        let this = self.clone();
        // All at once, so that they share commits to the disk.
        let ends = async move {
            let end = |id: String| {
                let this = this.clone();
                async move { this.end_now(&id, Status::Cancelled, Outcome::default()).await }
            };
            let ended = futures::future::join_all(ids.into_iter().map(end)).await;
            ended.into_iter().filter(|yes| *yes).count()
        };
        self.undisturbed(ends).await.unwrap_or(0)
    }

    /// Removes what has outlived its ttl or retention; call every second or so.
    pub fn sweep(&self) {
        let now = self.0.clock.now_ms();
        let mut table = self.lock();
        let limits = &self.0.limits;
        let over: Vec<String> = table
            .jobs
            .values()
            .filter(|e| !e.ending || e.record.status.is_terminal())
            .filter(|e| e.record.is_over(now, limits))
            .map(|e| e.record.id.clone())
            .collect();
        for id in over {
            table.drop_entry(&id);
            self.later(Change::Remove(id));
        }
        table.forget_dropped();
        gauge!(names::JOBS_STORED).set(table.jobs.len() as f64);
    }
}
