//! What is shown of jobs.

use std::time::Duration;

use serde_json::{Value, json};

use super::Store;
use crate::jobs::{Record, Status};

impl Store {
    pub fn status(&self, id: &str) -> Option<Status> {
        self.lock().jobs.get(id).map(|e| e.record.status)
    }

    pub fn view(&self, id: &str) -> Option<Value> {
        let table = self.lock();
        table.jobs.get(id).map(|e| e.record.view(&self.0.worker_id))
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
        let mut table = self.lock();
        let entry = table.jobs.get_mut(id)?;
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
        let table = self.lock();
        let running = table
            .jobs
            .values()
            .filter(|e| e.record.status == Status::InProgress)
            .count();
        json!({
            "jobs": {
                "completed": table.totals.completed,
                "failed": table.totals.failed,
                "inProgress": running,
                "inQueue": table.queue.len() + table.low.len()
                    + table.in_hand().filter(|r| r.status == Status::InQueue).count(),
                "retried": table.totals.retried,
            },
        })
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
