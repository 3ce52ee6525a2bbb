//! What a running job says, in order: chunks each, progress the latest, and nothing after the result.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::Timings;
use super::wire::{Delivered, Wire};
use crate::runtime::Event;

/// The platform's limit on one chunk.
const MAX_CHUNK: usize = 1 << 20;
/// Chunks waiting to be posted; a job that says more is stopped.
const MAX_WAITING: usize = 10_000;

#[derive(Default)]
struct Pending {
    progress: Option<Value>,
    chunks: VecDeque<Value>,
    all: Vec<Value>,
    /// Chunks that the platform did not take.
    undelivered: Vec<Value>,
    failure: Option<String>,
    closed: bool,
}

struct Shared {
    pending: Mutex<Pending>,
    changed: Notify,
    closing: CancellationToken,
    keep_all: bool,
    /// Cancels the job when a chunk ends it.
    job: CancellationToken,
}

/// What the stream came to.
#[derive(Debug, Default, PartialEq)]
pub struct StreamEnd {
    /// Chunks were said: the final post is that of a stream.
    pub streamed: bool,
    /// All chunks, where they are kept.
    pub all: Vec<Value>,
    /// The chunks that the platform did not take: they must not be lost with a job that is done.
    pub undelivered: Vec<Value>,
    /// A chunk that was an error, or that no platform would take.
    pub failure: Option<String>,
}

/// Receives a job's events on the device's thread and posts them from a task.
pub struct Outbox {
    shared: Arc<Shared>,
    pump: JoinHandle<()>,
}

impl std::fmt::Debug for Outbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox").finish_non_exhaustive()
    }
}

/// Where the engine's events go in.
#[derive(Clone)]
pub struct Sender(Arc<Shared>);

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

impl Outbox {
    /// `keep_all`: chunks are gathered for the final post.
    pub fn open(wire: Wire, id: String, timings: Timings, keep_all: bool, job: CancellationToken) -> Self {
        let shared = Arc::new(Shared {
            pending: Mutex::default(),
            changed: Notify::new(),
            closing: CancellationToken::new(),
            keep_all,
            job,
        });
        let pump = tokio::spawn(pump(shared.clone(), wire, id, timings).in_current_span());
        Self { shared, pump }
    }

    pub fn sender(&self) -> Sender {
        Sender(self.shared.clone())
    }

    /// Drops waiting progress, posts the chunks that are left, and returns when nothing is under way any more.
    pub async fn close(mut self) -> StreamEnd {
        {
            let mut pending = self.shared.lock();
            pending.closed = true;
            pending.progress = None;
        }
        self.shared.closing.cancel();
        self.shared.changed.notify_one();
        if (&mut self.pump).await.is_err() {
            tracing::error!("an outbox failed");
        }
        let mut pending = self.shared.lock();
        StreamEnd {
            streamed: !pending.all.is_empty() || pending.failure.is_some(),
            all: std::mem::take(&mut pending.all),
            undelivered: std::mem::take(&mut pending.undelivered),
            failure: pending.failure.take(),
        }
    }

    /// Ends without another word: the job was stopped.
    pub fn abandon(self) {}
}

impl Drop for Outbox {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

impl Sender {
    pub fn say(&self, event: &Event) {
        let mut pending = self.0.lock();
        if pending.closed || pending.failure.is_some() {
            return;
        }
        let chunk = match event {
            Event::Stage { streamed, .. } => {
                let stage = event.to_json();
                pending.progress = Some(stage.clone());
                streamed.then_some(stage)
            }
            Event::Progress(value) => {
                pending.progress = Some(value.clone());
                None
            }
            Event::Chunk(chunk) => Some(chunk.clone()),
        };
        if let Some(chunk) = chunk {
            if let Some(failure) = why_not(&chunk, pending.chunks.len()) {
                pending.failure = Some(failure);
                self.0.job.cancel();
            } else {
                // Without aggregation only the fact counts.
                if self.0.keep_all {
                    pending.all.push(chunk.clone());
                } else if pending.all.is_empty() {
                    pending.all.push(Value::Null);
                }
                pending.chunks.push_back(chunk);
            }
        }
        drop(pending);
        self.0.changed.notify_one();
    }
}

/// Why this chunk ends the stream.
fn why_not(chunk: &Value, waiting: usize) -> Option<String> {
    if let Some(error) = chunk
        .get("error")
        .filter(|e| !e.is_null() && *e != &json!("") && *e != &json!(false))
    {
        return Some(error.as_str().map_or_else(|| error.to_string(), str::to_owned));
    }
    let bytes = chunk.to_string().len();
    if bytes > MAX_CHUNK {
        return Some(format!(
            "a stream chunk of {bytes} bytes is over the platform's 1 MiB"
        ));
    }
    (waiting >= MAX_WAITING).then(|| format!("{waiting} stream chunks are waiting to be sent"))
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn pump(shared: Arc<Shared>, wire: Wire, id: String, timings: Timings) {
    let stream = wire.urls.stream(&id);
    let done = wire.urls.done(&id, false);
    let mut last_progress: Option<Instant> = None;
    // Each chunk would be tried as long as the one that was given up.
    let mut deaf = false;
    loop {
        let (chunk, closed, has_progress) = {
            let mut pending = shared.lock();
            (
                pending.chunks.pop_front(),
                pending.closed,
                pending.progress.is_some(),
            )
        };
        if let Some(chunk) = chunk {
            if let Some(url) = &stream {
                let body = json!({ "output": chunk }).to_string();
                let sent = if deaf {
                    Delivered::GivenUp
                } else {
                    wire.post("chunk", url, &id, &body, timings.chunk_for).await
                };
                if !matches!(sent, Delivered::Yes | Delivered::Gone) {
                    deaf |= sent == Delivered::GivenUp;
                    tracing::warn!(job = id, ?sent, "a stream chunk was not taken");
                    shared.lock().undelivered.push(chunk);
                }
            }
            continue;
        }
        if closed {
            return;
        }
        if !has_progress {
            shared.changed.notified().await;
            continue;
        }
        let not_before = last_progress.map(|at| at + timings.progress_gap);
        if let Some(at) = not_before
            && at > Instant::now()
        {
            // A chunk, a newer progress or the end may come first.
            let _ = tokio::time::timeout_at(at, shared.changed.notified()).await;
            continue;
        }
        let Some(value) = shared.lock().progress.take() else {
            continue;
        };
        last_progress = Some(Instant::now());
        if let Some(url) = &done {
            let body = json!({"status": "IN_PROGRESS", "output": value}).to_string();
            progress(&shared, &wire, url, &id, body, timings).await;
        }
    }
}

/// Best effort, once. If the job ends meanwhile, the post may finish for a moment, then it is dropped: the result must
/// come last.
async fn progress(shared: &Shared, wire: &Wire, url: &str, id: &str, body: String, timings: Timings) {
    let post = wire.post_once(url, id, body);
    tokio::pin!(post);
    let result = tokio::select! {
        result = &mut post => Some(result),
        () = shared.closing.cancelled() => tokio::time::timeout(timings.progress_wait, post).await.ok(),
    };
    match result {
        Some(Ok(response)) if response.status().is_success() => {}
        Some(Ok(response)) => tracing::debug!(
            job = id,
            status = response.status().as_u16(),
            "progress not taken"
        ),
        Some(Err(error)) => tracing::debug!(job = id, "progress not delivered: {}", error.without_url()),
        None => tracing::debug!(job = id, "progress dropped for the result"),
    }
}
