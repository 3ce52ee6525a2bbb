//! The worker itself: slots, taking, running, posting, draining.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use metrics::counter;
use reqwest::Response;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::inflight::Inflight;
use super::outbox::Outbox;
use super::recent::{Recent, fingerprint};
use super::take::{self, Answer, RawJob};
use super::timing::Backoff;
use super::wire::{Delivered, FinalPost, Wire};
use super::{Timings, WorkerEnv, stop};
use crate::bucket::{Bucket, S3Keys};
use crate::contract::{ErrorCode, ScanError};
use crate::runtime::{Admission, Executor, JobContext, Outcome, WorkerIdentity};
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
}

/// A running worker; cheap to clone.
#[derive(Clone)]
pub struct Worker(Arc<Shared>);

struct Shared {
    wire: Wire,
    identity: WorkerIdentity,
    executor: Executor,
    options: WorkerOptions,
    timings: Timings,
    jobs: Inflight,
    recent: Recent,
    slots: Arc<Semaphore>,
    /// No more taking.
    draining: CancellationToken,
    refreshed: CancellationToken,
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
        let mut identity = WorkerIdentity::new(env.worker_id.clone());
        identity.hostname = env.hostname.clone();
        Ok(Self(Arc::new(Shared {
            wire,
            identity,
            executor,
            slots: Arc::new(Semaphore::new(options.concurrency.max(1))),
            options,
            timings,
            jobs,
            recent: Recent::default(),
            draining,
            refreshed: CancellationToken::new(),
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
        tokio::select! {
            () = stop => {}
            () = self.take_loop() => {}
        }
        self.0.draining.cancel();
        self.drain().await;
        ears.cancel();
        let _ = listening.await;
        if self.0.refreshed.is_cancelled() {
            Ended::Refreshed
        } else {
            Ended::Stopped
        }
    }

    /// One job, only to be told why nothing works: its caller sees an explanation instead of an endless queue.
    pub async fn fail_one(&self, error: &ScanError) {
        let url = self.0.wire.urls.take(1, false);
        let limit = self.0.timings.last_take;
        let taken = tokio::time::timeout(limit, async {
            let response = self.0.wire.get(&url).send().await.ok()?;
            self.read(response).await
        });
        let Ok(Some(Answer::Jobs(jobs, _))) = taken.await else {
            return;
        };
        let text = json!({
            "event": "prestart_failed",
            "error_type": error.code,
            "error_message": error.to_string(),
            "error_traceback": crate::runtime::outcome::causes(error),
            "worker_id": self.0.identity.worker_id,
            "runpod_version": self.0.identity.version,
        })
        .to_string();
        for job in jobs {
            let post = Arc::new(FinalPost {
                body: Outcome::plain_error(text.clone()).to_post(false).to_string(),
                is_stream: false,
            });
            self.0.wire.finish(&job.id, &post).await;
        }
    }

    async fn take_loop(&self) {
        let mut backoff = Backoff::new(self.0.timings.backoff_min, self.0.timings.backoff_max);
        while let Some(permits) = self.free_slots().await {
            let url = self.0.wire.urls.take(permits.len(), !self.0.jobs.is_empty());
            let begun = Instant::now();
            // Until an answer begins, draining may cut the poll; once it has begun it is read to its end.
            let sent = tokio::select! {
                sent = self.0.wire.get(&url).send() => sent,
                () = self.0.draining.cancelled() => return,
            };
            let answer = match sent {
                Ok(response) => self
                    .read(response)
                    .await
                    .unwrap_or(Answer::Wrong("the answer broke off".into())),
                Err(error) if error.is_timeout() && !error.is_connect() => Answer::Empty,
                Err(error) => Answer::Wrong(describe(error)),
            };
            let pause = match answer {
                Answer::Jobs(jobs, bad) => {
                    backoff.reset();
                    counted("job");
                    if bad > 0 {
                        tracing::error!(bad, "the platform sent elements without a usable id; skipped");
                    }
                    self.accept(jobs, permits).await;
                    continue;
                }
                Answer::Empty => {
                    backoff.reset();
                    counted("empty");
                    let held = begun.elapsed() >= self.0.timings.held;
                    if held {
                        std::time::Duration::ZERO
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

    async fn read(&self, response: Response) -> Option<Answer> {
        let status = response.status().as_u16();
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|v| v.to_str().ok())
            .map(str::to_owned);
        let body = response.bytes().await.ok()?;
        Some(take::read(status, retry_after.as_deref(), &body))
    }

    async fn accept(&self, jobs: Vec<RawJob>, mut permits: Vec<OwnedSemaphorePermit>) {
        for job in jobs {
            let token = CancellationToken::new();
            if !self.0.jobs.insert(&job.id, token.clone()) {
                tracing::warn!(job = job.id, "delivered again while it runs; ignored");
                continue;
            }
            // More jobs than were asked for still run; they wait for the device.
            let permit = permits.pop();
            let this = self.clone();
            self.0.tasks.spawn(async move {
                this.one(job, token).await;
                drop(permit);
            });
        }
    }

    async fn one(&self, job: RawJob, token: CancellationToken) {
        let id = job.id.clone();
        match &job.batch_id {
            Some(batch) => tracing::info!(job = id, "[batchId={batch}] Started."),
            None => tracing::info!(job = id, "Started."),
        }
        let ended = match job.input {
            None => {
                let outcome = Outcome::plain_error("Job has missing field(s): input.");
                self.deliver(&id, None, outcome, false, None).await;
                "failed"
            }
            Some(input) => self.run_job(&id, input, job.s3, token).await,
        };
        counter!(names::JOBS_ENDED, "status" => ended).increment(1);
        self.0.jobs.remove(&id);
        tracing::info!(job = id, ended, "Finished.");
    }

    async fn run_job(
        &self,
        id: &str,
        input: Value,
        s3: Option<Value>,
        token: CancellationToken,
    ) -> &'static str {
        let print = fingerprint(&input);
        if let Some(known) = self.0.recent.find(id, &print) {
            tracing::info!(job = id, "delivered again; answered from memory");
            self.0.wire.finish(id, &known).await;
            return "repeated";
        }
        let keys = S3Keys::of_job(s3);
        let bucket = match keys.and_then(|keys| self.0.executor.buckets().of_job(keys.as_ref())) {
            Ok(bucket) => bucket,
            Err(error) => {
                tracing::error!(job = id, code = error.code.as_str(), "{error}");
                let outcome = Outcome::from_error(&error, &self.0.identity);
                self.deliver(id, None, outcome, false, None).await;
                return "failed";
            }
        };
        let keep_all = self.0.options.aggregate || !self.0.wire.urls.has_stream();
        // The outbox may end the job by itself (an error chunk); only the platform's word means silence.
        let inner = token.child_token();
        let outbox = Outbox::open(
            self.0.wire.clone(),
            id.to_owned(),
            self.0.timings,
            keep_all,
            inner.clone(),
        );
        let sender = outbox.sender();
        let ctx = JobContext::of(id)
            .token(inner)
            .bucket(bucket.clone())
            .on_event(move |event| sender.say(&event))
            .build();
        let result = match self.0.executor.parse(input) {
            Ok(job) => self.0.executor.run(job, ctx, Admission::Wait).await,
            Err(error) => Err(error),
        };
        if token.is_cancelled() {
            outbox.abandon();
            return "stopped";
        }
        let mut outcome = match result {
            Ok(value) => Outcome::from_return(value),
            Err(error) => {
                tracing::error!(
                    job = id,
                    code = error.code.as_str(),
                    "{}",
                    crate::runtime::outcome::causes(&error)
                );
                Outcome::from_error(&error, &self.0.identity)
            }
        };
        if outcome.refresh || self.0.options.refresh {
            // Before the post: a job taken after it would die with this worker.
            outcome.refresh = true;
            self.0.refreshed.cancel();
            self.0.draining.cancel();
        }
        let spoken = outbox.close().await;
        if let Some(failure) = spoken.failure {
            outcome.output = None;
            outcome.error = Some(failure);
        } else if spoken.streamed && outcome.succeeded() && matches!(outcome.output, None | Some(Value::Null))
        {
            outcome.output = Some(Value::Array(if keep_all { spoken.all } else { Vec::new() }));
        }
        let ended = if outcome.succeeded() {
            "completed"
        } else {
            "failed"
        };
        self.deliver(id, Some(print), outcome, spoken.streamed, bucket.as_ref())
            .await;
        ended
    }

    async fn deliver(
        &self,
        id: &str,
        print: Option<[u8; 32]>,
        outcome: Outcome,
        is_stream: bool,
        bucket: Option<&Bucket>,
    ) {
        let succeeded = outcome.succeeded();
        let mut body = outcome.to_post(false).to_string();
        let most = if id.starts_with("sync-") {
            self.0.options.max_sync_result
        } else {
            self.0.options.max_result
        };
        if body.len() > most {
            body = self
                .shrink(id, outcome, body.len(), most, bucket)
                .await
                .to_post(false)
                .to_string();
        }
        let post = Arc::new(FinalPost { body, is_stream });
        if let (Some(print), true) = (print, succeeded) {
            self.0.recent.remember(id, print, post.clone());
        }
        if self.0.wire.finish(id, &post).await == Delivered::Yes {
            tracing::info!(job = id, bytes = post.body.len(), "Results sent.");
        }
    }

    /// A result over the platform's limit: uploaded where there is a bucket, refused with a clear error where not.
    async fn shrink(
        &self,
        id: &str,
        outcome: Outcome,
        bytes: usize,
        most: usize,
        bucket: Option<&Bucket>,
    ) -> Outcome {
        let refresh = outcome.refresh;
        let too_large = |why: &str| Outcome {
            refresh,
            ..Outcome::plain_error(format!(
                "result too large: {bytes} bytes, the platform takes {most}; {why}"
            ))
        };
        let Some(bucket) = bucket else {
            tracing::error!(
                job = id,
                bytes,
                most,
                "the result is too large, and there is no bucket for it"
            );
            return too_large("ask for less (options.masks, options.overlay) or send s3Config");
        };
        let text = outcome.output.map(|o| o.to_string()).unwrap_or_default();
        match bucket
            .put(id, "json", "application/json", text.into_bytes())
            .await
        {
            Ok(url) => Outcome {
                output: Some(json!({"result_url": url, "result_bytes": bytes})),
                error: outcome.error,
                refresh,
            },
            Err(error) => {
                tracing::error!(job = id, "{}", crate::runtime::outcome::causes(&error));
                too_large("and it could not be uploaded")
            }
        }
    }

    async fn drain(&self) {
        self.0.tasks.close();
        let left = self.0.jobs.len();
        if left > 0 {
            tracing::info!(jobs = left, "draining");
        }
        match self.0.timings.drain {
            None => self.0.tasks.wait().await,
            Some(limit) => {
                if tokio::time::timeout(limit, self.0.tasks.wait()).await.is_err() {
                    tracing::warn!(
                        jobs = self.0.jobs.len(),
                        "drain time is over; jobs dropped without a post"
                    );
                    self.0.jobs.cancel_all();
                    let _ =
                        tokio::time::timeout(std::time::Duration::from_secs(1), self.0.tasks.wait()).await;
                }
            }
        }
    }
}

fn counted(result: &'static str) {
    counter!(names::WORKER_TAKES, "result" => result).increment(1);
}

fn describe(error: reqwest::Error) -> String {
    use std::error::Error;
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = next.to_string();
        cause = next.source();
    }
    text
}
