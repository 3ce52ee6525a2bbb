//! The one place where a job's state changes.

mod commands;
mod table;
mod views;

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::counter;
use serde_json::value::RawValue;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::disk::{Change, Disk, DiskError};
use super::record::{Delivery, JobView};
use super::{Clock, Policy, Record, Status, Submission};
use crate::runpod::Outcome;
use crate::runtime::Event;
use crate::s3::S3Keys;
use crate::telemetry::names;
use table::Table;
pub use views::JobCounts;

/// Bounds of the store.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Jobs that may wait; the next one is refused.
    pub queued: usize,
    /// Inputs and outputs held, all jobs together.
    pub bytes: usize,
    /// Ended jobs kept; the oldest go first.
    pub kept: usize,
    /// How long an ended `/run` job can be asked for.
    pub retention: Duration,
    /// The same for `/runsync`.
    pub sync_retention: Duration,
    /// Times a job is taken up before it is failed as one that kills the process.
    pub attempts: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queued: 1000,
            bytes: 1 << 30,
            kept: 10_000,
            retention: Duration::from_secs(30 * 60),
            sync_retention: Duration::from_secs(60),
            attempts: 5,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{queued} jobs are waiting already")]
    Full { queued: usize },
    #[error("no such job")]
    NotFound,
    #[error("only a FAILED or TIMED_OUT job can be retried; this one is {}", .0.as_str())]
    NotRetryable(Status),
    #[error("the job could not be stored: {0}")]
    Disk(#[from] DiskError),
}

/// A job taken from the queue.
#[derive(Debug)]
pub struct Taken {
    pub id: String,
    pub input: Arc<RawValue>,
    pub policy: Policy,
    pub s3: Option<S3Keys>,
    pub token: CancellationToken,
}

struct Shared {
    table: Mutex<Table>,
    disk: Option<Disk>,
    limits: Limits,
    clock: Clock,
    arrived: Notify,
    webhooks: mpsc::UnboundedSender<String>,
    worker_id: String,
}

/// Cheap to clone; the same store.
#[derive(Clone)]
pub struct Store(Arc<Shared>);

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("counts", &self.counts()).finish()
    }
}

impl Store {
    /// Opens the store; with a directory, jobs found unfinished there are queued again. The receiver yields the ids of
    /// ended jobs whose webhook is due.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn open(
        dir: Option<&Path>,
        limits: Limits,
        clock: Clock,
        worker_id: impl Into<String>,
    ) -> Result<(Self, mpsc::UnboundedReceiver<String>), DiskError> {
        let (disk, records) = match dir {
            Some(dir) => {
                let (disk, records) = Disk::open(dir)?;
                (Some(disk), records)
            }
            None => {
                tracing::warn!(
                    "no --state-dir: accepted jobs live in memory and are lost when this process ends"
                );
                (None, Vec::new())
            }
        };
        let (webhooks, due) = mpsc::unbounded_channel();
        let store = Self(Arc::new(Shared {
            table: Mutex::new(Table::default()),
            disk,
            limits,
            clock,
            arrived: Notify::new(),
            webhooks,
            worker_id: worker_id.into(),
        }));
        store.recover(records);
        Ok((store, due))
    }

    fn recover(&self, records: Vec<Record>) {
        if records.is_empty() {
            return;
        }
        let (mut requeued, mut given_up, total) = (0, 0, records.len());
        let mut table = self.lock();
        for mut record in records {
            table.seq = table.seq.max(record.seq + 1);
            if !record.status.is_terminal() {
                let poison = record.attempts >= self.0.limits.attempts;
                if poison || record.input.is_none() {
                    given_up += 1;
                    let text = format!(
                        "the service ended {} times while it ran this job",
                        record.attempts
                    );
                    record.end(Status::Failed, Outcome::plain_error(text), self.0.clock.now_ms());
                    self.later(Change::Put(Box::new(record.clone()), None));
                } else {
                    requeued += 1;
                    record.requeue();
                }
            }
            if record.status.is_terminal() && record.delivery == Delivery::Due {
                let _ = self.0.webhooks.send(record.id.clone());
            }
            table.insert(record);
        }
        tracing::info!(total, requeued, given_up, "jobs read from the state directory");
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn later(&self, change: Change) {
        if let Some(disk) = &self.0.disk {
            disk.write_later(change);
        }
    }

    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub fn is_durable(&self) -> bool {
        self.0.disk.is_some()
    }

    pub fn worker_id(&self) -> &str {
        &self.0.worker_id
    }

    /// Accepts a job: when this returns, it is stored as safely as this store can.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Disk`].
    pub async fn submit(&self, submission: Submission) -> Result<JobView, StoreError> {
        let prefix = if submission.sync { "sync-" } else { "" };
        let id = format!("{prefix}{}-u1", Uuid::new_v4());
        let (record, view) = {
            let mut table = self.lock();
            let queued = table.queue.len() + table.low.len();
            let size = submission.input.get().len();
            if queued >= self.0.limits.queued || !table.make_room(size, &self.0.limits, |c| self.later(c)) {
                counter!(names::QUEUE_REFUSED).increment(1);
                return Err(StoreError::Full { queued });
            }
            let seq = table.seq;
            table.seq += 1;
            let record = Record::new(id.clone(), seq, submission, self.0.clock.now_ms());
            let view = record.view(&self.0.worker_id);
            table.add_entry(record.clone());
            (record, view)
        };
        let this = self.clone();
        self.undisturbed(async move {
            if let Some(disk) = &this.0.disk {
                let input = record.input.clone();
                if let Err(error) = disk.write(Change::Put(Box::new(record), input)).await {
                    this.lock().drop_entry(&id);
                    return Err(error.into());
                }
            }
            this.lock().enqueue(&id);
            this.0.arrived.notify_one();
            Ok(view)
        })
        .await?
    }

    /// Runs to its end even if the caller, a client that hung up, goes away while the disk is written: a half-made
    /// change of state would leave the job stuck.
    async fn undisturbed<T: Send + 'static>(
        &self,
        change: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.0.disk.is_none() {
            return Ok(change.await);
        }
        let ended = tokio::spawn(change).await;
        ended.map_err(|_| StoreError::Disk(DiskError::Closed))
    }

    /// The next job, first come first served; waits for one.
    pub async fn next(&self) -> Taken {
        loop {
            let arrived = self.0.arrived.notified();
            if let Some(taken) = self.take() {
                return taken;
            }
            arrived.await;
        }
    }

    fn take(&self) -> Option<Taken> {
        let mut table = self.lock();
        loop {
            let id = match table.queue.pop_front() {
                Some(id) => id,
                None => table.low.pop_front()?,
            };
            let Some(entry) = table.jobs.get_mut(&id) else {
                continue;
            };
            let Some(input) = entry.record.input.clone() else {
                continue;
            };
            entry.taken = true;
            entry.record.attempts += 1;
            let taken = Taken {
                id,
                input,
                policy: entry.record.policy,
                s3: entry.record.s3.clone(),
                token: entry.token.clone(),
            };
            self.later(Change::Put(Box::new(entry.record.clone()), None));
            return Some(taken);
        }
    }

    /// The device took the job up.
    pub fn started(&self, id: &str) {
        let now = self.0.clock.now_ms();
        if let Some(entry) = self.lock().jobs.get_mut(id)
            && entry.record.status == Status::InQueue
            && !entry.ending
        {
            entry.record.status = Status::InProgress;
            entry.record.started_ms = Some(now);
            entry.bump();
        }
    }

    pub fn event(&self, id: &str, event: &Event) {
        if let Some(entry) = self.lock().jobs.get_mut(id)
            && !entry.record.status.is_terminal()
        {
            entry.record.note(event);
            entry.bump();
        }
    }

    /// Ends a job, once: on disk first, then for everybody to see. False if it had ended already.
    pub async fn end(&self, id: &str, status: Status, outcome: Outcome) -> bool {
        let (this, id) = (self.clone(), id.to_owned());
        self.undisturbed(async move { this.end_now(&id, status, outcome).await })
            .await
            .unwrap_or(false)
    }

    async fn end_now(&self, id: &str, status: Status, outcome: Outcome) -> bool {
        let now = self.0.clock.now_ms();
        let ended = self.lock().begin_end(id, status, outcome, now);
        match ended {
            Some(ended) => {
                self.settle(ended).await;
                true
            }
            None => false,
        }
    }

    /// Writes an end that has begun, and shows it.
    async fn settle(&self, ended: Record) {
        let id = &ended.id.clone();
        if let Some(disk) = &self.0.disk {
            // Shown to the client even if the disk fails: the result exists, and the writer has logged it.
            let _ = disk.write(Change::Put(Box::new(ended.clone()), None)).await;
        }
        let (due, status) = (ended.delivery == Delivery::Due, ended.status.as_str());
        let mut table = self.lock();
        table.finish(id, ended);
        table.trim(&self.0.limits, |c| self.later(c));
        drop(table);
        counter!(names::JOBS_ENDED, "status" => status).increment(1);
        if due {
            let _ = self.0.webhooks.send(id.clone());
        } else {
            self.release_input(id);
        }
    }

    /// Drops an input nobody can need again: only FAILED and TIMED_OUT jobs can be retried.
    fn release_input(&self, id: &str) {
        let mut table = self.lock();
        if let Some(entry) = table.jobs.get_mut(id)
            && matches!(entry.record.status, Status::Completed | Status::Cancelled)
            && entry.record.input.take().is_some()
        {
            if entry.record.s3.take().is_some() {
                self.later(Change::Put(Box::new(entry.record.clone()), None));
            }
            table.reweigh(id);
            self.later(Change::DropInput(id.to_owned()));
        }
    }

    /// What the webhook came to.
    pub fn delivered(&self, id: &str, delivery: Delivery) {
        let record = {
            let mut table = self.lock();
            let Some(entry) = table.jobs.get_mut(id) else {
                return;
            };
            entry.record.delivery = delivery;
            entry.record.clone()
        };
        self.later(Change::Put(Box::new(record), None));
        self.release_input(id);
    }
}
