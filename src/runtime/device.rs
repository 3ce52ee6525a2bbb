//! The thread that owns the engine, and the bounded queue in front of it.

mod batch;
mod lifecycle;
mod load;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use metrics::{counter, gauge, histogram};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::engine::{Encoded, ScanJob};
use super::photos::{MealPhotos, Ready};
use super::{Engine, EngineFactory, EngineInfo, JobContext, ModelRequest};
use crate::contract::{ErrorCode, ScanError, ScanRequest, ScanResult, Stage};
use crate::telemetry::names;
use lifecycle::{bring_up, bring_up_again, given_up, lose, unavailable};
use load::Load;

/// Where the engine stands.
#[derive(Debug, Clone)]
pub enum EngineState {
    Loading,
    WarmingUp,
    Ready(Arc<EngineInfo>),
    /// It could not be built or warmed up; it will not come.
    Failed(Arc<ScanError>),
    /// It worked and the device under it broke; only a new process gets another.
    Lost(Arc<ScanError>),
    Stopped,
}

#[derive(Debug, Clone, Copy)]
pub struct DeviceOptions {
    /// Jobs that may wait; the next one is refused.
    pub queue: usize,
    pub warm_up: bool,
    /// Waiting scans whose first part may run as one batch; 1: each alone.
    pub batch: usize,
}

impl Default for DeviceOptions {
    fn default() -> Self {
        Self {
            queue: 64,
            warm_up: true,
            batch: 1,
        }
    }
}

/// What the device is to do; photos are decoded already.
pub(super) enum Work {
    Scan(Box<ScanRequest>, Ready),
    Meal(Box<ScanRequest>, MealPhotos),
    Model(Box<ModelRequest>, Ready),
    Mock(Value),
}

impl Work {
    /// Label of metrics and logs.
    fn kind(&self) -> &'static str {
        match self {
            Self::Scan(..) => "scan",
            Self::Meal(..) => "meal",
            Self::Model(request, _) => request.task.as_str(),
            Self::Mock(_) => "mock",
        }
    }
}

pub(super) struct Item {
    pub(super) work: Work,
    pub(super) ctx: JobContext,
    pub(super) queued: Instant,
    /// Of the request or job, the parent of the device's own.
    pub(super) span: tracing::Span,
    /// Held until the device takes the photo up; another one may then be prepared.
    pub(super) photo: Option<OwnedSemaphorePermit>,
    pub(super) reply: oneshot::Sender<Result<Value, ScanError>>,
}

/// Handle on the device's thread. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub struct Device {
    queue: mpsc::Sender<Item>,
    state: watch::Receiver<EngineState>,
    load: Arc<Load>,
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Device")
            .field("state", &*self.state.borrow())
            .field("waiting", &self.waiting())
            .finish()
    }
}

impl Device {
    /// Starts the thread, which builds the engine, warms it up and then works.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(factory: EngineFactory, options: DeviceOptions) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(options.queue.max(1));
        let (state_tx, state) = watch::channel(EngineState::Loading);
        let load = Arc::new(Load::default());
        let on_thread = load.clone();
        std::thread::Builder::new()
            .name("device".into())
            .spawn(move || run(&factory, options, jobs, &state_tx, &on_thread))?;
        Ok(Self { queue, state, load })
    }

    pub fn state(&self) -> EngineState {
        self.state.borrow().clone()
    }

    /// What is loaded, once it is.
    pub fn info(&self) -> Option<Arc<EngineInfo>> {
        match &*self.state.borrow() {
            EngineState::Ready(info) => Some(info.clone()),
            _ => None,
        }
    }

    pub fn is_ready(&self) -> bool {
        matches!(&*self.state.borrow(), EngineState::Ready(_))
    }

    /// Waits until the engine is ready or will never be.
    ///
    /// # Errors
    /// Why it failed.
    pub async fn ready(&self) -> Result<Arc<EngineInfo>, Arc<ScanError>> {
        let mut state = self.state.clone();
        loop {
            match &*state.borrow_and_update() {
                EngineState::Ready(info) => return Ok(info.clone()),
                EngineState::Failed(error) | EngineState::Lost(error) => return Err(error.clone()),
                EngineState::Stopped => {
                    return Err(Arc::new(ScanError::new(
                        ErrorCode::Draining,
                        "the device has stopped",
                    )));
                }
                EngineState::Loading | EngineState::WarmingUp => {}
            }
            if state.changed().await.is_err() {
                return Err(Arc::new(gone()));
            }
        }
    }

    /// Resolves when the device breaks under an engine that worked: this process can do nothing more.
    pub async fn lost(&self) -> Arc<ScanError> {
        let mut state = self.state.clone();
        loop {
            if let EngineState::Lost(error) = &*state.borrow_and_update() {
                return error.clone();
            }
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Jobs in the queue; the running one, and those taken up with it as a batch, are not counted.
    pub fn waiting(&self) -> usize {
        self.queue.max_capacity() - self.queue.capacity()
    }

    pub fn queue_limit(&self) -> usize {
        self.queue.max_capacity()
    }

    /// When it is worth trying again: the time the queue needs to empty by half, 1 to 60 seconds.
    pub fn retry_after(&self) -> Duration {
        let each = Duration::from_micros(self.load.service_us.load(Ordering::Relaxed));
        let ahead = (self.waiting() + self.load.running.load(Ordering::Relaxed)).div_ceil(2) as u32;
        (each * ahead).clamp(Duration::from_secs(1), Duration::from_secs(60))
    }

    /// A place in the queue at once.
    ///
    /// # Errors
    /// `queue_full`, or why the engine takes no work.
    pub(super) fn try_place(&self) -> Result<mpsc::OwnedPermit<Item>, ScanError> {
        self.usable()?;
        self.queue.clone().try_reserve_owned().map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => {
                counter!(names::QUEUE_REFUSED).increment(1);
                ScanError::new(
                    ErrorCode::QueueFull,
                    format!("{} jobs are waiting already", self.queue_limit()),
                )
                .next_step("try again after the time in Retry-After")
            }
            mpsc::error::TrySendError::Closed(_) => gone(),
        })
    }

    /// A place in the queue as soon as there is one.
    pub(super) async fn place(&self) -> Result<mpsc::OwnedPermit<Item>, ScanError> {
        self.usable()?;
        self.queue.clone().reserve_owned().await.map_err(|_| gone())
    }

    fn usable(&self) -> Result<(), ScanError> {
        match &*self.state.borrow() {
            EngineState::Failed(error) => Err(ScanError::new(
                ErrorCode::DeviceUnavailable,
                format!("the engine did not start: {error}"),
            )
            .next_step("see the log, then run `dragunov doctor`")),
            EngineState::Lost(error) => Err(given_up(error)),
            EngineState::Stopped => Err(gone()),
            _ => Ok(()),
        }
    }
}

fn gone() -> ScanError {
    ScanError::new(ErrorCode::DeviceUnavailable, "the device's thread has ended")
}

fn run(
    factory: &EngineFactory,
    options: DeviceOptions,
    mut jobs: mpsc::Receiver<Item>,
    state: &watch::Sender<EngineState>,
    load: &Load,
) {
    let mut engine = bring_up(factory, options.warm_up, state);
    // Taken from the queue together; run one by one, in order.
    let mut taken: VecDeque<(Item, Option<Encoded>)> = VecDeque::new();
    loop {
        if taken.is_empty() {
            let Some(first) = jobs.blocking_recv() else { break };
            taken = batch::gather(first, &mut jobs, options.batch);
            if let Some(loaded) = engine.as_mut()
                && let Err(batch::Panicked) = batch::encode(loaded.as_mut(), &mut taken)
            {
                // Which of them did it shows when each runs alone.
                drop(engine.take());
                engine = bring_up_again(factory, state);
            }
        }
        let Some((mut item, encoded)) = taken.pop_front() else {
            continue;
        };
        gauge!(names::QUEUE_SIZE).set((jobs.len() + taken.len()) as f64);
        let waited = item.queued.elapsed();
        histogram!(names::QUEUE_SECONDS).record(waited.as_secs_f64());
        if item.reply.is_closed() {
            counter!(names::JOBS_SKIPPED).increment(1);
            tracing::debug!(job = item.ctx.id(), "skipped: nobody waits for it");
            continue;
        }
        let Some(loaded) = engine.as_mut() else {
            let _ = item.reply.send(Err(unavailable(state)));
            continue;
        };
        if let Err(error) = item.ctx.check() {
            counter!(names::JOBS_SKIPPED).increment(1);
            let _ = item.reply.send(Err(error));
            continue;
        }
        item.ctx.mark_started();
        drop(item.photo.take());
        load.running.store(1 + taken.len(), Ordering::Relaxed);
        let begun = Instant::now();
        let kind = item.work.kind();
        let span = tracing::info_span!(
            parent: &item.span,
            "device",
            job = item.ctx.id(),
            kind,
            queue_ms = waited.as_millis() as u64
        );
        let result = span
            .in_scope(|| catch_unwind(AssertUnwindSafe(|| dispatch(loaded.as_mut(), &mut item, encoded))));
        let took = begun.elapsed();
        load.running.store(taken.len(), Ordering::Relaxed);
        load.learn(took);
        histogram!(names::INFERENCE_SECONDS, "kind" => kind).record(took.as_secs_f64());
        match result {
            Ok(result) => {
                let lost = match &result {
                    Err(error) if error.code == ErrorCode::DeviceUnavailable => Some(error.to_string()),
                    _ => None,
                };
                let _ = item.reply.send(result);
                if let Some(why) = lost {
                    span.in_scope(|| tracing::error!(job = item.ctx.id(), kind, "the device is lost: {why}"));
                    drop(engine.take());
                    lose(state, &why);
                }
            }
            Err(_) => {
                span.in_scope(|| {
                    tracing::error!(
                        job = item.ctx.id(),
                        kind,
                        "the engine panicked; building a new one"
                    );
                });
                let _ = item.reply.send(Err(ScanError::new(
                    ErrorCode::Internal,
                    "the engine failed in an unforeseen way on this job",
                )
                .next_step("report it with the scan's id; do not send the same photo again")));
                // What the broken engine made is not worth trusting.
                taken.iter_mut().for_each(|(_, encoded)| *encoded = None);
                drop(engine.take());
                engine = bring_up_again(factory, state);
            }
        }
    }
    drop(engine);
    state.send_replace(EngineState::Stopped);
}

fn dispatch(engine: &mut dyn Engine, item: &mut Item, encoded: Option<Encoded>) -> Result<Value, ScanError> {
    match &mut item.work {
        Work::Meal(request, photos) => {
            let mut times = Vec::new();
            let mut memory = Vec::new();
            let shots = std::mem::take(&mut photos.photos)
                .into_iter()
                .map(|photo| {
                    photo.map(|ready| {
                        times.push((ready.fetched, ready.decoded));
                        let (photo, held) = ready.loaded.into_parts();
                        memory.push(held);
                        photo
                    })
                })
                .collect();
            let mut result = engine.scan_meal(shots, request, &item.ctx)?;
            stages_seen(&result);
            times.into_iter().for_each(|took| add_times(&mut result, took));
            to_value(&result)
        }
        Work::Scan(request, ready) => {
            let job = ScanJob {
                photo: &ready.loaded.photo,
                request,
                ctx: &item.ctx,
            };
            let mut result = match encoded {
                Some(encoded) => engine.scan_encoded(job, encoded)?,
                None => engine.scan(job.photo, job.request, job.ctx)?,
            };
            stages_seen(&result);
            add_times(&mut result, (ready.fetched, ready.decoded));
            to_value(&result)
        }
        Work::Model(request, ready) => {
            to_value(&engine.run_model(&ready.loaded.photo, request, &item.ctx)?)
        }
        Work::Mock(script) => engine.mock(script, &item.ctx),
    }
}

fn to_value(answer: &impl serde::Serialize) -> Result<Value, ScanError> {
    serde_json::to_value(answer)
        .map_err(|e| ScanError::new(ErrorCode::Internal, "the result could not be written").source(e))
}

fn stages_seen(result: &ScanResult) {
    for (stage, ms) in &result.timings_ms.stages {
        histogram!(names::STAGE_SECONDS, "stage" => stage.as_str()).record(ms / 1e3);
    }
}

/// What was done before the device belongs to the scan's times as well.
fn add_times(result: &mut ScanResult, (fetched, decoded): (Duration, Duration)) {
    let times = &mut result.timings_ms;
    for (stage, took) in [(Stage::Intake, fetched), (Stage::Decode, decoded)] {
        times.add(stage, took);
        times.total += took.as_secs_f64() * 1e3;
    }
}
