//! What clients and time do to jobs: cancel, retry, purge, expire.

use metrics::gauge;
use tokio_util::sync::CancellationToken;

use super::{Store, StoreError};
use crate::jobs::disk::Change;
use crate::jobs::record::{Delivery, JobView};
use crate::jobs::{Record, Status};
use crate::runpod::Outcome;
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

    /// Cancels every job that waits, those handed out ahead of the device included; the number of them.
    pub async fn purge(&self) -> usize {
        let now = self.0.clock.now_ms();
        let ends: Vec<Record> = {
            let mut table = self.lock();
            let mut ids: Vec<String> = table.queue.drain(..).collect();
            ids.extend(table.low.drain(..));
            let ahead = table.jobs.values();
            let ahead = ahead.filter(|e| e.taken && e.record.status == Status::InQueue);
            ids.extend(ahead.map(|e| e.record.id.clone()));
            let end = |id: String| table.begin_end(&id, Status::Cancelled, Outcome::default(), now);
            ids.into_iter().filter_map(end).collect()
        };
        let (this, n) = (self.clone(), ends.len());
        // All at once, so that they share commits to the disk.
        let settle = async move {
            futures::future::join_all(ends.into_iter().map(|record| this.settle(record))).await;
        };
        match self.undisturbed(settle).await {
            Ok(()) => n,
            Err(_) => 0,
        }
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
