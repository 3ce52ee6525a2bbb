//! What is shown of jobs.

use std::time::Duration;

use serde::Serialize;

use super::Store;
use super::table::Entry;
use crate::jobs::record::{JobStream, JobView, StreamElement};
use crate::jobs::{Record, Status};

/// Jobs by how they stand. Those that ended are counted since the start of the process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobCounts {
    pub completed: u64,
    pub failed: u64,
    pub in_progress: usize,
    pub in_queue: usize,
    pub retried: u64,
}

impl Store {
    pub fn status(&self, id: &str) -> Option<Status> {
        self.lock().jobs.get(id).map(|e| e.record.status)
    }

    pub fn view(&self, id: &str) -> Option<JobView> {
        let table = self.lock();
        table.jobs.get(id).map(|e| e.record.view(&self.0.worker_id))
    }

    /// The record as it stands.
    pub fn record(&self, id: &str) -> Option<Record> {
        self.lock().jobs.get(id).map(|e| e.record.clone())
    }

    /// The view once the job has ended, or after `limit`, whichever comes first.
    pub async fn wait(&self, id: &str, limit: Duration) -> Option<JobView> {
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
    pub fn stream(&self, id: &str) -> Option<JobStream> {
        let mut table = self.lock();
        let entry = table.jobs.get_mut(id)?;
        let chunks = entry.record.chunks.drain(..);
        Some(JobStream {
            id: id.to_owned(),
            stream: chunks.map(|output| StreamElement { output }).collect(),
            status: entry.record.status,
        })
    }

    /// Jobs by how they stand.
    pub fn counts(&self) -> JobCounts {
        let table = self.lock();
        let running = table
            .jobs
            .values()
            .filter(|e| e.record.status == Status::InProgress)
            .count();
        let taken = |e: &&Entry| e.taken && e.record.status == Status::InQueue;
        JobCounts {
            completed: table.totals.completed,
            failed: table.totals.failed,
            in_progress: running,
            in_queue: table.queue.len() + table.low.len() + table.jobs.values().filter(taken).count(),
            retried: table.totals.retried,
        }
    }

    /// Jobs not yet ended.
    pub fn unfinished(&self) -> usize {
        let table = self.lock();
        table
            .jobs
            .values()
            .filter(|e| !e.record.status.is_terminal())
            .count()
    }
}
