//! One job: running it and posting its end.

use std::sync::Arc;

use metrics::counter;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::Worker;
use super::outbox::Outbox;
use super::recent::fingerprint;
use super::take::RawJob;
use super::wire::{Delivered, FinalPost};
use crate::runpod::Outcome;
use crate::runtime::{Admission, JobContext};
use crate::s3::{Bucket, S3Keys};
use crate::telemetry::names;

impl Worker {
    /// Runs one job and posts how it ended.
    pub(super) async fn one(&self, job: RawJob, token: CancellationToken) {
        let id = job.id.clone();
        tracing::info!(job = id, "Started.");
        let ended = match job.input {
            None => {
                let outcome = Outcome::plain_error("Job has missing field(s): input.");
                self.deliver(&id, None, outcome, false, None).await;
                "failed"
            }
            Some(input) => self.run_job(&id, input, job.s3, token).await,
        };
        counter!(names::JOBS_ENDED, "status" => ended).increment(1);
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
                tracing::error!(job = id, code = error.code.as_str(), "{}", error.causes());
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
            let left = if keep_all { spoken.all } else { spoken.undelivered };
            outcome.output = Some(Value::Array(left));
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
                tracing::error!(job = id, "{}", error.causes());
                too_large("and it could not be uploaded")
            }
        }
    }
}
