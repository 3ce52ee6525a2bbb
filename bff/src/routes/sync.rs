//! What the phone measured comes in: our own shape, and those of exporters that exist.
//!
//! Exporters go on after any 2xx and throw a chunk away on most 4xx, so whatever can be answered is answered with 200
//! and a verdict for each record, and overload is 503.

mod take;
mod verdict;

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::body::{Check, require_json, too_large};
use super::caller::CurrentUser;
use super::query::Params;
use crate::domain::ingest::canonical::NotABatch;
use crate::domain::ingest::{canonical, health_auto_export, open_wearables, sparky};
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::outbox::kinds::{CALCULATE_ENERGY_SCORE, REFRESH_HEALTH_DAILY};
use take::take;
use verdict::{Counts, RecordVerdict, Verdict};

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SyncAnswer {
    #[schema(required)]
    batch_id: Option<String>,
    /// Moves with every batch that had records, also if all of them were duplicates or rejected.
    #[schema(required)]
    cursor: Option<String>,
    counts: Counts,
    /// Things that are no records here, such as workouts.
    ignored: usize,
    /// Values that deletions cleared.
    deleted: u64,
    results: Vec<RecordVerdict>,
}

/// For the description: what our own shape looks like.
#[derive(Debug, Deserialize, ToSchema)]
#[allow(dead_code, reason = "read by canonical::read, one record at a time")]
pub(super) struct SyncBatch {
    batch_id: Option<String>,
    cursor: Option<String>,
    device: Option<String>,
    /// IANA name; taken into a profile that has none.
    timezone: Option<String>,
    records: Vec<SyncRecord>,
    #[serde(default)]
    deletions: Vec<SyncDeletion>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[allow(dead_code, reason = "read by canonical::read, one record at a time")]
pub(super) struct SyncRecord {
    id: Option<String>,
    /// `steps`, `active_energy_kcal`, `resting_hr`, `hrv_rmssd`, `hrv_sdnn`, `sleep_score`, `sleep_stage`, `subj_feel`.
    kind: String,
    /// RFC 3339 with offset.
    start: String,
    /// RFC 3339 with offset; sums need it.
    end: Option<String>,
    value: Option<f64>,
    /// Of a `sleep_stage`: deep, rem, core, awake, asleep, in_bed.
    stage: Option<String>,
    /// `watch`, `phone`, `ring`, `band`, `manual`, or a name.
    source: Option<String>,
    device: Option<String>,
    /// Deduplicated by the phone's health store.
    merged: Option<bool>,
    /// A running total.
    cumulative: Option<bool>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[allow(dead_code, reason = "read by canonical::read, one record at a time")]
pub(super) struct SyncDeletion {
    source: String,
    kind: String,
    from: String,
    to: String,
}

/// Takes a batch, plain or gzipped. Records are refused one by one, never the batch: `future_time` is more than ten
/// minutes ahead, `before_account` older than the account by more than 35 days (the operator may set 0). Sending a batch
/// again changes nothing; a corrected value wins.
#[utoipa::path(post, path = "/sync/batch", tag = "sync", request_body = SyncBatch, responses(
    (status = 200, body = SyncAnswer),
    (status = 413, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn batch(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    request: Request,
) -> Result<Response, Problem> {
    let body = body(request).await?;
    let batch = canonical::read(&body, app.limits.sync_records).map_err(not_a_batch)?;
    Ok(Answer(take(&app, &user, batch, None).await?).into_response())
}

/// Takes what an exporter posts, in its own shape, plain or gzipped: `health_auto_export`, `open_wearables`, `sparky`.
#[utoipa::path(post, path = "/sync/adapters/{adapter}", tag = "sync",
    params(("adapter" = String, Path, description = "health_auto_export, open_wearables or sparky")),
    request_body(content = Value, description = "the exporter's own shape"), responses(
    (status = 200, body = SyncAnswer),
    (status = 413, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn adapter(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Path(name): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, Problem> {
    let most = app.limits.sync_records;
    let body = body(request).await?;
    match name.as_str() {
        "health_auto_export" => {
            let aggregation = headers
                .get("automation-aggregation")
                .and_then(|v| v.to_str().ok());
            let batch = health_auto_export::read(&body, aggregation, most).map_err(not_a_batch)?;
            Ok(Answer(take(&app, &user, batch, None).await?).into_response())
        }
        "open_wearables" => {
            let batch = open_wearables::read(&body, most).map_err(not_a_batch)?;
            Ok(Answer(take(&app, &user, batch, None).await?).into_response())
        }
        "sparky" => {
            let mut tx = app.db.user(user.id).await?;
            let zone = tx.profile().await?.value.calendar().zone;
            let batch = sparky::read(&body, &zone, most).map_err(not_a_batch)?;
            Ok(Answer(as_sparky(&take(&app, &user, batch, Some(tx)).await?)).into_response())
        }
        _ => Err(Problem::not_found()),
    }
}

async fn body(request: Request) -> Result<Bytes, Problem> {
    require_json(&request)?;
    Bytes::from_request(request, &()).await.map_err(too_large)
}

fn not_a_batch(why: NotABatch) -> Problem {
    match why {
        NotABatch::NotJson => Problem::new(Code::BadRequest, "the body is not JSON"),
        NotABatch::Shape => Problem::field("", "not_a_batch"),
        NotABatch::TooMany => Problem::new(Code::TooManyRecords, "more records than one batch may have"),
    }
}

/// Its app keeps a chunk for ever if every record of it is an error, so what we do not keep is skipped.
fn as_sparky(answer: &SyncAnswer) -> Value {
    let (skipped, processed): (Vec<_>, Vec<_>) = answer
        .results
        .iter()
        .partition(|r| r.verdict == Verdict::Rejected);
    let mut value = serde_json::to_value(answer).unwrap_or_default();
    value["processed"] = serde_json::to_value(processed).unwrap_or_default();
    value["skipped"] = serde_json::to_value(skipped).unwrap_or_default();
    value["errors"] = Value::Array(Vec::new());
    value
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CursorParams {
    /// As sent in batches.
    #[serde(default)]
    device: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CursorView {
    #[schema(required)]
    cursor: Option<String>,
}

/// How far a device has come.
#[utoipa::path(get, path = "/sync/cursor", tag = "sync", params(CursorParams), responses(
    (status = 200, body = CursorView)))]
pub(super) async fn cursor(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Params(params): Params<CursorParams>,
) -> Result<Answer<CursorView>, Problem> {
    let mut check = Check::default();
    if !params.device.is_empty() {
        check.text("?device", &params.device, 100);
    }
    check.done()?;
    let mut tx = app.db.user(user.id).await?;
    Ok(Answer(CursorView {
        cursor: tx.sync_cursor(&params.device).await?,
    }))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SourceView {
    source: String,
    rows: i64,
}

/// The sources that have measured something.
#[utoipa::path(get, path = "/sync/sources", tag = "sync", responses((status = 200, body = Vec<SourceView>)))]
pub(super) async fn sources(
    State(app): State<Arc<App>>,
    user: CurrentUser,
) -> Result<Answer<Vec<SourceView>>, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let sources = tx.sources().await?;
    Ok(Answer(
        sources
            .into_iter()
            .map(|(source, rows)| SourceView { source, rows })
            .collect(),
    ))
}

/// Forgets all that one source measured; totals follow.
#[utoipa::path(delete, path = "/sync/sources/{source}", tag = "sync",
    params(("source" = String, Path, description = "as listed")), responses(
    (status = 204, description = "gone"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn forget(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Path(source): Path<String>,
) -> Result<StatusCode, Problem> {
    if source.chars().any(char::is_control) {
        return Err(Problem::not_found());
    }
    let mut tx = app.db.user(user.id).await?;
    let Some((from, to)) = tx.span_of_source(&source).await? else {
        return Err(Problem::not_found());
    };
    tx.forget_source(&source).await?;
    tx.changed_days(REFRESH_HEALTH_DAILY, from, to, app.clock.now())
        .await?;
    tx.emit(CALCULATE_ENERGY_SCORE, None, &Value::Object(Default::default()))
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
