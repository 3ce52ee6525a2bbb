//! RunPod's realtime call: one job at a time, answered with what a worker would post.

use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use serde_json::Value;
use utoipa::ToSchema;

use super::SharedApp;
use super::body::{self, WholeBody};
use super::openapi::JobInputDoc;
use super::problem::Problem;
use super::refusals::{OfBody, OfQueue};
use crate::contract::{ErrorCode, bounds};
use crate::runpod::Outcome;
use crate::runtime::context::Limit;
use crate::runtime::{Admission, JobContext};

/// A job with the id that the caller gave it.
#[derive(Debug, ToSchema)]
#[schema(as = RealtimeJob)]
pub struct RealtimeJobDoc {
    pub id: String,
    pub input: JobInputDoc,
}

/// How the job ended, as a worker posts it: an output, an error, or both.
#[derive(Debug, ToSchema)]
#[schema(as = RealtimeAnswer)]
pub struct RealtimeAnswerDoc {
    pub output: Option<Value>,
    /// As `error` of a `JobView`.
    #[schema(nullable = false)]
    pub error: Option<String>,
    /// The worker wants to be replaced.
    #[schema(rename = "stopPod", nullable = false)]
    pub stop_pod: Option<bool>,
}

/// Run one job and hold the line.
#[utoipa::path(post, path = "/{endpoint}/realtime", tag = "jobs",
    params(("endpoint" = String, Path, description = "any word")), request_body = RealtimeJobDoc,
    responses((status = 200, description = "how the job ended", body = RealtimeAnswerDoc), OfBody, OfQueue))]
pub async fn realtime(
    State(app): State<SharedApp>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Value>, Problem> {
    app.check_accepting()?;
    body::expect_json(&app, &headers)?;
    let WholeBody { bytes, held: _held } = body::read(&app, &headers, body, app.options.runsync_body).await?;
    let bad = |text: &str| Problem::new(ErrorCode::BadRequest, text);
    let Value::Object(mut job) = body::json(&app, bytes).await? else {
        return Err(bad("the body must be a JSON object"));
    };
    let input = job.remove("input").ok_or_else(|| bad("input is required"))?;
    let id = match job.remove("id") {
        Some(Value::String(id)) => id,
        Some(Value::Number(id)) => id.to_string(),
        _ => return Err(bad("id is required, as text")),
    };
    if id.len() > bounds::ID_BYTES {
        return Err(bad(&format!("id is over {} bytes", bounds::ID_BYTES)));
    }
    let ctx = JobContext::of(id)
        .limit(Limit::At(Instant::now() + app.options.direct_time))
        .build();
    let result = match app.executor.parse(input) {
        Ok(input) => app.executor.run(input, ctx, Admission::Refuse).await,
        Err(error) => Err(error),
    };
    let outcome = match result {
        Ok(value) => Outcome::from_return(value),
        Err(error) if error.code == ErrorCode::QueueFull => {
            let after = app.executor.device().retry_after().as_secs();
            return Err(Problem::from(error).retry_after(after));
        }
        Err(error) => Outcome::from_error(&error, &app.identity),
    };
    Ok(Json(outcome.to_post(false)))
}
