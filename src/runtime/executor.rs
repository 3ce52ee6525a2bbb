//! From a parsed job to its answer: a place in the queue, the decoded photo, the device.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use metrics::histogram;
use serde_json::Value;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::device::{Item, Work};
use super::{Device, JobContext, JobInput, ModelRequest};
use crate::contract::recompute::RecomputeRequest;
use crate::contract::request::{ImageSource, ModelCall};
use crate::contract::{ErrorCode, ScanError, ScanRequest, Stage};
use crate::food_store::FoodStore;
use crate::intake::{Intake, Loaded, Shot, SourceMeta, validate};
use crate::s3::Buckets;
use crate::telemetry::names;

/// How long a photo that is being fetched counts as one of those held ahead of the device.
const PATIENCE: Duration = Duration::from_secs(1);

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
    foods: FoodStore,
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
            foods: FoodStore::builtin(),
        }
    }

    /// Where corrections are looked up; the compiled-in table if not said.
    #[must_use]
    pub fn foods(mut self, foods: FoodStore) -> Self {
        self.foods = foods;
        self
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
        self.run_after_fetch(input, ctx, admission, std::future::ready(()))
            .await
    }

    /// [`Self::run`], waiting for `turn` once the photo is here: a host that is slow to give it holds up nobody else.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_after_fetch(
        &self,
        input: JobInput,
        ctx: JobContext,
        admission: Admission,
        turn: impl Future<Output = ()> + Send,
    ) -> Result<Value, ScanError> {
        let abandon = ctx.token().clone().drop_guard();
        let result = tokio::select! {
            result = self.work(input, &ctx, admission, turn) => result,
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
        turn: impl Future<Output = ()> + Send,
    ) -> Result<Value, ScanError> {
        let input = match input {
            JobInput::Recompute(request) => return self.recompute(*request),
            other => other,
        };
        // The place comes first: a refusal costs no download. While the photo is fetched it is left to others.
        let mut place = self.place(admission).await?;
        let encoded = match self.begin(input, ctx)? {
            Begun::Mock(script) => Err(script),
            Begun::Photo(photo) if photo.source.is_remote() => {
                drop(place);
                // Held until the photo counts as one ahead of the device: bytes that wait are bounded by it.
                let _fetching = self.intake.fetch_place(&photo.source, ctx.bucket()).await?;
                let (encoded, mut permit) = self.fetch(photo, ctx).await?;
                let mut again = pin!(async {
                    turn.await;
                    self.place(admission).await
                });
                place = match futures::poll!(again.as_mut()) {
                    Poll::Ready(place) => place?,
                    // Others have turn and place and wait for the permit: it comes last.
                    Poll::Pending => {
                        drop(permit.take());
                        let place = again.await?;
                        permit = self.photos.clone().acquire_owned().await.ok();
                        place
                    }
                };
                Ok((encoded, permit))
            }
            Begun::Photo(photo) => Ok(self.fetch(photo, ctx).await?),
        };
        let (work, photo) = match encoded {
            Err(script) => (Work::Mock(script), None),
            Ok((encoded, permit)) => (self.decode(encoded, ctx).await?, permit),
        };
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

    /// A millisecond's work, so the device is not asked.
    fn recompute(&self, request: RecomputeRequest) -> Result<Value, ScanError> {
        let result = crate::recompute::recompute(request, &self.foods.current().table)?;
        serde_json::to_value(result)
            .map_err(|e| ScanError::new(ErrorCode::Internal, "the result does not serialise").source(e))
    }

    async fn place(&self, admission: Admission) -> Result<OwnedPermit<Item>, ScanError> {
        match admission {
            Admission::Refuse => self.device.try_place(),
            Admission::Wait => self.device.place().await,
        }
    }

    /// Takes the photo's source out of a request that holds to its bounds.
    fn begin(&self, input: JobInput, ctx: &JobContext) -> Result<Begun, ScanError> {
        let (mut request, model) = match input {
            JobInput::Mock(script) => return Ok(Begun::Mock(script)),
            JobInput::Recompute(_) => {
                return Err(ScanError::new(ErrorCode::Internal, "a correction has no photo"));
            }
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
        validate::request(&request, &self.intake.config().request)?;
        if request.options.stream {
            ctx.stream_stages();
        }
        ctx.stage(Stage::Intake)?;
        let source = std::mem::replace(&mut request.image, ImageSource::Bytes(Vec::new()));
        Ok(Begun::Photo(Wanted {
            source,
            request,
            model,
        }))
    }

    /// The photo's bytes, and the permit of one photo held ahead of the device. A host that takes its time gives the
    /// permit to others meanwhile.
    async fn fetch(
        &self,
        wanted: Wanted,
        ctx: &JobContext,
    ) -> Result<(Encoded, Option<OwnedSemaphorePermit>), ScanError> {
        let Wanted {
            source,
            request,
            model,
        } = wanted;
        let mut permit = self.photos.clone().acquire_owned().await.ok();
        let begun = Instant::now();
        let mut fetching = pin!(self.intake.fetch(source, ctx.bucket()));
        let (bytes, meta) = match tokio::time::timeout(PATIENCE, fetching.as_mut()).await {
            Ok(result) => result?,
            Err(_) => {
                drop(permit.take());
                let result = fetching.await?;
                permit = self.photos.clone().acquire_owned().await.ok();
                result
            }
        };
        let fetched = begun.elapsed();
        histogram!(names::FETCH_SECONDS).record(fetched.as_secs_f64());
        let encoded = Encoded {
            bytes,
            meta,
            fetched,
            request,
            model,
        };
        Ok((encoded, permit))
    }

    /// Decodes the photo while the device is busy with other work.
    async fn decode(&self, encoded: Encoded, ctx: &JobContext) -> Result<Work, ScanError> {
        let Encoded {
            bytes,
            meta,
            fetched,
            request,
            model,
        } = encoded;
        ctx.stage(Stage::Decode)?;
        let begun = Instant::now();
        let loaded = self
            .intake
            .decode(bytes, Shot::from_request(&request), meta)
            .await?;
        let decoded = begun.elapsed();
        histogram!(names::DECODE_SECONDS).record(decoded.as_secs_f64());
        let ready = Ready {
            loaded,
            fetched,
            decoded,
        };
        Ok(match model {
            None => Work::Scan(request, ready),
            Some(model) => Work::Model(model, ready),
        })
    }
}

/// A job whose photo is not here yet.
struct Wanted {
    source: ImageSource,
    request: Box<ScanRequest>,
    model: Option<Box<ModelRequest>>,
}

enum Begun {
    Mock(Value),
    Photo(Wanted),
}

/// A job whose photo is here, not yet decoded.
struct Encoded {
    bytes: Vec<u8>,
    meta: SourceMeta,
    fetched: Duration,
    request: Box<ScanRequest>,
    model: Option<Box<ModelRequest>>,
}

/// A photo that needs the device next, and what it took to get there.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) loaded: Loaded,
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
