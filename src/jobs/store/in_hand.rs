//! Jobs on their way from the queue to their end, and which of them is to blame if the process dies meanwhile.

use super::{ClaimedJob, Store};
use crate::contract::{ErrorCode, ScanError};
use crate::jobs::disk::{Change, Found};
use crate::jobs::{Record, Status};
use crate::runpod::{Outcome, WorkerIdentity};

/// Puts a job that was picked back into its queue unless it was handed out.
struct PutBack<'a> {
    store: &'a Store,
    id: Option<&'a str>,
}

impl Drop for PutBack<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.store.lock().put_back(id);
            self.store.0.arrived.notify_one();
        }
    }
}

impl Store {
    /// Takes in what was on disk. Whoever was in hand when the process died may have killed it: one alone is blamed,
    /// several become suspects and run alone.
    pub(super) fn recover(&self, found: Found) {
        if found.records.is_empty() {
            return;
        }
        let (mut requeued, mut given_up, total) = (0, 0, found.records.len());
        let in_hand = |r: &Record| r.in_hand && !r.status.is_terminal();
        let suspects = match found.stopped {
            true => 0,
            false => found.records.iter().filter(|&r| in_hand(r)).count(),
        };
        let mut table = self.lock();
        for mut record in found.records {
            table.seq = table.seq.max(record.seq + 1);
            if !record.status.is_terminal() {
                if in_hand(&record) {
                    record.suspect |= suspects > 0;
                    record.crashes += u32::from(suspects == 1);
                }
                record.requeue();
                if record.crashes >= self.0.limits.crashes || record.input.is_none() {
                    given_up += 1;
                    let text = format!("the service ended {} times while it ran this job", record.crashes);
                    let error = ScanError::new(ErrorCode::Internal, text)
                        .next_step("report it with the job's input; do not send it again");
                    let who = WorkerIdentity::new(&*self.0.worker_id);
                    record.end(
                        Status::Failed,
                        Outcome::from_error(&error, &who),
                        self.0.clock.now_ms(),
                    );
                } else {
                    requeued += 1;
                }
                self.later(Change::Put(Box::new(record.clone()), None));
            }
            if record.is_owed() {
                let _ = self.0.webhooks.send(record.id.clone());
            }
            table.insert(record);
        }
        tracing::info!(
            total,
            requeued,
            given_up,
            suspects,
            "jobs read from the state directory"
        );
    }

    /// The next job, first come first served; waits for one. That it is in hand is on disk before it is: a job that
    /// kills the process at once is known by it.
    pub async fn next(&self) -> ClaimedJob {
        loop {
            let arrived = self.0.arrived.notified();
            let Some((taken, record)) = self.take() else {
                arrived.await;
                continue;
            };
            let mut back = PutBack {
                store: self,
                id: Some(&taken.id),
            };
            match self.write(Change::Put(Box::new(record), None)).await {
                Ok(()) => {
                    back.id = None;
                    drop(back);
                    return taken;
                }
                Err(_) => {
                    drop(back);
                    self.until_well().await;
                }
            }
        }
    }

    fn take(&self) -> Option<(ClaimedJob, Record)> {
        let mut table = self.lock();
        loop {
            let id = table.pick()?;
            let Some(entry) = table.jobs.get_mut(&id) else {
                continue;
            };
            let Some(input) = entry.record.input.clone() else {
                continue;
            };
            entry.record.in_hand = true;
            let taken = ClaimedJob {
                id,
                input,
                policy: entry.record.policy,
                s3: entry.record.s3.clone(),
                token: entry.token.clone(),
            };
            return Some((taken, entry.record.clone()));
        }
    }
}
