//! The store's state in memory: records, the two queues, what is kept of ended jobs. No locking, no waiting.

use std::collections::{HashMap, VecDeque};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Limits;
use crate::jobs::disk::Change;
use crate::jobs::{Record, Status};
use crate::runpod::Outcome;

pub(super) struct Entry {
    pub(super) record: Record,
    /// Bumped at every change of state.
    pub(super) changed: watch::Sender<u64>,
    /// Cancels the running engine.
    pub(super) token: CancellationToken,
    /// Its end is being written: no second end.
    pub(super) ending: bool,
    pub(super) weight: usize,
}

#[derive(Default)]
pub(super) struct Table {
    pub(super) jobs: HashMap<String, Entry>,
    pub(super) queue: VecDeque<String>,
    /// Low priority: taken when `queue` is empty.
    pub(super) low: VecDeque<String>,
    pub(super) ended: VecDeque<String>,
    pub(super) bytes: usize,
    pub(super) seq: u64,
    pub(super) totals: Totals,
}

#[derive(Default, Clone, Copy)]
pub(super) struct Totals {
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) retried: u64,
}

impl Entry {
    pub(super) fn bump(&self) {
        self.changed.send_modify(|version| *version += 1);
    }
}

impl Record {
    pub(super) fn is_over(&self, now_ms: u64, limits: &Limits) -> bool {
        if self.is_owed() {
            return false;
        }
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

impl Table {
    pub(super) fn add_entry(&mut self, record: Record) {
        let weight = record.weight();
        self.bytes += weight;
        let entry = Entry {
            changed: watch::channel(0).0,
            token: CancellationToken::new(),
            ending: false,
            weight,
            record,
        };
        self.jobs.insert(entry.record.id.clone(), entry);
    }

    pub(super) fn insert(&mut self, record: Record) {
        let (id, terminal) = (record.id.clone(), record.status.is_terminal());
        self.add_entry(record);
        if terminal {
            self.ended.push_back(id);
        } else {
            self.enqueue(&id);
        }
    }

    pub(super) fn enqueue(&mut self, id: &str) {
        let Some(entry) = self.jobs.get(id) else {
            return;
        };
        let low = entry.record.policy.low_priority;
        let queue = if low { &mut self.low } else { &mut self.queue };
        queue.push_back(id.to_owned());
    }

    pub(super) fn unqueue(&mut self, id: &str) {
        self.queue.retain(|other| other != id);
        self.low.retain(|other| other != id);
    }

    pub(super) fn reweigh(&mut self, id: &str) {
        if let Some(entry) = self.jobs.get_mut(id) {
            let weight = entry.record.weight();
            self.bytes = self.bytes + weight - entry.weight;
            entry.weight = weight;
        }
    }

    /// Marks a job as ending and returns the record of its end; none if it has ended or is ending already.
    pub(super) fn begin_end(
        &mut self,
        id: &str,
        status: Status,
        outcome: Outcome,
        now_ms: u64,
    ) -> Option<Record> {
        let entry = self.jobs.get_mut(id)?;
        if entry.ending || entry.record.status.is_terminal() {
            return None;
        }
        entry.ending = true;
        entry.token.cancel();
        let mut record = entry.record.clone();
        record.end(status, outcome, now_ms);
        Some(record)
    }

    pub(super) fn finish(&mut self, id: &str, mut ended: Record) {
        let Some(entry) = self.jobs.get_mut(id) else {
            return;
        };
        // Stream elements may have come, or been read, while the end was being written.
        ended.chunks = std::mem::take(&mut entry.record.chunks);
        entry.record = ended;
        entry.ending = false;
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
    pub(super) fn drop_entry(&mut self, id: &str) {
        if let Some(entry) = self.jobs.remove(id) {
            entry.token.cancel();
            self.bytes -= entry.weight;
        }
    }

    pub(super) fn forget_dropped(&mut self) {
        let jobs = &self.jobs;
        for list in [&mut self.queue, &mut self.low, &mut self.ended] {
            list.retain(|id| jobs.contains_key(id));
        }
    }

    pub(super) fn make_room(&mut self, bytes: usize, limits: &Limits, mut log: impl FnMut(Change)) -> bool {
        while self.bytes + bytes > limits.bytes {
            if !self.drop_oldest(&mut log) {
                return false;
            }
        }
        true
    }

    pub(super) fn trim(&mut self, limits: &Limits, mut log: impl FnMut(Change)) {
        while self.ended.len() > limits.kept && self.drop_oldest(&mut log) {}
    }

    /// Forgets the job that ended first; one whose webhook is still due is not forgotten. False if there is none.
    fn drop_oldest(&mut self, log: &mut impl FnMut(Change)) -> bool {
        let jobs = &self.jobs;
        let owed = |id: &String| jobs.get(id).is_some_and(|e| e.record.is_owed());
        let oldest = self.ended.iter().position(|id| !owed(id));
        let Some(id) = oldest.and_then(|at| self.ended.remove(at)) else {
            return false;
        };
        self.drop_entry(&id);
        log(Change::Remove(id));
        true
    }

    /// Jobs handed out and not yet ended.
    pub(super) fn in_hand(&self) -> impl Iterator<Item = &Record> {
        let records = self.jobs.values().map(|e| &e.record);
        records.filter(|r| r.in_hand && !r.status.is_terminal())
    }

    /// The id to hand out next. A suspect runs alone; while one runs, nothing else does.
    pub(super) fn pick(&mut self) -> Option<String> {
        loop {
            let next = self.queue.front().or_else(|| self.low.front())?;
            let Some(entry) = self.jobs.get(next) else {
                self.drop_front();
                continue;
            };
            if entry.record.input.is_none() {
                self.drop_front();
                continue;
            }
            let mut others = self.in_hand();
            let wait = if entry.record.suspect {
                others.next().is_some()
            } else {
                others.any(|r| r.suspect)
            };
            drop(others);
            return if wait { None } else { self.drop_front() };
        }
    }

    fn drop_front(&mut self) -> Option<String> {
        self.queue.pop_front().or_else(|| self.low.pop_front())
    }

    /// To the front of its queue: it was picked, but could not be handed out.
    pub(super) fn put_back(&mut self, id: &str) {
        if let Some(entry) = self.jobs.get_mut(id)
            && !entry.record.status.is_terminal()
            && !entry.ending
        {
            entry.record.in_hand = false;
            let low = entry.record.policy.low_priority;
            let queue = if low { &mut self.low } else { &mut self.queue };
            queue.push_front(id.to_owned());
        }
    }
}
