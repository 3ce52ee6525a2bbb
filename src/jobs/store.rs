//! The one place where a job's state changes.

mod commands;
mod in_hand;
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

use super::disk::{Change, Disk, DiskError, Found};
use super::record::{Delivery, JobView};
use super::{Clock, Policy, Record, Status, Submission};
use crate::runpod::Outcome;
use crate::runtime::Event;
use crate::s3::S3Keys;
use crate::telemetry::names;
use table::Table;
pub use views::JobCounts;

/// For the note that the process was told to stop; a busy disk takes tens of milliseconds.
const NOTE_PATIENCE: Duration = Duration::from_secs(5);

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
    /// Deaths of the process with a job alone in hand before it is failed as one that kills the process.
    pub crashes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queued: 1000,
            bytes: 256 << 20,
            kept: 10_000,
            retention: Duration::from_secs(30 * 60),
            sync_retention: Duration::from_secs(60),
            crashes: 3,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("{queued} jobs are waiting already")]
    Full { queued: usize },
    #[error("the jobs already here fill the memory set aside for them")]
    NoRoom,
    #[error("no such job")]
    NotFound,
    #[error("only a FAILED or TIMED_OUT job can be retried; this one is {}", .0.as_str())]
    NotRetryable(Status),
    #[error("the job could not be stored: {0}")]
    Disk(#[from] DiskError),
}

/// A job taken from the queue.
#[derive(Debug)]
pub struct ClaimedJob {
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
        let disk = dir.map(|dir| Disk::open(dir, false)).transpose()?;
        Ok(Self::over(disk, limits, clock, worker_id))
    }

    /// Over a disk that was opened before; none keeps jobs in memory only.
    pub fn over(
        disk: Option<(Disk, Found)>,
        limits: Limits,
        clock: Clock,
        worker_id: impl Into<String>,
    ) -> (Self, mpsc::UnboundedReceiver<String>) {
        if disk.is_none() {
            tracing::warn!(
                "no --state-dir: accepted jobs live in memory and are lost when this process ends"
            );
        }
        let (disk, found) = disk.map_or((None, Found::default()), |(disk, found)| (Some(disk), found));
        if let Some(last_ms) = found.last_ms {
            clock.resume(last_ms);
        }
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
        store.recover(found);
        store.later(Change::Stopping(false));
        (store, due)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn later(&self, change: Change) {
        if let Some(disk) = &self.0.disk {
            disk.write_later(change, self.0.clock.now_ms());
        }
    }

    /// Returns when the change is on disk, where there is one.
    async fn write(&self, change: Change) -> Result<(), DiskError> {
        match &self.0.disk {
            Some(disk) => disk.write(change, self.0.clock.now_ms()).await,
            None => Ok(()),
        }
    }

    async fn until_well(&self) {
        if let Some(disk) = &self.0.disk {
            disk.until_well().await;
        }
    }

    /// Changes can be written.
    pub fn is_well(&self) -> bool {
        self.0.disk.as_ref().is_none_or(Disk::is_well)
    }

    /// The process was told to stop: whatever is in hand from now on is not why it ends. Returns when that is on disk, or when the
    /// disk takes too long.
    pub async fn note_stop(&self) {
        let _ = tokio::time::timeout(NOTE_PATIENCE, self.write(Change::Stopping(true))).await;
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
            let seq = table.seq;
            let record = Record::new(id.clone(), seq, submission, self.0.clock.now_ms());
            let full = queued >= self.0.limits.queued;
            if full || !table.make_room(record.weight(), &self.0.limits, |c| self.later(c)) {
                counter!(names::QUEUE_REFUSED).increment(1);
                return Err(if full {
                    StoreError::Full { queued }
                } else {
                    StoreError::NoRoom
                });
            }
            table.seq += 1;
            let view = record.view(&self.0.worker_id);
            table.add_entry(record.clone());
            (record, view)
        };
        let this = self.clone();
        self.undisturbed(async move {
            let input = record.input.clone();
            if let Err(error) = this.write(Change::Put(Box::new(record), input)).await {
                this.lock().drop_entry(&id);
                return Err(error.into());
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

    /// Writes an end that has begun, and shows it. A result that is not on disk has not ended the job: once told, it
    /// could be taken back by a crash.
    async fn settle(&self, ended: Record) {
        let id = &ended.id.clone();
        while self
            .write(Change::Put(Box::new(ended.clone()), None))
            .await
            .is_err()
        {
            self.until_well().await;
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
        // A job that waits for this one to be out of hand.
        self.0.arrived.notify_one();
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
