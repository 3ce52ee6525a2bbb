//! From the store's queue to the device and back.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::store::ClaimedJob;
use super::{Status, Store};
use crate::contract::{ErrorCode, ScanError};
use crate::runpod::{Outcome, WorkerIdentity};
use crate::runtime::context::Limit;
use crate::runtime::{Admission, Executor, JobContext, json};

/// Jobs whose photo is fetched at a time, beside those in hand. Each holds little: how many photos are on their way at
/// once is the intake's to say.
const FETCHING: usize = 64;

struct Slots {
    all: Arc<Semaphore>,
    fetching: Arc<Semaphore>,
}

/// Feeds the device from the store.
#[derive(Debug, Clone)]
pub struct Dispatcher {
    pub store: Store,
    pub executor: Executor,
    pub identity: WorkerIdentity,
    /// Jobs in hand at a time: one runs, the others have their photos fetched meanwhile.
    pub in_hand: usize,
}

impl Dispatcher {
    /// Runs until `stop`; then waits up to `grace` for the jobs in hand. Those still running after it are left to the
    /// store: a durable one queues them again at the next start.
    pub async fn run(self, stop: CancellationToken, grace: Duration) {
        let slots = Arc::new(Semaphore::new(self.in_hand.max(1)));
        let fetching = Arc::new(Semaphore::new(FETCHING));
        let mut tasks = JoinSet::new();
        let sweeper = tokio::spawn(sweep(self.store.clone()));
        loop {
            let slot = tokio::select! {
                slot = slots.clone().acquire_owned() => slot,
                () = stop.cancelled() => break,
            };
            let taken = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                taken = self.store.next() => taken,
            };
            while tasks.try_join_next().is_some() {}
            let this = self.clone();
            let slots = Slots {
                all: slots.clone(),
                fetching: fetching.clone(),
            };
            tasks.spawn(async move { this.one(taken, slot.ok(), slots).await });
        }
        sweeper.abort();
        let rest = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, rest).await.is_err() {
            tracing::warn!(
                jobs = self.store.unfinished(),
                "drain time is over; jobs left unfinished"
            );
        }
    }

    /// `slot` is given back while the job's photo is fetched, and taken again after it.
    async fn one(&self, taken: ClaimedJob, mut slot: Option<OwnedSemaphorePermit>, slots: Slots) {
        let ClaimedJob {
            id,
            input,
            policy,
            s3,
            token,
        } = taken;
        let bucket = match self.executor.buckets().of_job(s3.as_ref()) {
            Ok(bucket) => bucket,
            Err(error) => {
                let (status, outcome) = self.conclude(&id, Err(error));
                self.store.end(&id, status, outcome).await;
                return;
            }
        };
        let (on_start, on_event) = (self.store.clone(), self.store.clone());
        let (start_id, event_id) = (id.clone(), id.clone());
        let ctx = JobContext::of(id.clone())
            .token(token)
            .bucket(bucket)
            .limit(Limit::AfterStart(Duration::from_millis(policy.execution_timeout)))
            .on_start(move || on_start.started(&start_id))
            .on_event(move |event| on_event.event(&event_id, &event))
            .build();
        let result = match json::parse(input.get().as_bytes()).and_then(|v| self.executor.parse(v)) {
            Ok(job) => {
                let elsewhere = job
                    .is_remote()
                    .then(|| slots.fetching.try_acquire_owned().ok())
                    .flatten();
                if elsewhere.is_some() {
                    slot = None;
                }
                let turn = async {
                    if slot.is_none() {
                        slot = slots.all.acquire_owned().await.ok();
                    }
                    drop(elsewhere);
                };
                self.executor
                    .run_after_fetch(job, ctx, Admission::Wait, turn)
                    .await
            }
            Err(error) => Err(error),
        };
        if matches!(&result, Err(error) if error.code == ErrorCode::Draining) && self.store.is_durable() {
            // Never begun: the next start runs it.
            tracing::info!(job = id, "left for the next start");
            return;
        }
        let (status, outcome) = self.conclude(&id, result);
        if self.store.end(&id, status, outcome).await {
            tracing::info!(job = id, status = status.as_str(), "job ended");
        }
    }

    fn conclude(&self, id: &str, result: Result<Value, ScanError>) -> (Status, Outcome) {
        match result {
            Ok(value) => {
                let outcome = Outcome::from_return(value);
                let status = if outcome.succeeded() {
                    Status::Completed
                } else {
                    Status::Failed
                };
                (status, outcome)
            }
            Err(error) => {
                let status = match error.code {
                    ErrorCode::Cancelled => Status::Cancelled,
                    ErrorCode::DeadlineExceeded => Status::TimedOut,
                    _ => Status::Failed,
                };
                if status == Status::Failed {
                    tracing::warn!(job = id, code = error.code.as_str(), "{}", error.causes());
                }
                (status, Outcome::from_error(&error, &self.identity))
            }
        }
    }
}

async fn sweep(store: Store) {
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tick.tick().await;
        store.sweep();
    }
}
