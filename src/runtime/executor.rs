//! From a parsed job to its answer: a place in the queue, the photo's bytes, the device.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{Semaphore, oneshot};

use super::device::Item;
use super::{Device, JobContext, JobInput, Stage};
use crate::contract::request::ImageSource;
use crate::contract::{ErrorCode, ScanError, ScanRequest};

/// Turns the request's image source into bytes, off the device's thread. May fill fields that travel with the
/// photo (an object's metadata may hold the pitch).
pub trait Intake: Send + Sync {
    fn fetch<'a>(&'a self, request: ScanRequest) -> BoxFuture<'a, Result<ScanRequest, ScanError>>;
}

/// Only what the request itself carries: base64 and uploads.
#[derive(Debug, Clone, Copy)]
pub struct InlineIntake;

impl Intake for InlineIntake {
    fn fetch<'a>(&'a self, mut request: ScanRequest) -> BoxFuture<'a, Result<ScanRequest, ScanError>> {
        Box::pin(async move {
            request.image = match request.image {
                ImageSource::Bytes(bytes) => ImageSource::Bytes(bytes),
                ImageSource::Base64(text) => ImageSource::Bytes(decode_base64(&text)?),
                ImageSource::Url(_) | ImageSource::S3(_) => {
                    return Err(ScanError::new(
                        ErrorCode::UrlRefused,
                        "this service takes photos in the request only",
                    )
                    .next_step("send image.base64 or a multipart upload"));
                }
            };
            Ok(request)
        })
    }
}

fn decode_base64(text: &str) -> Result<Vec<u8>, ScanError> {
    let body = match text.strip_prefix("data:") {
        Some(url) => url.split_once(',').map_or("", |(_, body)| body),
        None => text,
    };
    base64::engine::general_purpose::STANDARD
        .decode(body.trim())
        .map_err(|e| ScanError::new(ErrorCode::ImageUnreadable, "image.base64 is not base64").source(e))
}

/// What to do when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// `queue_full` at once: somebody is waiting on the line.
    Refuse,
    /// Wait for a place: the job was accepted earlier.
    Wait,
}

/// Runs jobs. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    device: Device,
    intake: Arc<dyn Intake>,
    /// Photos being fetched at a time: each may hold tens of megabytes.
    fetches: Arc<Semaphore>,
    takes_scripts: bool,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("device", &self.device).finish()
    }
}

impl Executor {
    pub fn new(device: Device, intake: Arc<dyn Intake>, max_fetches: usize) -> Self {
        Self {
            device,
            intake,
            fetches: Arc::new(Semaphore::new(max_fetches.max(1))),
            takes_scripts: false,
        }
    }

    /// Scripted jobs (`mock_return`, ...) are understood: only with a test engine.
    #[must_use]
    pub fn takes_scripts(mut self, yes: bool) -> Self {
        self.takes_scripts = yes;
        self
    }

    pub fn device(&self) -> &Device {
        &self.device
    }

    /// # Errors
    /// As [`JobInput::parse`].
    pub fn parse(&self, input: Value) -> Result<JobInput, ScanError> {
        JobInput::parse(input, self.takes_scripts)
    }

    /// Runs one job to its end. Dropping the future cancels it.
    ///
    /// # Errors
    /// Of the queue, the intake or the engine; `cancelled` and `deadline_exceeded` at once, while the engine stops at
    /// its next check.
    pub async fn run(
        &self,
        input: JobInput,
        ctx: JobContext,
        admission: Admission,
    ) -> Result<Value, ScanError> {
        let abandon = ctx.token().clone().drop_guard();
        let result = tokio::select! {
            result = self.work(input, &ctx, admission) => result,
            () = ctx.token().cancelled() => Err(ctx
                .check()
                .err()
                .unwrap_or_else(|| ScanError::new(ErrorCode::Cancelled, "the job was cancelled"))),
            error = overdue(&ctx) => Err(error),
        };
        // Overdue work is told to stop as well; work that ended by itself needs no telling.
        if !matches!(&result, Err(e) if e.code == ErrorCode::DeadlineExceeded) {
            abandon.disarm();
        }
        result
    }

    async fn work(
        &self,
        input: JobInput,
        ctx: &JobContext,
        admission: Admission,
    ) -> Result<Value, ScanError> {
        // The place comes first: a refusal costs no download.
        let place = match admission {
            Admission::Refuse => self.device.try_place()?,
            Admission::Wait => self.device.place().await?,
        };
        let input = self.fetch(input, ctx).await?;
        let (reply, answer) = oneshot::channel();
        place.send(Item {
            input,
            ctx: ctx.clone(),
            queued: Instant::now(),
            reply,
        });
        answer.await.map_err(|_| {
            ScanError::new(
                ErrorCode::DeviceUnavailable,
                "the device stopped before this job was done",
            )
        })?
    }

    async fn fetch(&self, input: JobInput, ctx: &JobContext) -> Result<JobInput, ScanError> {
        let request = match input {
            JobInput::Mock(_) => return Ok(input),
            JobInput::Scan(request) => *request,
            JobInput::Model(mut request) => {
                let image = std::mem::replace(&mut request.image, ImageSource::Bytes(Vec::new()));
                request.image = self.fetch_one(ScanRequest::new(image), ctx).await?.image;
                return Ok(JobInput::Model(request));
            }
        };
        Ok(JobInput::Scan(Box::new(self.fetch_one(request, ctx).await?)))
    }

    async fn fetch_one(&self, request: ScanRequest, ctx: &JobContext) -> Result<ScanRequest, ScanError> {
        ctx.stage(Stage::Intake)?;
        let _slot = self.fetches.acquire().await;
        self.intake.fetch(request).await
    }
}

/// Resolves when the job's time is up.
async fn overdue(ctx: &JobContext) -> ScanError {
    loop {
        match ctx.remaining() {
            // The running time may begin to count any moment.
            None => tokio::time::sleep(Duration::from_millis(50)).await,
            Some(left) if left.is_zero() => {
                if let Err(error) = ctx.check() {
                    return error;
                }
            }
            Some(left) => tokio::time::sleep(left).await,
        }
    }
}
