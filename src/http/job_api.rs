//! The job API in the shape of RunPod's cloud, so that its clients work unchanged.
//!
//! Success is always exactly 200. `error` of a job is always text.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::SharedApp;
use super::body::{self, Taken};
use super::extract::{JobId, Wait};
use super::problem::Problem;
use crate::contract::quote::{parsed, said};
use crate::contract::{ErrorCode, ScanError};
use crate::jobs::{Policy, StoreError, Submission};
use crate::runtime::{EngineState, json as budget};
use crate::s3::S3Keys;

/// Bytes of a webhook's address.
const MAX_WEBHOOK: usize = 2048;

type Answer = Result<Json<Value>, Problem>;

#[derive(Deserialize)]
struct JobBody {
    input: Option<Box<RawValue>>,
    webhook: Option<Value>,
    policy: Option<Value>,
    #[serde(rename = "s3Config")]
    s3_config: Option<Value>,
}

/// Queue a job and answer at once.
#[utoipa::path(post, path = "/run", tag = "jobs", request_body = super::openapi::JobRequest,
    responses((status = 200, description = "accepted", body = super::openapi::JobView),
              (status = 429, description = "the queue is full; see Retry-After")))]
pub async fn run(State(app): State<SharedApp>, headers: HeaderMap, body: Body) -> Answer {
    let taken = body::read(&app, &headers, body, app.options.run_body).await?;
    submit(&app, &headers, taken, false).await.map(Json)
}

/// Queue a job and wait for it, up to `wait` milliseconds; then answer with its state.
#[utoipa::path(post, path = "/runsync", tag = "jobs", request_body = super::openapi::JobRequest,
    params(("wait" = Option<u64>, Query, description = "milliseconds, 1000 to 300000; 90000 if left out")),
    responses((status = 200, description = "ended, or still under way", body = super::openapi::JobView),
              (status = 429, description = "the queue is full; see Retry-After")))]
pub async fn runsync(State(app): State<SharedApp>, wait: Wait, headers: HeaderMap, body: Body) -> Answer {
    let taken = body::read(&app, &headers, body, app.options.runsync_body).await?;
    let accepted = submit(&app, &headers, taken, true).await?;
    let id = accepted["id"].as_str().unwrap_or_default().to_owned();
    Ok(Json(
        wait_for(&app, &id, wait.within(300_000))
            .await
            .unwrap_or(accepted),
    ))
}

/// How a job stands; `output` is the latest progress while it runs.
#[utoipa::path(get, path = "/status/{id}", tag = "jobs", params(("id" = String, Path,)),
    responses((status = 200, body = super::openapi::JobView), (status = 404, description = "unknown or expired")))]
pub async fn status(State(app): State<SharedApp>, JobId(id): JobId) -> Answer {
    app.store.view(&id).map(Json).ok_or_else(|| not_found(&id))
}

/// As `/status`, held until the job has ended or `wait` is over.
#[utoipa::path(get, path = "/status-sync/{id}", tag = "jobs", params(("id" = String, Path,),
    ("wait" = Option<u64>, Query, description = "milliseconds, 1000 to 90000")),
    responses((status = 200, body = super::openapi::JobView), (status = 404, description = "unknown or expired")))]
pub async fn status_sync(State(app): State<SharedApp>, JobId(id): JobId, wait: Wait) -> Answer {
    wait_for(&app, &id, wait.within(90_000))
        .await
        .map(Json)
        .ok_or_else(|| not_found(&id))
}

/// What a streaming job said since the last call; stages as they begin where `input.options.stream` asked for them. Empty
/// for other jobs, as in the cloud.
#[utoipa::path(get, path = "/stream/{id}", tag = "jobs", params(("id" = String, Path,)),
    responses((status = 200, description = "new elements only", body = super::openapi::JobStream),
              (status = 404, description = "unknown or expired")))]
pub async fn stream(State(app): State<SharedApp>, JobId(id): JobId) -> Answer {
    app.store.stream(&id).map(Json).ok_or_else(|| not_found(&id))
}

/// Stop a job; one that has ended stays as it is.
#[utoipa::path(post, path = "/cancel/{id}", tag = "jobs", params(("id" = String, Path,)),
    responses((status = 200, body = super::openapi::JobView), (status = 404, description = "unknown or expired")))]
pub async fn cancel(State(app): State<SharedApp>, JobId(id): JobId) -> Answer {
    let status = app.store.cancel(&id).await.map_err(|e| refused(&app, &id, e))?;
    Ok(Json(json!({"id": id, "status": status})))
}

/// Run a FAILED or TIMED_OUT job again under the same id.
#[utoipa::path(post, path = "/retry/{id}", tag = "jobs", params(("id" = String, Path,)),
    responses((status = 200, body = super::openapi::JobView), (status = 400, description = "not FAILED or TIMED_OUT")))]
pub async fn retry(State(app): State<SharedApp>, JobId(id): JobId) -> Answer {
    app.check_accepting()?;
    let view = app.store.retry(&id).await.map_err(|e| refused(&app, &id, e))?;
    Ok(Json(json!({"id": id, "status": view["status"]})))
}

/// Cancel every job that waits.
#[utoipa::path(post, path = "/purge-queue", tag = "jobs", responses((status = 200, description = "how many")))]
pub async fn purge_queue(State(app): State<SharedApp>) -> Answer {
    let removed = app.store.purge().await.map_err(|e| refused(&app, "", e))?;
    Ok(Json(json!({"removed": removed, "status": "completed"})))
}

/// Counts of jobs and the state of the worker.
#[utoipa::path(get, path = "/health", tag = "jobs", responses((status = 200, description = "counts")))]
pub async fn health(State(app): State<SharedApp>) -> Json<Value> {
    let mut health = app.store.health();
    let running = u8::from(health["jobs"]["inProgress"].as_u64() > Some(0));
    let state = app.executor.device().state();
    let is = |yes: bool| u8::from(yes);
    let ready = matches!(state, EngineState::Ready(_));
    health["workers"] = json!({
        "idle": is(ready && running == 0),
        "running": running,
        "ready": is(ready),
        "initializing": is(matches!(state, EngineState::Loading | EngineState::WarmingUp)),
        "throttled": 0,
        "unhealthy": is(matches!(state, EngineState::Failed(_) | EngineState::Stopped)),
    });
    Json(health)
}

async fn submit(app: &SharedApp, headers: &HeaderMap, taken: Taken, sync: bool) -> Result<Value, Problem> {
    app.check_accepting()?;
    body::expect_json(app, headers)?;
    let bad = |text: String| Problem::new(ErrorCode::BadRequest, text);
    let Taken { bytes, held: _held } = taken;
    // A list would be read as the fields in their order.
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[') {
        return Err(bad(
            "the body is a list; it must be an object with the key input".into()
        ));
    }
    let body: JobBody = body::parsed(app, bytes, move |bytes| {
        budget::check(&bytes)?;
        serde_json::from_slice(&bytes).map_err(|e| {
            let text = format!("the body cannot be read: {}", parsed(e));
            ScanError::new(ErrorCode::BadRequest, text)
        })
    })
    .await?;
    let input = body.input.ok_or_else(|| bad("input is required".into()))?;
    let webhook = match body.webhook {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(check_webhook(text, app.options.private_webhooks).map_err(bad)?),
        Some(_) => return Err(bad("webhook must be a URL".into())),
    };
    let policy = match body.policy {
        None | Some(Value::Null) => Policy::default(),
        Some(object @ Value::Object(_)) => {
            serde_json::from_value(object).map_err(|e| bad(format!("policy: {}", parsed(e))))?
        }
        Some(_) => return Err(bad("policy must be an object".into())),
    };
    policy.check().map_err(bad)?;
    let s3 = S3Keys::of_job(body.s3_config)?;
    // An endpoint that will be refused is refused now.
    app.executor.buckets().of_job(s3.as_ref())?;
    let submission = Submission {
        input: Arc::from(input),
        webhook,
        policy,
        s3,
        sync,
    };
    app.store
        .submit(submission)
        .await
        .map_err(|e| refused(app, "", e))
}

fn check_webhook(text: String, private: bool) -> Result<String, String> {
    if text.len() > MAX_WEBHOOK {
        return Err(format!("webhook is over {MAX_WEBHOOK} bytes"));
    }
    let url = url::Url::parse(&text).map_err(|e| format!("webhook is not a URL: {e}"))?;
    match url.scheme() {
        "https" => {}
        "http" if private => {}
        "http" => return Err("webhook must be https".into()),
        other => return Err(format!("webhook cannot be {}", said(other))),
    }
    if url.host().is_none() {
        return Err("webhook has no host".into());
    }
    if !private && !matches!(url.host(), Some(url::Host::Domain(_))) {
        return Err("webhook must name a host, not an IP address".into());
    }
    Ok(text)
}

async fn wait_for(app: &SharedApp, id: &str, limit: Duration) -> Option<Value> {
    tokio::select! {
        view = app.store.wait(id, limit) => view,
        () = app.closing.cancelled() => app.store.view(id),
    }
}

fn not_found(id: &str) -> Problem {
    Problem::new(ErrorCode::NotFound, format!("job not found: {}", said(id)))
}

fn refused(app: &SharedApp, id: &str, error: StoreError) -> Problem {
    match error {
        StoreError::NotFound => not_found(id),
        StoreError::NotRetryable(_) => Problem::new(ErrorCode::BadRequest, error.to_string()),
        StoreError::Full { .. } | StoreError::NoRoom => Problem {
            next_step: Some("try again after the time in Retry-After".into()),
            ..Problem::new(ErrorCode::QueueFull, error.to_string())
        }
        .retry_after(app.executor.device().retry_after().as_secs()),
        StoreError::Disk(_) => Problem {
            status: StatusCode::SERVICE_UNAVAILABLE,
            next_step: Some("try again; the service goes on by itself when its disk can be written".into()),
            ..Problem::new(ErrorCode::Storage, error.to_string())
        }
        .retry_after(5),
    }
}
