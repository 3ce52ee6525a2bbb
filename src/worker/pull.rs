//! The worker itself: slots, taking, draining.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::inflight::Inflight;
use super::recent::Recent;
use super::take::{self, Answer, RawJob};
use super::timing::Backoff;
use super::wire::Wire;
use super::{Timings, WorkerEnv, stop};
use crate::contract::{ErrorCode, ScanError};
use crate::runpod::WorkerIdentity;
use crate::runtime::Executor;
use crate::telemetry::names;

/// Choices of the operator.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// Jobs in hand at a time. One GPU runs one; a second has its photo fetched meanwhile.
    pub concurrency: usize,
    /// Every job ends with the worker being replaced.
    pub refresh: bool,
    /// The final post of a streaming job repeats its chunks.
    pub aggregate: bool,
    /// Largest final post of `/run` jobs, and of `/runsync` jobs (their ids begin with `sync-`), bytes.
    pub max_result: usize,
    pub max_sync_result: usize,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        // Nine tenths of the platform's 10 and 20 MB.
        Self {
            concurrency: 1,
            refresh: false,
            aggregate: false,
            max_result: 9_000_000,
            max_sync_result: 18_000_000,
        }
    }
}

/// Why the worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// A job asked for a new worker.
    Refreshed,
    /// The device broke: a process started afresh may get another.
    DeviceLost,
}

/// A running worker; cheap to clone.
#[derive(Clone)]
pub struct Worker(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub(super) wire: Wire,
    pub(super) identity: WorkerIdentity,
    pub(super) executor: Executor,
    pub(super) options: WorkerOptions,
    pub(super) timings: Timings,
    jobs: Inflight,
    pub(super) recent: Recent,
    slots: Arc<Semaphore>,
    /// No more taking.
    pub(super) draining: CancellationToken,
    pub(super) refreshed: CancellationToken,
    /// The drain deadline is over: whatever is under way is dropped.
    cut: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker")
            .field("jobs", &self.0.jobs.len())
            .finish()
    }
}

impl Worker {
    /// # Errors
    /// `internal` if the TLS set-up is unusable.
    pub fn new(
        env: &WorkerEnv,
        executor: Executor,
        jobs: Inflight,
        options: WorkerOptions,
        timings: Timings,
    ) -> Result<Self, ScanError> {
        let draining = CancellationToken::new();
        let wire = Wire::new(env.urls.clone(), env.key.as_ref(), timings, draining.clone())
            .map_err(|e| ScanError::new(ErrorCode::Internal, "no usable TLS set-up").source(e))?;
        Ok(Self(Arc::new(Shared {
            wire,
            identity: env.identity(),
            executor,
            slots: Arc::new(Semaphore::new(options.concurrency.max(1))),
            options,
            timings,
            jobs,
            recent: Recent::default(),
            draining,
            refreshed: CancellationToken::new(),
            cut: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })))
    }

    /// Takes and runs jobs until `stop` resolves or a job asks for a new worker, then drains.
    pub async fn run(&self, stop: impl Future<Output = ()>) -> Ended {
        let ears = CancellationToken::new();
        let listening = tokio::spawn(stop::listen(
            self.0.wire.clone(),
            self.0.jobs.clone(),
            self.0.timings,
            ears.clone(),
        ));
        let mut taking = std::pin::pin!(self.take_loop());
        let mut lost = false;
        let taking_ended = tokio::select! {
            () = stop => false,
            _ = self.0.executor.device().lost() => {
                lost = true;
                false
            }
            () = &mut taking => true,
        };
        self.0.draining.cancel();
        let deadline = Instant::now() + self.0.timings.drain;
        // An answer that is arriving may hold a job: it is read to its end.
        if !taking_ended && timeout_at(deadline, taking).await.is_err() {
            tracing::error!("the drain deadline is over while an answer of the platform was arriving");
        }
        self.drain(deadline).await;
        ears.cancel();
        let _ = listening.await;
        if lost {
            Ended::DeviceLost
        } else if self.0.refreshed.is_cancelled() {
            Ended::Refreshed
        } else {
            Ended::Stopped
        }
    }

    async fn take_loop(&self) {
        let mut backoff = Backoff::new(self.0.timings.backoff_min, self.0.timings.backoff_max);
        while let Some(permits) = self.free_slots().await {
            let url = self.0.wire.urls.take(permits.len(), !self.0.jobs.is_empty());
            let begun = Instant::now();
            // Until an answer begins, and a little longer, draining may cut the poll; once it has begun it is read to
            // its end.
            let sent = tokio::select! {
                sent = self.0.wire.get(&url).send() => sent,
                () = self.0.wire.drained_for(self.0.timings.take_grace) => return,
            };
            let answer = take::answer(sent).await;
            let pause = match answer {
                Answer::Jobs(jobs, bad) => {
                    backoff.reset();
                    counted("job");
                    if bad > 0 {
                        tracing::error!(bad, "the platform sent elements without a usable id; skipped");
                    }
                    self.accept(jobs, permits);
                    continue;
                }
                Answer::Empty => {
                    backoff.reset();
                    counted("empty");
                    let held = begun.elapsed() >= self.0.timings.held;
                    if held {
                        Duration::ZERO
                    } else {
                        self.0.timings.empty_pause
                    }
                }
                Answer::Odd => {
                    counted("odd");
                    tracing::debug!("HTTP 400 from job-take; usual around a revival");
                    self.0.timings.odd_pause
                }
                Answer::Busy(wait) => {
                    counted("busy");
                    wait.unwrap_or(self.0.timings.busy_pause)
                }
                Answer::Wrong(why) => {
                    counted("wrong");
                    let wait = backoff.wait();
                    tracing::warn!(retry_in_ms = wait.as_millis() as u64, "no job taken: {why}");
                    wait
                }
            };
            drop(permits);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.0.draining.cancelled() => return,
            }
        }
    }

    /// At least one permit, and the others that are free; none once draining.
    async fn free_slots(&self) -> Option<Vec<OwnedSemaphorePermit>> {
        let first = tokio::select! {
            biased;
            () = self.0.draining.cancelled() => return None,
            permit = self.0.slots.clone().acquire_owned() => permit.ok()?,
        };
        let mut permits = vec![first];
        while let Ok(permit) = self.0.slots.clone().try_acquire_owned() {
            permits.push(permit);
        }
        if !self.0.wire.urls.has_batch() {
            permits.truncate(1);
        }
        Some(permits)
    }

    fn accept(&self, jobs: Vec<RawJob>, mut permits: Vec<OwnedSemaphorePermit>) {
        for job in jobs {
            // At the highest level, so that it names the job's lines at every level.
            let span = tracing::error_span!("job", job = job.id.as_str(), batch = job.batch_id.as_deref());
            let token = CancellationToken::new();
            let Some(place) = self.0.jobs.insert(&job.id, token.clone(), span.clone()) else {
                span.in_scope(|| tracing::warn!(job = job.id, "delivered again while it runs; ignored"));
                continue;
            };
            // More jobs than were asked for still run; they wait for the device.
            let permit = permits.pop();
            let this = self.clone();
            let id = job.id.clone();
            let work = async move {
                tokio::select! {
                    () = this.one(job, token) => {}
                    () = this.0.cut.cancelled() => {
                        tracing::error!(job = id, "dropped at the drain deadline, without a post");
                    }
                }
                drop(place);
                drop(permit);
            };
            self.0.tasks.spawn(work.instrument(span));
        }
    }

    async fn drain(&self, deadline: Instant) {
        self.0.tasks.close();
        let left = self.0.jobs.len();
        if left > 0 {
            tracing::info!(jobs = left, "draining");
        }
        if timeout_at(deadline, self.0.tasks.wait()).await.is_err() {
            self.0.jobs.cancel_all();
            self.0.cut.cancel();
            let _ = tokio::time::timeout(Duration::from_secs(1), self.0.tasks.wait()).await;
        }
    }
}

fn counted(result: &'static str) {
    counter!(names::WORKER_TAKES, "result" => result).increment(1);
}
