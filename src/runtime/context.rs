//! What a running job carries with it: its id, whether it was cancelled, how long it may take, who hears of progress.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::contract::{Control, ErrorCode, ScanError, Stage, StageUpdate};
use crate::s3::Bucket;

/// What a job says while it runs.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A stage begins. Only the latest matters, unless the job asked for them as a stream (`options.stream`).
    Stage {
        stage: Stage,
        elapsed_ms: f64,
        streamed: bool,
    },
    /// Free-form progress. Only the latest matters.
    Progress(Value),
    /// A part of the answer: every one is delivered, in order.
    Chunk(Value),
}

impl Event {
    /// The JSON a client sees.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Stage {
                stage, elapsed_ms, ..
            } => serde_json::json!(StageUpdate {
                stage: *stage,
                step: step(*stage),
                of: Stage::ALL.len(),
                elapsed_ms: (elapsed_ms * 10.0).round() / 10.0,
            }),
            Self::Progress(value) | Self::Chunk(value) => value.clone(),
        }
    }
}

/// Place of a stage in their order, from 1.
fn step(stage: Stage) -> usize {
    Stage::ALL.iter().take_while(|s| **s <= stage).count()
}

/// How long a job may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    None,
    /// Waiting included.
    At(Instant),
    /// Counted from the moment the device takes it up.
    AfterStart(Duration),
}

type Sink = Box<dyn Fn(Event) + Send + Sync>;

struct Inner {
    id: String,
    cancel: CancellationToken,
    limit: Limit,
    begun: Instant,
    started: OnceLock<Instant>,
    /// The latest stage that was told, from 1.
    reached: AtomicUsize,
    on_start: Option<Box<dyn Fn() + Send + Sync>>,
    sink: Option<Sink>,
    bucket: Option<Bucket>,
    streams: AtomicBool,
}

/// Handle on one job; cheap to clone, the same job. Engines call [`JobContext::check`] between stages and between
/// decoder steps.
#[derive(Clone)]
pub struct JobContext(Arc<Inner>);

impl std::fmt::Debug for JobContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobContext")
            .field("id", &self.0.id)
            .field("cancelled", &self.is_cancelled())
            .field("limit", &self.0.limit)
            .finish()
    }
}

impl JobContext {
    /// Begins a context for the job with this id.
    pub fn of(id: impl Into<String>) -> Builder {
        Builder(Inner {
            id: id.into(),
            cancel: CancellationToken::new(),
            limit: Limit::None,
            begun: Instant::now(),
            started: OnceLock::new(),
            reached: AtomicUsize::new(0),
            on_start: None,
            sink: None,
            bucket: None,
            streams: AtomicBool::new(false),
        })
    }

    /// No limit, nobody listening: the command line, warm-up and tests.
    pub fn detached() -> Self {
        Self::of("").build()
    }

    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// As [`Control::check`].
    ///
    /// # Errors
    /// `cancelled` or `deadline_exceeded`: stop here and hand the error up.
    pub fn check(&self) -> Result<(), ScanError> {
        // The deadline first: a timed-out job is also cancelled, and the reason is the time.
        if self.remaining().is_some_and(|left| left.is_zero()) {
            return Err(
                ScanError::new(ErrorCode::DeadlineExceeded, "the job ran out of its allowed time")
                    .next_step("send it again, or allow more time"),
            );
        }
        if self.is_cancelled() {
            return Err(ScanError::new(ErrorCode::Cancelled, "the job was cancelled"));
        }
        Ok(())
    }

    /// Where the job's pictures and large results go, and where it may read with its own keys.
    pub fn bucket(&self) -> Option<&Bucket> {
        self.0.bucket.as_ref()
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.cancel.is_cancelled()
    }

    pub fn cancel(&self) {
        self.0.cancel.cancel();
    }

    pub fn token(&self) -> &CancellationToken {
        &self.0.cancel
    }

    /// Time left; `None` where there is no limit or it has not begun to count.
    pub fn remaining(&self) -> Option<Duration> {
        let end = match self.0.limit {
            Limit::None => return None,
            Limit::At(at) => at,
            Limit::AfterStart(span) => *self.0.started.get()? + span,
        };
        Some(end.saturating_duration_since(Instant::now()))
    }

    /// A stage begins: checks, then tells whoever listens. Progress goes forward only: work that returns to an earlier
    /// stage for a part of the photo says nothing.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn stage(&self, stage: Stage) -> Result<(), ScanError> {
        self.check()?;
        let step = step(stage);
        if self.0.reached.fetch_max(step, Ordering::Relaxed) < step {
            self.emit(Event::Stage {
                stage,
                elapsed_ms: self.0.begun.elapsed().as_secs_f64() * 1e3,
                streamed: self.0.streams.load(Ordering::Relaxed),
            });
        }
        Ok(())
    }

    pub fn emit(&self, event: Event) {
        if let Some(sink) = &self.0.sink {
            sink(event);
        }
    }

    /// From now on stages are parts of the job's stream.
    pub(super) fn stream_stages(&self) {
        self.0.streams.store(true, Ordering::Relaxed);
    }

    /// The device takes the job up: the running time starts to count. Later calls do nothing.
    pub(super) fn mark_started(&self) {
        if self.0.started.set(Instant::now()).is_ok()
            && let Some(on_start) = &self.0.on_start
        {
            on_start();
        }
    }
}

impl Control for JobContext {
    fn check(&self) -> Result<(), ScanError> {
        Self::check(self)
    }

    fn stage(&self, stage: Stage) -> Result<(), ScanError> {
        Self::stage(self, stage)
    }
}

/// Makes a [`JobContext`].
pub struct Builder(Inner);

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Builder").field(&self.0.id).finish()
    }
}

impl Builder {
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> Self {
        self.0.limit = limit;
        self
    }

    #[must_use]
    pub fn token(mut self, token: CancellationToken) -> Self {
        self.0.cancel = token;
        self
    }

    #[must_use]
    pub fn bucket(mut self, bucket: Option<Bucket>) -> Self {
        self.0.bucket = bucket;
        self
    }

    /// Called once, on the device's thread, when the job is taken up. Must not block.
    #[must_use]
    pub fn on_start(mut self, f: impl Fn() + Send + Sync + 'static) -> Self {
        self.0.on_start = Some(Box::new(f));
        self
    }

    /// Called for every event, on the device's thread or before it. Must not block.
    #[must_use]
    pub fn on_event(mut self, f: impl Fn(Event) + Send + Sync + 'static) -> Self {
        self.0.sink = Some(Box::new(f));
        self
    }

    pub fn build(self) -> JobContext {
        JobContext(Arc::new(self.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn running_time_counts_from_the_start_not_from_the_queue() {
        let ctx = JobContext::of("a")
            .limit(Limit::AfterStart(Duration::ZERO))
            .build();
        assert!(ctx.remaining().is_none() && ctx.check().is_ok());
        ctx.mark_started();
        assert_eq!(ctx.check().unwrap_err().code, ErrorCode::DeadlineExceeded);
    }

    #[test]
    fn a_cancelled_job_stops_at_the_next_stage_and_says_nothing() {
        let (tx, rx) = std::sync::mpsc::channel();
        let ctx = JobContext::of("a").on_event(move |e| tx.send(e).unwrap()).build();
        ctx.stage(Stage::Depth).unwrap();
        ctx.cancel();
        assert_eq!(ctx.stage(Stage::Segment).unwrap_err().code, ErrorCode::Cancelled);
        assert_eq!(rx.try_iter().count(), 1);
    }

    #[test]
    fn progress_counts_the_stages_and_never_goes_back() {
        let (tx, rx) = std::sync::mpsc::channel();
        let ctx = JobContext::of("a")
            .on_event(move |e| tx.send(e.to_json()).unwrap())
            .build();
        for stage in Stage::ALL {
            ctx.stage(*stage).unwrap();
            ctx.stage(Stage::Depth).unwrap();
        }
        let told: Vec<_> = rx
            .try_iter()
            .map(|e| (e["stage"].clone(), e["step"].clone()))
            .collect();
        // `depth` was told after `intake` already, and so nothing of `decode`.
        assert_eq!(
            told[..3],
            [
                ("intake".into(), 1.into()),
                ("depth".into(), 3.into()),
                ("segment".into(), 4.into())
            ]
        );
        assert_eq!(told.last().unwrap().1, Stage::ALL.len());
    }
}
