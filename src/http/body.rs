//! Reading a request's body: bounded in size, time and the memory of all bodies together, whatever its content type says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::problem::Problem;
use super::{Guard, SharedApp};
use crate::contract::ErrorCode;
use crate::runtime::json;

/// A body that is too large is read this far and dropped, so that clients which send all before they listen hear why.
const DRAINED: usize = 128 << 20;
const DRAIN_TIME: Duration = Duration::from_secs(20);
/// The part of a body that counts as its beginning.
const BEGINNING_KIB: usize = 1 << 10;
/// A sender who says nothing for this long has gone.
const SILENCE: Duration = Duration::from_secs(10);
/// After [`SILENCE`], what the sender of a large body must bring on average: less is no network, it is somebody who holds memory.
const BYTES_A_SECOND: u64 = 16 << 10;
/// JSON over this is parsed off the async threads.
const SMALL: usize = 64 << 10;
/// Large JSON texts parsed at the same time; each may take some times its size.
const PARSED_AT_ONCE: usize = 2;

/// What all bodies together may hold. The beginning of each has a pool of its own, so that small requests are read while
/// large ones fill the rest.
#[derive(Debug)]
pub struct BodyMemory {
    beginnings: Arc<Semaphore>,
    rest: Arc<Semaphore>,
    parsing: Arc<Semaphore>,
}

impl BodyMemory {
    pub(super) fn new(bytes: usize) -> Self {
        let kib = bytes >> 10;
        Self {
            beginnings: Arc::new(Semaphore::new(kib / 3)),
            rest: Arc::new(Semaphore::new(kib - kib / 3)),
            parsing: Arc::new(Semaphore::new(PARSED_AT_ONCE)),
        }
    }
}

/// A whole body; its memory counts until `held` is dropped.
#[derive(Debug)]
pub struct WholeBody {
    pub bytes: Bytes,
    pub held: Held,
}

/// Memory that counts as a body's.
#[derive(Debug, Default)]
pub struct Held {
    beginning: Option<OwnedSemaphorePermit>,
    rest: Option<OwnedSemaphorePermit>,
}

impl Held {
    fn add(&mut self, memory: &BodyMemory, bytes: usize) -> Result<(), Problem> {
        let had = self
            .beginning
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let kib = bytes.div_ceil(1 << 10);
        let of_beginning = kib.min(BEGINNING_KIB - had);
        take(&memory.beginnings, of_beginning, &mut self.beginning)?;
        take(&memory.rest, kib - of_beginning, &mut self.rest)
    }
}

fn take(pool: &Arc<Semaphore>, kib: usize, held: &mut Option<OwnedSemaphorePermit>) -> Result<(), Problem> {
    let kib = u32::try_from(kib).unwrap_or(u32::MAX);
    let Ok(more) = pool.clone().try_acquire_many_owned(kib) else {
        return Err(Problem {
            next_step: Some("try again after the time in Retry-After".into()),
            ..Problem::new(ErrorCode::QueueFull, "too many large requests are being read")
        }
        .retry_after(2));
    };
    match held {
        Some(held) => held.merge(more),
        none => *none = Some(more),
    }
    Ok(())
}

/// The whole body.
///
/// # Errors
/// 413 over `limit` bytes, 408 over `body_time`, 415 for a compressed body, 429 while other bodies fill the memory.
pub async fn read(
    app: &SharedApp,
    headers: &HeaderMap,
    mut body: Body,
    limit: usize,
) -> Result<WholeBody, Problem> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(Problem {
            status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ..Problem::new(ErrorCode::BadRequest, "compressed bodies are not taken")
        });
    }
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<usize>().ok());
    let result = if announced.is_some_and(|n| n > limit) {
        Err(too_large(limit))
    } else {
        let time = app.options.body_time;
        let whole = collect(&mut body, &app.bodies, announced.unwrap_or(0), limit);
        tokio::time::timeout(time, whole)
            .await
            .unwrap_or_else(|_| Err(too_slow(time)))
    };
    if let Err(problem) = &result
        && matches!(
            problem.status,
            StatusCode::PAYLOAD_TOO_LARGE | StatusCode::TOO_MANY_REQUESTS
        )
    {
        let _ = tokio::time::timeout(DRAIN_TIME, drain(&mut body)).await;
    }
    result
}

fn too_large(limit: usize) -> Problem {
    Problem {
        next_step: Some("send a smaller photo, or an s3:// or https:// address of it".into()),
        ..Problem::new(
            ErrorCode::PayloadTooLarge,
            format!("the body is over {limit} bytes"),
        )
    }
}

fn too_slow(limit: Duration) -> Problem {
    Problem {
        status: StatusCode::REQUEST_TIMEOUT,
        ..Problem::new(
            ErrorCode::BadRequest,
            format!("the body did not arrive within {} s", limit.as_secs()),
        )
    }
}

async fn collect(
    body: &mut Body,
    memory: &BodyMemory,
    announced: usize,
    limit: usize,
) -> Result<WholeBody, Problem> {
    let mut held = Held::default();
    // What is announced need not come: memory is taken as it does.
    let mut bytes = Vec::with_capacity(announced.min(SMALL));
    let mut counted = 0;
    let begun = Instant::now();
    loop {
        let next = tokio::time::timeout(SILENCE, body.frame()).await;
        let Some(frame) = next.map_err(|_| too_slow(SILENCE))? else {
            break;
        };
        let late = begun.elapsed().saturating_sub(SILENCE).as_secs();
        let large = bytes.len() > BEGINNING_KIB << 10;
        if large && (bytes.len() as u64) < late * BYTES_A_SECOND {
            return Err(too_slow(begun.elapsed()));
        }
        let frame = frame.map_err(|_| Problem::new(ErrorCode::BadRequest, "the body broke off"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if bytes.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&data);
        // What is set aside for growth is memory as well.
        if bytes.capacity() > counted {
            held.add(memory, bytes.capacity() - counted)?;
            counted = bytes.capacity();
        }
    }
    Ok(WholeBody {
        bytes: bytes.into(),
        held,
    })
}

async fn drain(body: &mut Body) {
    let mut left = DRAINED;
    while let Some(Ok(frame)) = body.frame().await {
        let Some(rest) = left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else {
            return;
        };
        left = rest;
    }
}

/// Where there are no keys, JSON must say that it is: pages of other sites can send any other type without asking.
///
/// # Errors
/// 415.
pub fn expect_json(app: &SharedApp, headers: &HeaderMap) -> Result<(), Problem> {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or_default();
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let json = kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    let fits = json || app.options.guard == Guard::Off;
    if fits {
        return Ok(());
    }
    Err(Problem {
        status: StatusCode::UNSUPPORTED_MEDIA_TYPE,
        next_step: Some("send the header Content-Type: application/json".into()),
        ..Problem::new(ErrorCode::BadRequest, "the body must be JSON and say so")
    })
}

/// A JSON body.
///
/// # Errors
/// 400 that says where it stops being JSON, or that it has too many values.
pub async fn json(app: &SharedApp, bytes: Bytes) -> Result<Value, Problem> {
    parsed(app, bytes, |bytes| json::parse(&bytes)).await
}

/// Parses off the async threads what is not small.
///
/// # Errors
/// Of `parse`.
pub async fn parsed<T, E>(
    app: &SharedApp,
    bytes: Bytes,
    parse: impl FnOnce(Bytes) -> Result<T, E> + Send + 'static,
) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    if bytes.len() <= SMALL {
        return parse(bytes).map_err(Into::into);
    }
    let failed = |_| Problem::new(ErrorCode::Internal, "the body could not be parsed");
    let turn = app.bodies.parsing.clone().acquire_owned().await;
    let work = move || {
        let _turn = turn;
        parse(bytes)
    };
    tokio::task::spawn_blocking(work)
        .await
        .map_err(failed)?
        .map_err(Into::into)
}
