//! What clients and time do to jobs: cancel, retry, purge, expire.

use metrics::gauge;
use tokio_util::sync::CancellationToken;

use super::{Store, StoreError};
use crate::jobs::disk::{Change, DiskError};
use crate::jobs::record::{Delivery, JobView};
use crate::jobs::{Record, Status};
use crate::runpod::Outcome;
use crate::telemetry::names;

impl Store {
    /// Queued: cancelled at once. Running: told to stop, and its result will not count. Ended: stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Disk`].
    pub async fn cancel(&self, id: &str) -> Result<Status, StoreError> {
        {
            let mut table = self.lock();
            let entry = table.jobs.get(id).ok_or(StoreError::NotFound)?;
            if entry.record.status.is_terminal() {
                return Ok(entry.record.status);
            }
            if !self.is_well() {
                return Err(DiskError::Unwell.into());
            }
            table.unqueue(id);
        }
        self.end(id, Status::Cancelled, Outcome::default()).await;
        self.status(id).ok_or(StoreError::NotFound)
    }

    /// On disk first: a retry that cannot be written leaves the job as it was, its error included.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::NotRetryable`], [`StoreError::Disk`].
    pub async fn retry(&self, id: &str) -> Result<JobView, StoreError> {
        let record = {
            let mut table = self.lock();
            let entry = table.jobs.get_mut(id).ok_or(StoreError::NotFound)?;
            let status = entry.record.status;
            let retryable = matches!(status, Status::Failed | Status::TimedOut);
            if !retryable || entry.record.input.is_none() || entry.ending {
                return Err(StoreError::NotRetryable(status));
            }
            // Nobody else retries it meanwhile.
            entry.ending = true;
            let mut record = entry.record.clone();
            record.requeue();
            record.retries += 1;
            record.crashes = 0;
            if record.webhook.is_some() {
                record.delivery = Delivery::Due;
            }
            record
        };
        let (this, id) = (self.clone(), id.to_owned());
        self.undisturbed(async move {
            let written = this.write(Change::Put(Box::new(record.clone()), None)).await;
            let mut table = this.lock();
            let entry = table.jobs.get_mut(&id).ok_or(StoreError::NotFound)?;
            entry.ending = false;
            written?;
            let view = record.view(&this.0.worker_id);
            entry.record = record;
            entry.token = CancellationToken::new();
            entry.bump();
            table.ended.retain(|other| other != &id);
            table.totals.retried += 1;
            table.reweigh(&id);
            table.enqueue(&id);
            this.0.arrived.notify_one();
            Ok(view)
        })
        .await?
    }

    /// Cancels every job that waits, those handed out ahead of the device included; the number of them.
    ///
    /// # Errors
    /// [`StoreError::Disk`].
    pub async fn purge(&self) -> Result<usize, StoreError> {
        if !self.is_well() {
            return Err(DiskError::Unwell.into());
        }
        let now = self.0.clock.now_ms();
        let ends: Vec<Record> = {
            let mut table = self.lock();
            let mut ids: Vec<String> = table.queue.drain(..).collect();
            ids.extend(table.low.drain(..));
            let ahead = table.in_hand().filter(|r| r.status == Status::InQueue);
            let ahead: Vec<String> = ahead.map(|r| r.id.clone()).collect();
            ids.extend(ahead);
            let end = |id: String| table.begin_end(&id, Status::Cancelled, Outcome::default(), now);
            ids.into_iter().filter_map(end).collect()
        };
        let (this, n) = (self.clone(), ends.len());
        // All at once, so that they share commits to the disk.
        let settle = async move {
            futures::future::join_all(ends.into_iter().map(|record| this.settle(record))).await;
        };
        self.undisturbed(settle).await.map(|()| n)
    }

    /// Removes what has outlived its ttl or retention; call every second or so.
    pub fn sweep(&self) {
        let now = self.0.clock.now_ms();
        let mut table = self.lock();
        let limits = &self.0.limits;
        let over: Vec<String> = table
            .jobs
            .values()
            .filter(|e| !e.ending)
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
