//! From a parsed job to its answer: a place in the queue, the decoded photo, the device.

use std::future::Future;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::mpsc::OwnedPermit;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::device::{Item, Work};
use super::photos::{Photos, Sent};
use super::{Device, JobContext, JobInput, ModelRequest, NoModels};
use crate::contract::recompute::RecomputeRequest;
use crate::contract::request::{ImageSource, ModelCall};
use crate::contract::{ErrorCode, ScanError, ScanRequest, ScanResult, Stage};
use crate::food_store::FoodStore;
use crate::intake::{Intake, Shot, validate};
use crate::recompute::{place, recompute_with};
use crate::s3::Buckets;

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
    photos: Photos,
    buckets: Buckets,
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
            photos: Photos::new(intake, ahead.max(1)),
            buckets,
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
        self.photos.intake()
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
        let place = self.place(admission).await?;
        let (work, photo, place) = match self.begin(input, ctx)? {
            Begun::Mock(script) => (Work::Mock(script), None, place),
            // Boxed: this deep, the compiler lays out no more futures inside one another.
            Begun::Photo(wanted) => Box::pin(self.prepare(*wanted, place, ctx, admission, turn)).await?,
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

    /// The photos of a job that has a place: fetched, in memory, decoded. While anything is fetched the place is left to others.
    async fn prepare(
        &self,
        wanted: Wanted,
        mut place: OwnedPermit<Item>,
        ctx: &JobContext,
        admission: Admission,
        turn: impl Future<Output = ()> + Send,
    ) -> Result<(Work, Option<OwnedSemaphorePermit>, OwnedPermit<Item>), ScanError> {
        let Wanted {
            mut first,
            more,
            request,
            model,
        } = wanted;
        let (depth, further);
        if first.depth_is_remote() || more.iter().any(Sent::is_remote) {
            drop(place);
            depth = self.photos.depth(&mut first, ctx).await?;
            further = self.photos.further(more, ctx).await?;
            place = self.place(admission).await?;
        } else {
            depth = self.photos.depth(&mut first, ctx).await?;
            further = self.photos.further(more, ctx).await?;
        }
        let Sent { image, mut shot, .. } = first;
        shot.depth = depth;
        let (fetched, permit);
        if image.is_remote() {
            drop(place);
            // Held until the photo counts as one ahead of the device: bytes that wait are bounded by it.
            let _fetching = self.intake().fetch_place(&image, ctx.bucket()).await?;
            let (bytes, held) = self.photos.fetch(image, ctx).await?;
            let again = async {
                turn.await;
                self.place(admission).await
            };
            fetched = bytes;
            (permit, place) = self.photos.hold_unless_waiting(held, again).await?;
        } else {
            (fetched, permit) = self.photos.fetch(image, ctx).await?;
        }
        ctx.stage(Stage::Decode)?;
        let first = self.photos.decode(fetched, shot).await?;
        let work = match (model, further) {
            (Some(model), _) => Work::Model(model, first),
            (None, None) => Work::Scan(request, first),
            (None, Some(photos)) => Work::Meal(request, photos.after(first)),
        };
        Ok((work, permit, place))
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
        validate::request(&request, &self.intake().config().request)?;
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
}

/// A job whose photos are not here yet.
struct Wanted {
    first: Sent,
    /// The second photo of a meal and those after it.
    more: Vec<Sent>,
    request: Box<ScanRequest>,
    model: Option<Box<ModelRequest>>,
}

enum Begun {
    Mock(Value),
    Photo(Box<Wanted>),
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
