//! The one place where a job's state changes.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use metrics::{counter, gauge};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::disk::{Change, Disk, DiskError};
use super::record::Delivery;
use super::{Clock, Policy, Record, Status, Submission};
use crate::runtime::{Event, Outcome};
use crate::telemetry::names;

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
    pub token: CancellationToken,
}

struct Entry {
    record: Record,
    /// Bumped at every change of state.
    changed: watch::Sender<u64>,
    /// Cancels the running engine.
    token: CancellationToken,
    /// Handed to the dispatcher.
    taken: bool,
    /// Its end is being written: no second end.
    ending: bool,
    weight: usize,
}

#[derive(Default)]
struct Inner {
    jobs: HashMap<String, Entry>,
    queue: VecDeque<String>,
    /// Low priority: taken when `queue` is empty.
    low: VecDeque<String>,
    ended: VecDeque<String>,
    bytes: usize,
    seq: u64,
    totals: Totals,
}

#[derive(Default, Clone, Copy)]
struct Totals {
    completed: u64,
    failed: u64,
    retried: u64,
}

struct Shared {
    inner: Mutex<Inner>,
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
        f.debug_struct("Store").field("health", &self.health()).finish()
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
            inner: Mutex::new(Inner::default()),
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
        let mut inner = self.lock();
        for mut record in records {
            inner.seq = inner.seq.max(record.seq + 1);
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
            inner.insert(record);
        }
        tracing::info!(total, requeued, given_up, "jobs read from the state directory");
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn later(&self, change: Change) {
        if let Some(disk) = &self.0.disk {
            disk.write_later(change);
        }
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
    pub async fn submit(&self, submission: Submission) -> Result<Value, StoreError> {
        let prefix = if submission.sync { "sync-" } else { "" };
        let id = format!("{prefix}{}-u1", Uuid::new_v4());
        let (record, view) = {
            let mut inner = self.lock();
            let queued = inner.queue.len() + inner.low.len();
            let size = submission.input.get().len();
            if queued >= self.0.limits.queued || !inner.make_room(size, &self.0.limits, |c| self.later(c)) {
                counter!(names::QUEUE_REFUSED).increment(1);
                return Err(StoreError::Full { queued });
            }
            let seq = inner.seq;
            inner.seq += 1;
            let record = Record::new(id.clone(), seq, submission, self.0.clock.now_ms());
            let view = record.view(&self.0.worker_id);
            inner.add_entry(record.clone());
            (record, view)
        };
        if let Some(disk) = &self.0.disk {
            let input = record.input.clone();
            if let Err(error) = disk.write(Change::Put(Box::new(record), input)).await {
                self.lock().drop_entry(&id);
                return Err(error.into());
            }
        }
        self.lock().enqueue(&id);
        self.0.arrived.notify_one();
        Ok(view)
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
        let mut inner = self.lock();
        loop {
            let id = match inner.queue.pop_front() {
                Some(id) => id,
                None => inner.low.pop_front()?,
            };
            let Some(entry) = inner.jobs.get_mut(&id) else {
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
        let ended = {
            let mut inner = self.lock();
            let Some(entry) = inner.jobs.get_mut(id) else {
                return false;
            };
            if entry.ending || entry.record.status.is_terminal() {
                return false;
            }
            entry.ending = true;
            entry.token.cancel();
            let mut record = entry.record.clone();
            record.end(status, outcome, self.0.clock.now_ms());
            record
        };
        if let Some(disk) = &self.0.disk {
            // Shown to the client even if the disk fails: the result exists, and the writer has logged it.
            let _ = disk.write(Change::Put(Box::new(ended.clone()), None)).await;
        }
        let due = ended.delivery == Delivery::Due;
        let mut inner = self.lock();
        inner.finish(id, ended);
        inner.trim(&self.0.limits, |c| self.later(c));
        drop(inner);
        counter!(names::JOBS_ENDED, "status" => status.as_str()).increment(1);
        if due {
            let _ = self.0.webhooks.send(id.to_owned());
        } else {
            self.release_input(id);
        }
        true
    }

    /// Drops an input nobody can need again: only FAILED and TIMED_OUT jobs can be retried.
    fn release_input(&self, id: &str) {
        let mut inner = self.lock();
        if let Some(entry) = inner.jobs.get_mut(id)
            && matches!(entry.record.status, Status::Completed | Status::Cancelled)
            && entry.record.input.take().is_some()
        {
            inner.reweigh(id);
            self.later(Change::DropInput(id.to_owned()));
        }
    }

    /// Queued: cancelled at once. Running: told to stop, and its result will not count. Ended: stays as it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`].
    pub async fn cancel(&self, id: &str) -> Result<Status, StoreError> {
        {
            let mut inner = self.lock();
            let entry = inner.jobs.get(id).ok_or(StoreError::NotFound)?;
            if entry.record.status.is_terminal() {
                return Ok(entry.record.status);
            }
            inner.unqueue(id);
        }
        self.end(id, Status::Cancelled, Outcome::default()).await;
        self.status(id).ok_or(StoreError::NotFound)
    }

    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::NotRetryable`], [`StoreError::Disk`].
    pub async fn retry(&self, id: &str) -> Result<Value, StoreError> {
        let (record, view) = {
            let mut inner = self.lock();
            let entry = inner.jobs.get_mut(id).ok_or(StoreError::NotFound)?;
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
            inner.ended.retain(|other| other != id);
            inner.totals.retried += 1;
            both
        };
        if let Some(disk) = &self.0.disk {
            disk.write(Change::Put(Box::new(record), None)).await?;
        }
        self.lock().enqueue(id);
        self.0.arrived.notify_one();
        Ok(view)
    }

    /// Cancels every queued job; the number of them.
    pub async fn purge(&self) -> usize {
        let ids: Vec<String> = {
            let mut inner = self.lock();
            let mut ids: Vec<String> = inner.queue.drain(..).collect();
            ids.extend(inner.low.drain(..));
            ids
        };
        let mut removed = 0;
        for id in ids {
            removed += usize::from(self.end(&id, Status::Cancelled, Outcome::default()).await);
        }
        removed
    }

    pub fn status(&self, id: &str) -> Option<Status> {
        self.lock().jobs.get(id).map(|e| e.record.status)
    }

    pub fn view(&self, id: &str) -> Option<Value> {
        let inner = self.lock();
        inner.jobs.get(id).map(|e| e.record.view(&self.0.worker_id))
    }

    /// The record as it stands.
    pub fn record(&self, id: &str) -> Option<Record> {
        self.lock().jobs.get(id).map(|e| e.record.clone())
    }

    /// The view once the job has ended, or after `limit`, whichever comes first.
    pub async fn wait(&self, id: &str, limit: Duration) -> Option<Value> {
        let mut changed = self.lock().jobs.get(id)?.changed.subscribe();
        let ended = async {
            while !self.status(id).is_some_and(Status::is_terminal) {
                if changed.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(limit, ended).await;
        self.view(id)
    }

    /// New stream elements since the last call, with the status. Elements go out before or with a terminal status.
    pub fn stream(&self, id: &str) -> Option<Value> {
        let mut inner = self.lock();
        let entry = inner.jobs.get_mut(id)?;
        let chunks: Vec<Value> = entry
            .record
            .chunks
            .drain(..)
            .map(|c| json!({ "output": c }))
            .collect();
        Some(json!({"id": id, "status": entry.record.status, "stream": chunks}))
    }

    /// The body of `/health`.
    pub fn health(&self) -> Value {
        let inner = self.lock();
        let running = inner
            .jobs
            .values()
            .filter(|e| e.record.status == Status::InProgress)
            .count();
        json!({
            "jobs": {
                "completed": inner.totals.completed,
                "failed": inner.totals.failed,
                "inProgress": running,
                "inQueue": inner.queue.len() + inner.low.len()
                    + inner.jobs.values().filter(|e| e.taken && e.record.status == Status::InQueue).count(),
                "retried": inner.totals.retried,
            },
        })
    }

    /// Jobs not yet ended.
    pub fn unfinished(&self) -> usize {
        let inner = self.lock();
        inner
            .jobs
            .values()
            .filter(|e| !e.record.status.is_terminal())
            .count()
    }

    /// What the webhook came to.
    pub fn delivered(&self, id: &str, delivery: Delivery) {
        let record = {
            let mut inner = self.lock();
            let Some(entry) = inner.jobs.get_mut(id) else {
                return;
            };
            entry.record.delivery = delivery;
            entry.record.clone()
        };
        self.later(Change::Put(Box::new(record), None));
        self.release_input(id);
    }

    /// Removes what has outlived its ttl or retention; call every second or so.
    pub fn sweep(&self) {
        let now = self.0.clock.now_ms();
        let mut inner = self.lock();
        let limits = &self.0.limits;
        let over: Vec<String> = inner
            .jobs
            .values()
            .filter(|e| !e.ending || e.record.status.is_terminal())
            .filter(|e| e.record.is_over(now, limits))
            .map(|e| e.record.id.clone())
            .collect();
        for id in over {
            inner.drop_entry(&id);
            self.later(Change::Remove(id));
        }
        inner.forget_dropped();
        gauge!(names::JOBS_STORED).set(inner.jobs.len() as f64);
    }
}

impl Entry {
    fn bump(&self) {
        self.changed.send_modify(|version| *version += 1);
    }
}

impl Record {
    fn is_over(&self, now_ms: u64, limits: &Limits) -> bool {
        if now_ms >= self.created_ms.saturating_add(self.policy.ttl) {
            return true;
        }
        let keep = if self.sync {
            limits.sync_retention
        } else {
            limits.retention
        };
        self.ended_ms
            .is_some_and(|end| now_ms >= end.saturating_add(keep.as_millis() as u64))
    }
}

impl Inner {
    fn add_entry(&mut self, record: Record) {
        let weight = record.weight();
        self.bytes += weight;
        let entry = Entry {
            changed: watch::channel(0).0,
            token: CancellationToken::new(),
            taken: false,
            ending: false,
            weight,
            record,
        };
        self.jobs.insert(entry.record.id.clone(), entry);
    }

    fn insert(&mut self, record: Record) {
        let (id, terminal) = (record.id.clone(), record.status.is_terminal());
        self.add_entry(record);
        if terminal {
            self.ended.push_back(id);
        } else {
            self.enqueue(&id);
        }
    }

    fn enqueue(&mut self, id: &str) {
        let Some(entry) = self.jobs.get(id) else {
            return;
        };
        let low = entry.record.policy.low_priority;
        let queue = if low { &mut self.low } else { &mut self.queue };
        queue.push_back(id.to_owned());
    }

    fn unqueue(&mut self, id: &str) {
        self.queue.retain(|other| other != id);
        self.low.retain(|other| other != id);
    }

    fn reweigh(&mut self, id: &str) {
        if let Some(entry) = self.jobs.get_mut(id) {
            let weight = entry.record.weight();
            self.bytes = self.bytes + weight - entry.weight;
            entry.weight = weight;
        }
    }

    fn finish(&mut self, id: &str, mut ended: Record) {
        let Some(entry) = self.jobs.get_mut(id) else {
            return;
        };
        // Stream elements may have come, or been read, while the end was being written.
        ended.chunks = std::mem::take(&mut entry.record.chunks);
        entry.record = ended;
        entry.bump();
        match entry.record.status {
            Status::Completed => self.totals.completed += 1,
            Status::Failed | Status::TimedOut => self.totals.failed += 1,
            Status::InQueue | Status::InProgress | Status::Cancelled => {}
        }
        self.ended.push_back(id.to_owned());
        self.reweigh(id);
    }

    /// Leaves the id in the lists; see [`Self::forget_dropped`].
    fn drop_entry(&mut self, id: &str) {
        if let Some(entry) = self.jobs.remove(id) {
            entry.token.cancel();
            self.bytes -= entry.weight;
        }
    }

    fn forget_dropped(&mut self) {
        let jobs = &self.jobs;
        for list in [&mut self.queue, &mut self.low, &mut self.ended] {
            list.retain(|id| jobs.contains_key(id));
        }
    }

    fn make_room(&mut self, bytes: usize, limits: &Limits, mut log: impl FnMut(Change)) -> bool {
        while self.bytes + bytes > limits.bytes {
            match self.ended.pop_front() {
                Some(oldest) => {
                    self.drop_entry(&oldest);
                    log(Change::Remove(oldest));
                }
                None => return false,
            }
        }
        true
    }

    fn trim(&mut self, limits: &Limits, mut log: impl FnMut(Change)) {
        while self.ended.len() > limits.kept {
            if let Some(oldest) = self.ended.pop_front() {
                self.drop_entry(&oldest);
                log(Change::Remove(oldest));
            }
        }
    }
}
