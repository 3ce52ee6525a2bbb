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
use super::{Device, JobContext, JobInput, ModelRequest, NoModels};
use crate::contract::depth_map::DepthMap;
use crate::contract::recompute::RecomputeRequest;
use crate::contract::request::{ImageSource, ModelCall};
use crate::contract::{ErrorCode, Fault, ScanError, ScanRequest, ScanResult, Stage};
use crate::food_store::FoodStore;
use crate::intake::{DepthInput, Intake, Loaded, Shot, SourceMeta, validate};
use crate::recompute::{place, recompute_with};
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
    takes_photos: bool,
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
            takes_photos: true,
            foods: FoodStore::builtin(),
        }
    }

    /// Where corrections are looked up; the compiled-in table if not said.
    #[must_use]
    pub fn with_foods(mut self, foods: FoodStore) -> Self {
        self.foods = foods;
        self
    }

    /// Photos are refused before they are fetched: the engine has no models.
    #[must_use]
    pub fn takes_photos(mut self, yes: bool) -> Self {
        self.takes_photos = yes;
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

    /// Where names of foods are looked up.
    pub fn foods(&self) -> &FoodStore {
        &self.foods
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
        if let JobInput::Recompute(request) = input {
            return self.recompute(*request, ctx, admission, turn).await;
        }
        self.on_device(input, ctx, admission, turn).await
    }

    /// A job that needs a photo, from its place in the queue to its answer.
    async fn on_device(
        &self,
        input: JobInput,
        ctx: &JobContext,
        admission: Admission,
        turn: impl Future<Output = ()> + Send,
    ) -> Result<Value, ScanError> {
        if !self.takes_photos && !matches!(input, JobInput::Mock(_)) {
            return Err(NoModels::refusal());
        }
        // The place comes first: a refusal costs no download. While the photo is fetched it is left to others.
        let mut place = self.place(admission).await?;
        let (work, photo) = match self.begin(input, ctx)? {
            Begun::Mock(script) => (Work::Mock(script), None),
            Begun::Photo(wanted) => {
                let mut wanted = *wanted;
                let more = std::mem::take(&mut wanted.more);
                let (depth, further);
                if wanted.first.depth_is_remote() || more.iter().any(Sent::is_remote) {
                    drop(place);
                    depth = self.depth(&mut wanted.first, ctx).await?;
                    further = self.further(more, ctx).await?;
                    place = self.place(admission).await?;
                } else {
                    depth = self.depth(&mut wanted.first, ctx).await?;
                    further = self.further(more, ctx).await?;
                }
                let Sent { image, mut shot, .. } = wanted.first;
                shot.depth = depth;
                let (fetched, permit) = if image.is_remote() {
                    drop(place);
                    // Held until the photo counts as one ahead of the device: bytes that wait are bounded by it.
                    let _fetching = self.intake.fetch_place(&image, ctx.bucket()).await?;
                    let (fetched, mut permit) = self.fetch(image, ctx).await?;
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
                    (fetched, permit)
                } else {
                    self.fetch(image, ctx).await?
                };
                ctx.stage(Stage::Decode)?;
                let first = self.decode(fetched, shot).await?;
                let work = match (wanted.model, further) {
                    (Some(model), _) => Work::Model(model, first),
                    (None, None) => Work::Scan(wanted.request, first),
                    (None, Some(mut photos)) => {
                        photos.photos.insert(0, Ok(first));
                        Work::Meal(wanted.request, photos)
                    }
                };
                (work, permit)
            }
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

    /// A millisecond's work, so the device is not asked; unless the photo is needed to find what lies at a place.
    async fn recompute(
        &self,
        mut request: RecomputeRequest,
        ctx: &JobContext,
        admission: Admission,
        turn: impl Future<Output = ()> + Send,
    ) -> Result<Value, ScanError> {
        let found =
            match place::scan_of(&request)? {
                None => None,
                Some(scan) => {
                    place::without_photo(&mut request);
                    let scan = JobInput::Scan(Box::new(scan));
                    let value = self.on_device(scan, ctx, admission, turn).await?;
                    let found = serde_json::from_value::<ScanResult>(value);
                    Some(found.map_err(|e| {
                        ScanError::new(ErrorCode::Internal, "the scan cannot be read").source(e)
                    })?)
                }
            };
        let result = recompute_with(request, found.as_ref(), &self.foods.current().table)?;
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
        let taken = |image: &mut ImageSource| std::mem::replace(image, ImageSource::Bytes(Vec::new()));
        let first = Sent {
            shot: Shot::from_request(&request),
            image: taken(&mut request.image),
            depth: request.depth.take(),
        };
        let more = request
            .more
            .iter_mut()
            .map(|photo| Sent {
                shot: Shot::from_photo(photo),
                image: taken(&mut photo.image),
                depth: photo.depth.take(),
            })
            .collect();
        Ok(Begun::Photo(Box::new(Wanted {
            first,
            more,
            request,
            model,
        })))
    }

    /// A photo's bytes, and the permit of one photo held ahead of the device. A host that takes its time gives the
    /// permit to others meanwhile.
    async fn fetch(
        &self,
        source: ImageSource,
        ctx: &JobContext,
    ) -> Result<(Fetched, Option<OwnedSemaphorePermit>), ScanError> {
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
        let took = begun.elapsed();
        histogram!(names::FETCH_SECONDS).record(took.as_secs_f64());
        Ok((Fetched { bytes, meta, took }, permit))
    }

    /// Decodes a photo while the device is busy with other work.
    async fn decode(&self, fetched: Fetched, shot: Shot) -> Result<Ready, ScanError> {
        let Fetched { bytes, meta, took } = fetched;
        let begun = Instant::now();
        let loaded = self.intake.decode(bytes, shot, meta).await?;
        let decoded = begun.elapsed();
        histogram!(names::DECODE_SECONDS).record(decoded.as_secs_f64());
        Ok(Ready {
            loaded,
            fetched: took,
            decoded,
        })
    }

    /// A meal's second photo and those after it, one after the other, each reduced to what is measured. One that is no photo is left to
    /// the engine, which goes on with the others.
    async fn further(&self, photos: Vec<Sent>, ctx: &JobContext) -> Result<Option<MealPhotos>, ScanError> {
        if photos.is_empty() {
            return Ok(None);
        }
        let memory = self.intake.meal_place(photos.len()).await?;
        let mut out = MealPhotos {
            photos: Vec::new(),
            _memory: memory,
        };
        for (i, mut sent) in photos.into_iter().enumerate() {
            ctx.check()?;
            let name = format!("images[{}]", i + 1);
            sent.shot.depth = self.depth(&mut sent, ctx).await.map_err(|e| e.of(&name))?;
            let Sent {
                image: source, shot, ..
            } = sent;
            let _fetching = self
                .intake
                .fetch_place(&source, ctx.bucket())
                .await
                .map_err(|e| e.of(&name))?;
            let (fetched, _permit) = self.fetch(source, ctx).await.map_err(|e| e.of(&name))?;
            let Fetched { bytes, meta, took } = fetched;
            let begun = Instant::now();
            let ready = match self.intake.decode_further(bytes, shot, meta).await {
                Ok(loaded) => Ok(Ready {
                    loaded,
                    fetched: took,
                    decoded: begun.elapsed(),
                }),
                Err(error) if error.code.fault() == Fault::Client => Err(error),
                Err(error) => return Err(error.of(&name)),
            };
            out.photos.push(ready);
        }
        Ok(Some(out))
    }

    async fn depth(&self, sent: &mut Sent, ctx: &JobContext) -> Result<Option<DepthInput>, ScanError> {
        match sent.depth.take() {
            Some(map) => Ok(Some(self.intake.fetch_depth(map, ctx.bucket()).await?)),
            None => Ok(None),
        }
    }
}

/// A job whose photos are not here yet.
struct Wanted {
    first: Sent,
    /// The second photo of a meal and those after it.
    more: Vec<Sent>,
    request: Box<ScanRequest>,
    model: Option<Box<ModelRequest>>,
}

/// One photo as it was sent, and what was said of it.
struct Sent {
    image: ImageSource,
    shot: Shot,
    depth: Option<DepthMap>,
}

impl Sent {
    fn is_remote(&self) -> bool {
        self.image.is_remote() || self.depth_is_remote()
    }

    fn depth_is_remote(&self) -> bool {
        self.depth.as_ref().is_some_and(DepthMap::is_remote)
    }
}

enum Begun {
    Mock(Value),
    Photo(Box<Wanted>),
}

/// A photo that is here, not yet decoded.
struct Fetched {
    bytes: Vec<u8>,
    meta: SourceMeta,
    took: Duration,
}

/// A photo that needs the device next, and what it took to get there.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) loaded: Loaded,
    pub(super) fetched: Duration,
    pub(super) decoded: Duration,
}

/// The photos of a meal, in order, or why one cannot be read.
#[derive(Debug)]
pub(super) struct MealPhotos {
    pub(super) photos: Vec<Result<Ready, ScanError>>,
    _memory: OwnedSemaphorePermit,
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
