//! The job API in the shape of RunPod's cloud, so that its clients work unchanged.
//!
//! Success is always exactly 200. `error` of a job is always text.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::SharedApp;
use super::body::{self, WholeBody};
use super::extract::{JobId, Wait};
use super::openapi::JobInputDoc;
use super::problem::Problem;
use super::refusals::{OfBody, OfJob, OfQueue, OfReadiness};
use crate::contract::quote::{parsed, said};
use crate::contract::{ErrorCode, ScanError};
use crate::jobs::{JobCounts, JobStream, JobView, Policy, Status, StoreError, Submission};
use crate::runtime::{EngineState, json as budget};
use crate::s3::S3Keys;

/// Bytes of a webhook's address.
const MAX_WEBHOOK: usize = 2048;

type Answer<T> = Result<Json<T>, Problem>;

/// Body of `/run` and `/runsync`.
#[derive(Debug, ToSchema)]
#[schema(as = JobRequest)]
pub struct JobRequestDoc {
    pub input: JobInputDoc,
    /// `https` address that is called when the job has ended.
    pub webhook: Option<String>,
    #[schema(nullable = false)]
    pub policy: Option<Policy>,
    /// Where the job's own bucket is: `accessId`, `accessSecret`, `bucketName`, `endpointUrl`.
    #[schema(rename = "s3Config", value_type = Option<Object>)]
    pub s3_config: Option<Value>,
}

#[derive(Deserialize)]
struct JobBody {
    input: Option<Box<RawValue>>,
    webhook: Option<Value>,
    policy: Option<Value>,
    #[serde(rename = "s3Config")]
    s3_config: Option<Value>,
}

/// A job's id and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobState {
    pub id: String,
    pub status: Status,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Purged {
    /// Jobs that were cancelled.
    pub removed: usize,
    /// Always `completed`.
    pub status: &'static str,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    pub jobs: JobCounts,
    pub workers: WorkerCounts,
}

/// The one worker of this service, by how it stands: each 0 or 1.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkerCounts {
    pub idle: u8,
    pub running: u8,
    pub ready: u8,
    pub initializing: u8,
    /// Always 0.
    pub throttled: u8,
    pub unhealthy: u8,
}

/// Queue a job and answer at once.
#[utoipa::path(post, path = "/run", tag = "jobs", request_body = JobRequestDoc,
    responses((status = 200, description = "accepted", body = JobView), OfBody, OfQueue))]
pub async fn run(State(app): State<SharedApp>, headers: HeaderMap, body: Body) -> Answer<JobView> {
    let taken = body::read(&app, &headers, body, app.options.run_body).await?;
    submit(&app, &headers, taken, false).await.map(Json)
}

/// Queue a job and wait for it, up to `wait` milliseconds; then answer with how it stands.
#[utoipa::path(post, path = "/runsync", tag = "jobs", request_body = JobRequestDoc,
    params(("wait" = Option<u64>, Query, description = "milliseconds, 90000 if left out; taken as 1000 to 300000")),
    responses((status = 200, description = "ended, or still under way", body = JobView), OfBody, OfQueue))]
pub async fn runsync(
    State(app): State<SharedApp>,
    wait: Wait,
    headers: HeaderMap,
    body: Body,
) -> Answer<JobView> {
    let taken = body::read(&app, &headers, body, app.options.runsync_body).await?;
    let accepted = submit(&app, &headers, taken, true).await?;
    let now = wait_for(&app, &accepted.id, wait.within(300_000)).await;
    Ok(Json(now.unwrap_or(accepted)))
}

/// How a job stands; `output` is the latest progress while it runs.
#[utoipa::path(method(get, post), path = "/status/{id}", tag = "jobs", params(("id" = String, Path, description = "of the job")),
    responses((status = 200, description = "how it stands", body = JobView), OfJob))]
pub async fn status(State(app): State<SharedApp>, JobId(id): JobId) -> Answer<JobView> {
    app.store.view(&id).map(Json).ok_or_else(|| not_found(&id))
}

/// As `/status`, held until the job has ended or `wait` is over.
#[utoipa::path(method(get, post), path = "/status-sync/{id}", tag = "jobs", params(("id" = String, Path, description = "of the job"),
    ("wait" = Option<u64>, Query, description = "milliseconds, 90000 if left out; taken as 1000 to 90000")),
    responses((status = 200, description = "how it stands", body = JobView), OfJob))]
pub async fn status_sync(State(app): State<SharedApp>, JobId(id): JobId, wait: Wait) -> Answer<JobView> {
    wait_for(&app, &id, wait.within(90_000))
        .await
        .map(Json)
        .ok_or_else(|| not_found(&id))
}

/// What a streaming job said since the last call.
///
/// Stages as they begin, where `input.options.stream` asked for them. Empty for other jobs, as in the cloud.
#[utoipa::path(method(get, post), path = "/stream/{id}", tag = "jobs", params(("id" = String, Path, description = "of the job")),
    responses((status = 200, description = "new elements only", body = JobStream), OfJob))]
pub async fn stream(State(app): State<SharedApp>, JobId(id): JobId) -> Answer<JobStream> {
    app.store.stream(&id).map(Json).ok_or_else(|| not_found(&id))
}

/// Stop a job; one that has ended stays as it is.
#[utoipa::path(post, path = "/cancel/{id}", tag = "jobs", params(("id" = String, Path, description = "of the job")),
    responses((status = 200, description = "how it stands now", body = JobState), OfJob, OfReadiness))]
pub async fn cancel(State(app): State<SharedApp>, JobId(id): JobId) -> Answer<JobState> {
    let status = app.store.cancel(&id).await.map_err(|e| refused(&app, &id, e))?;
    Ok(Json(JobState { id, status }))
}

/// Run a FAILED or TIMED_OUT job again under the same id; any other is refused with 400.
#[utoipa::path(post, path = "/retry/{id}", tag = "jobs", params(("id" = String, Path, description = "of the job")),
    responses((status = 200, description = "queued again", body = JobState), OfJob, OfReadiness))]
pub async fn retry(State(app): State<SharedApp>, JobId(id): JobId) -> Answer<JobState> {
    app.check_accepting()?;
    let view = app.store.retry(&id).await.map_err(|e| refused(&app, &id, e))?;
    let status = view.status;
    Ok(Json(JobState { id, status }))
}

/// Cancel every job that waits.
#[utoipa::path(post, path = "/purge-queue", tag = "jobs",
    responses((status = 200, description = "how many there were", body = Purged), OfReadiness))]
pub async fn purge_queue(State(app): State<SharedApp>) -> Answer<Purged> {
    let removed = app.store.purge().await.map_err(|e| refused(&app, "", e))?;
    Ok(Json(Purged {
        removed,
        status: "completed",
    }))
}

/// Counts of jobs and the state of the worker.
#[utoipa::path(get, path = "/health", tag = "jobs",
    responses((status = 200, description = "counts", body = Health)))]
pub async fn health(State(app): State<SharedApp>) -> Json<Health> {
    let jobs = app.store.counts();
    let running = jobs.in_progress > 0;
    let state = app.executor.device().state();
    let ready = matches!(state, EngineState::Ready(_));
    Json(Health {
        workers: WorkerCounts {
            idle: (ready && !running).into(),
            running: running.into(),
            ready: ready.into(),
            initializing: matches!(state, EngineState::Loading | EngineState::WarmingUp).into(),
            throttled: 0,
            unhealthy: matches!(
                state,
                EngineState::Failed(_) | EngineState::Lost(_) | EngineState::Stopped
            )
            .into(),
        },
        jobs,
    })
}

async fn submit(
    app: &SharedApp,
    headers: &HeaderMap,
    taken: WholeBody,
    sync: bool,
) -> Result<JobView, Problem> {
    app.check_accepting()?;
    body::expect_json(app, headers)?;
    let bad = |text: String| Problem::new(ErrorCode::BadRequest, text);
    let WholeBody { bytes, held: _held } = taken;
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

async fn wait_for(app: &SharedApp, id: &str, limit: Duration) -> Option<JobView> {
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
