//! From a parsed job to its answer: a place in the queue, the decoded photo, the device.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::histogram;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::device::{Item, Work};
use super::{Device, JobContext, JobInput};
use crate::contract::request::{ImageSource, ModelCall};
use crate::contract::{ErrorCode, ScanError, ScanRequest, Stage};
use crate::intake::{Intake, Photo, Shot, validate};
use crate::s3::Buckets;
use crate::telemetry::names;

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
    intake: Arc<Intake>,
    buckets: Buckets,
    /// Photos fetched, decoded, or decoded and waiting for the device: each may hold a hundred megabytes.
    photos: Arc<Semaphore>,
    ahead: usize,
    takes_scripts: bool,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executor").field("device", &self.device).finish()
    }
}

impl Executor {
    /// At most `ahead` photos are prepared while the device is busy with another.
    pub fn new(device: Device, intake: Intake, buckets: Buckets, ahead: usize) -> Self {
        Self {
            device,
            intake: Arc::new(intake),
            buckets,
            photos: Arc::new(Semaphore::new(ahead.max(1))),
            ahead: ahead.max(1),
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

    /// Where a job's pictures and large results go.
    pub fn buckets(&self) -> &Buckets {
        &self.buckets
    }

    pub fn intake(&self) -> &Intake {
        &self.intake
    }

    /// Photos prepared ahead of the device.
    pub fn ahead(&self) -> usize {
        self.ahead
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
        let (work, photo) = self.prepare(input, ctx).await?;
        let (reply, answer) = oneshot::channel();
        place.send(Item {
            work,
            ctx: ctx.clone(),
            queued: Instant::now(),
            span: tracing::Span::current(),
            photo,
            reply,
        });
        let mut result = answer.await.map_err(|_| {
            ScanError::new(
                ErrorCode::DeviceUnavailable,
                "the device stopped before this job was done",
            )
        })??;
        if let Some(bucket) = ctx.bucket() {
            crate::runpod::pictures::store(&mut result, bucket, ctx.id()).await;
        }
        Ok(result)
    }

    /// Fetches and decodes the photo while the device is busy with other work.
    async fn prepare(
        &self,
        input: JobInput,
        ctx: &JobContext,
    ) -> Result<(Work, Option<OwnedSemaphorePermit>), ScanError> {
        let (mut request, model) = match input {
            JobInput::Mock(script) => return Ok((Work::Mock(script), None)),
            JobInput::Scan(request) => (request, None),
            JobInput::Model(mut model) => {
                let ModelCall {
                    image,
                    bbox,
                    point,
                    options,
                } = &mut model.call;
                validate::place("", *point, *bbox)?;
                let image = std::mem::replace(image, ImageSource::Bytes(Vec::new()));
                let mut request = Box::new(ScanRequest::new(image));
                request.options.stream = options.stream;
                (request, Some(model))
            }
        };
        validate::request(&request)?;
        if request.options.stream {
            ctx.stream_stages();
        }
        ctx.stage(Stage::Intake)?;
        let permit = self.photos.clone().acquire_owned().await.ok();
        let begun = Instant::now();
        // The encoded photo goes with the fetch; from here on only its pixels are kept.
        let image = std::mem::replace(&mut request.image, ImageSource::Bytes(Vec::new()));
        let (bytes, meta) = self.intake.fetch(image, ctx.bucket()).await?;
        let fetched = begun.elapsed();
        histogram!(names::FETCH_SECONDS).record(fetched.as_secs_f64());
        ctx.stage(Stage::Decode)?;
        let begun = Instant::now();
        let photo = self
            .intake
            .decode(bytes, Shot::from_request(&request), meta)
            .await?;
        let decoded = begun.elapsed();
        histogram!(names::DECODE_SECONDS).record(decoded.as_secs_f64());
        let ready = Ready {
            photo,
            fetched,
            decoded,
        };
        let work = match model {
            None => Work::Scan(request, ready),
            Some(model) => Work::Model(model, ready),
        };
        Ok((work, permit))
    }
}

/// A photo that needs the device next, and what it took to get there.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) photo: Photo,
    pub(super) fetched: Duration,
    pub(super) decoded: Duration,
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
