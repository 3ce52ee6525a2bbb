//! Calls that hold the line: `/v1/scan` and one model alone. A full queue is 429 at once; a caller who hangs up
//! cancels the work.

use std::convert::Infallible;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::future::BoxFuture;
use futures::stream::{self, Stream};
use serde_json::Value;
use tokio::sync::mpsc;

use super::body::{self, Held, WholeBody};
use super::edge::RequestId;
use super::multipart::{self, ScanFormDoc};
use super::openapi::{InvocationAnswerDoc, JobInputDoc, PhotoBodyDoc, ScanInputDoc};
use super::problem::Problem;
use super::refusals::OfScan;
use super::{SharedApp, fields};
use crate::contract::model_answer::{DepthAnswer, IdentifyAnswer, SegmentAnswer};
use crate::contract::recompute::RecomputeRequest;
use crate::contract::request::{ImageSource, ModelCall};
use crate::contract::{ErrorCode, ScanError, ScanRequest, ScanResult};
use crate::runtime::context::Limit;
use crate::runtime::{Admission, Event, JobContext, JobInput, ModelTask};

type Answer = Result<Response, Problem>;

/// Scan one photo.
///
/// JSON, `multipart/form-data` or an image as the body; with `Accept: text/event-stream` the stages are told as they
/// begin, then the result.
#[utoipa::path(post, path = "/v1/scan", tag = "direct",
    request_body(content(
        (ScanInputDoc = "application/json"), (ScanFormDoc = "multipart/form-data"), (inline(PhotoBodyDoc) = "image/jpeg"),
        (inline(PhotoBodyDoc) = "image/png"), (inline(PhotoBodyDoc) = "image/webp"), (inline(PhotoBodyDoc) = "image/heic"),
        (inline(PhotoBodyDoc) = "application/octet-stream"))),
    params(("X-Amzn-SageMaker-Custom-Attributes" = Option<String>, Header,
        description = "fields beside a bare image, as `pitch_deg=40,plate_cm=26`")),
    responses((status = 200, description = "measured; as events `stage`, then one `result` or `problem`",
        content((ScanResult = "application/json"), (String = "text/event-stream"))), OfScan))]
pub async fn scan(
    State(app): State<SharedApp>,
    id: Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (input, held) = input(&app, &headers, body).await?;
    let other = match &input {
        JobInput::Model(request) => Some(request.task.as_str()),
        JobInput::Recompute(_) => Some("recompute"),
        JobInput::Scan(_) | JobInput::Mock(_) => None,
    };
    if let Some(task) = other {
        let text = format!("this path answers scans only; send it to /v1/{task}");
        return Err(Problem::new(ErrorCode::BadRequest, text));
    }
    respond(app, id.0.0, &headers, input, held).await
}

/// Scan one photo, on SageMaker's path.
///
/// As `/v1/scan`; because SageMaker has this path only, `task` in the JSON body picks one model alone.
#[utoipa::path(post, path = "/invocations", tag = "direct",
    request_body(content(
        (JobInputDoc = "application/json"), (ScanFormDoc = "multipart/form-data"), (inline(PhotoBodyDoc) = "image/jpeg"),
        (inline(PhotoBodyDoc) = "image/png"), (inline(PhotoBodyDoc) = "image/webp"), (inline(PhotoBodyDoc) = "image/heic"),
        (inline(PhotoBodyDoc) = "application/octet-stream"))),
    params(("X-Amzn-SageMaker-Custom-Attributes" = Option<String>, Header,
        description = "fields beside a bare image, as `pitch_deg=40,plate_cm=26`")),
    responses((status = 200, description = "measured, or one model's answer",
        content((InvocationAnswerDoc = "application/json"), (String = "text/event-stream"))), OfScan))]
pub async fn invocations(
    State(app): State<SharedApp>,
    id: Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    let (input, held) = input(&app, &headers, body).await?;
    respond(app, id.0.0, &headers, input, held).await
}

async fn input(app: &SharedApp, headers: &HeaderMap, body: Body) -> Result<(JobInput, Held), Problem> {
    app.check_accepting()?;
    read_scan(app, headers, body).await
}

async fn respond(app: SharedApp, id: String, headers: &HeaderMap, input: JobInput, held: Held) -> Answer {
    if accepts_events(headers) {
        return Ok(with_events(app, id, input, held).into_response());
    }
    answer(&app, id, input, held).await
}

/// Correct the result of a scan.
///
/// Labels, grams, portions, answers; every other number moves as it should. Stateless, and needs no model: the original
/// result and all edits since in, the new result out, the original kept inside.
#[utoipa::path(post, path = "/v1/recompute", tag = "direct", request_body = RecomputeRequest,
    responses((status = 200, description = "the corrected result", body = ScanResult), OfScan))]
pub async fn recompute(
    State(app): State<SharedApp>,
    id: Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    app.check_accepting()?;
    body::expect_json(&app, &headers)?;
    let WholeBody { bytes, held } = read(&app, &headers, body).await?;
    let Value::Object(mut fields) = body::json(&app, bytes).await? else {
        let text = "the body must be a JSON object";
        return Err(Problem::new(ErrorCode::BadRequest, text));
    };
    fields.insert("task".into(), "recompute".into());
    let input = app.executor.parse(Value::Object(fields))?;
    answer(&app, id.0.0, input, held).await
}

/// Masks of one photo: at `box` or `point`, or everything without either.
#[utoipa::path(post, path = "/v1/segment", tag = "direct", request_body = ModelCall,
    responses((status = 200, description = "masks", body = SegmentAnswer), OfScan))]
pub async fn segment(
    app: State<SharedApp>,
    id: Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    one_model(app.0, id.0.0, headers, body, ModelTask::Segment).await
}

/// Depth of one photo.
#[utoipa::path(post, path = "/v1/depth", tag = "direct", request_body = ModelCall,
    responses((status = 200, description = "depth", body = DepthAnswer), OfScan))]
pub async fn depth(
    app: State<SharedApp>,
    id: Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    one_model(app.0, id.0.0, headers, body, ModelTask::Depth).await
}

/// What the vision-language model takes one photo for, or what lies at `box` or `point`.
#[utoipa::path(post, path = "/v1/identify", tag = "direct", request_body = ModelCall,
    responses((status = 200, description = "kind and label", body = IdentifyAnswer), OfScan))]
pub async fn identify(
    app: State<SharedApp>,
    id: Extension<RequestId>,
    headers: HeaderMap,
    body: Body,
) -> Answer {
    one_model(app.0, id.0.0, headers, body, ModelTask::Identify).await
}

async fn one_model(app: SharedApp, id: String, headers: HeaderMap, body: Body, task: ModelTask) -> Answer {
    app.check_accepting()?;
    body::expect_json(&app, &headers)?;
    let WholeBody { bytes, held } = read(&app, &headers, body).await?;
    let Value::Object(fields) = body::json(&app, bytes).await? else {
        return Err(Problem::new(
            ErrorCode::BadRequest,
            "the body must be a JSON object",
        ));
    };
    answer(&app, id, JobInput::model(task, fields)?, held).await
}

async fn read(app: &SharedApp, headers: &HeaderMap, body: Body) -> Result<WholeBody, Problem> {
    body::read(app, headers, body, app.options.direct_body).await
}

/// `_held`: the photo is in memory, in one form or another, until the answer is.
async fn answer(app: &SharedApp, id: String, input: JobInput, _held: Held) -> Answer {
    let begun = Instant::now();
    let ctx = JobContext::of(id)
        .limit(Limit::At(begun + app.options.direct_time))
        .build();
    let value = app
        .executor
        .run(input, ctx, Admission::Refuse)
        .await
        .map_err(|e| refused(app, e))?;
    let timing = server_timing(&value, begun);
    let mut response = Json(value).into_response();
    if let Ok(timing) = HeaderValue::from_str(&timing) {
        response.headers_mut().insert("server-timing", timing);
    }
    Ok(response)
}

fn refused(app: &SharedApp, error: ScanError) -> Problem {
    let full = error.code == ErrorCode::QueueFull;
    let problem = Problem::from(error);
    if full {
        problem.retry_after(app.executor.device().retry_after().as_secs())
    } else {
        problem
    }
}

/// `stage` events, then one `result` or `problem`. Hanging up drops the stream, and with it the work.
fn with_events(
    app: SharedApp,
    id: String,
    input: JobInput,
    held: Held,
) -> Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let (tell, told) = mpsc::unbounded_channel::<Event>();
    let ctx = JobContext::of(id.clone())
        .limit(Limit::At(Instant::now() + app.options.direct_time))
        .on_event(move |event| drop(tell.send(event)))
        .build();
    let work = async move {
        let _held = held;
        match app.executor.run(input, ctx, Admission::Refuse).await {
            Ok(value) => named("result", &value),
            Err(error) => named("problem", &refused(&app, error).body(&id)),
        }
    };
    let telling = Telling {
        work: Box::pin(work),
        told,
        end: None,
        over: false,
    };
    Sse::new(stream::unfold(telling, Telling::next)).keep_alive(KeepAlive::default())
}

/// Stages while the work goes on, those still unsaid when it ends, then its end.
struct Telling {
    work: BoxFuture<'static, sse::Event>,
    told: mpsc::UnboundedReceiver<Event>,
    end: Option<sse::Event>,
    over: bool,
}

impl Telling {
    async fn next(mut self) -> Option<(Result<sse::Event, Infallible>, Self)> {
        if self.over {
            return None;
        }
        if self.end.is_none() {
            tokio::select! {
                biased;
                Some(event) = self.told.recv() => return Some((Ok(named("stage", &event.to_json())), self)),
                end = &mut self.work => self.end = Some(end),
            }
        }
        if let Ok(event) = self.told.try_recv() {
            return Some((Ok(named("stage", &event.to_json())), self));
        }
        self.over = true;
        let end = self.end.take()?;
        Some((Ok(end), self))
    }
}

fn named(name: &str, data: &impl serde::Serialize) -> sse::Event {
    sse::Event::default()
        .event(name)
        .json_data(data)
        .unwrap_or_else(|_| sse::Event::default().event("problem").data("{}"))
}

/// The result's own stage times and the total.
fn server_timing(value: &Value, begun: Instant) -> String {
    let mut parts: Vec<String> = value["timings_ms"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(name, _)| *name != "total")
        .filter_map(|(name, ms)| Some(format!("{name};dur={:.1}", ms.as_f64()?)))
        .collect();
    parts.push(format!("total;dur={:.1}", begun.elapsed().as_secs_f64() * 1e3));
    parts.join(", ")
}

/// Reads a scan from whatever form its body has. What the body shows counts more than what its type says: programs
/// send photos and JSON under all sorts of types.
async fn read_scan(app: &SharedApp, headers: &HeaderMap, body: Body) -> Result<(JobInput, Held), Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let kind = kind.unwrap_or_default().trim().to_ascii_lowercase();
    let is = |start: &str| kind.starts_with(start);
    // Any word could be base64; only a text is taken for it.
    let addressed =
        |source: &ImageSource| is("text/") || matches!(source, ImageSource::S3(_) | ImageSource::Url(_));
    let WholeBody { bytes, held } = read(app, headers, body).await?;
    let mut scan = if is("multipart/form-data") {
        multipart::scan(headers, bytes).await?
    } else {
        let start = bytes.iter().copied().find(|b| !b.is_ascii_whitespace());
        let json = matches!(start, Some(b'{' | b'[' | b'"'));
        let text = std::str::from_utf8(&bytes).ok().filter(|_| !json);
        let image = is("image/")
            || is("application/x-image")
            || image::guess_format(&bytes).is_ok()
            || bytes.get(4..8) == Some(b"ftyp");
        if image && !json {
            ScanRequest::new(ImageSource::Bytes(bytes.to_vec()))
        } else if let Some(source) = text.and_then(ImageSource::from_text).filter(addressed) {
            ScanRequest::new(source)
        } else if is("application/octet-stream") && !json {
            ScanRequest::new(ImageSource::Bytes(bytes.to_vec()))
        } else {
            body::expect_json(app, headers)?;
            let value = match body::json(app, bytes).await? {
                Value::String(image) => serde_json::json!({ "image": image }),
                value => value,
            };
            match app.executor.parse(value)? {
                JobInput::Scan(scan) => *scan,
                other => return Ok((other, held)),
            }
        }
    };
    fields::fill(&mut scan, headers)?;
    Ok((JobInput::Scan(Box::new(scan)), held))
}

fn accepts_events(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|v| v.contains("text/event-stream"))
}
