//! What the phone measured comes in: our own shape, and those of exporters that exist.
//!
//! Exporters go on after any 2xx and throw a chunk away on most 4xx, so whatever can be answered is answered with 200
//! and a verdict for each record, and overload is 503.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::body::{Check, require_json, too_large};
use super::query::Params;
use crate::auth::CurrentUser;
use crate::domain::day;
use crate::domain::ingest::canonical::NotABatch;
use crate::domain::ingest::fold::{Column, Folded, Outcome, fold};
use crate::domain::ingest::{
    Batch, Bounds, Kind, Refusal, canonical, health_auto_export, open_wearables, sparky,
};
use crate::domain::metrics::Sample;
use crate::events::kinds::CALCULATE_ENERGY_SCORE;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::UserTx;
use crate::store::health_metrics as stored;

/// What became of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    Stored,
    Duplicate,
    Corrected,
    Rejected,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RecordVerdict {
    /// Index in the batch.
    i: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    verdict: Verdict,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<Refusal>,
}

#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Counts {
    stored: usize,
    duplicate: usize,
    corrected: usize,
    rejected: usize,
}

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

async fn take(
    app: &App,
    user: &CurrentUser,
    batch: Batch,
    tx: Option<UserTx>,
) -> Result<SyncAnswer, Problem> {
    let now = app.clock.now();
    let mut tx = match tx {
        Some(tx) => tx,
        None => app.db.user(user.id).await?,
    };
    let known = tx.begin_sync().await?;
    let hint = batch.timezone.as_deref().filter(|z| day::zone(z).is_some());
    if let (None, Some(name)) = (&known.timezone, hint) {
        tx.adopt_timezone(name).await?;
    }
    let zone = known
        .timezone
        .as_deref()
        .or(hint)
        .and_then(day::zone)
        .unwrap_or(jiff::tz::TimeZone::UTC);
    let grace = i64::try_from(app.limits.sync_grace.as_micros()).unwrap_or(i64::MAX);
    let bounds = Bounds {
        now: now.as_microsecond(),
        oldest: known.created_at.as_microsecond().saturating_sub(grace),
    };
    let folded = fold(&batch.entries, &bounds, &zone);
    let mut deleted = 0;
    for d in &batch.deletions {
        let at = |us| Timestamp::from_microsecond(us).unwrap_or_default();
        deleted += tx
            .clear_samples(&d.source, column_of(d.kind), at(d.from), at(d.to))
            .await?;
    }
    let before = if folded.rows.is_empty() {
        Default::default()
    } else {
        tx.stored_like(&folded.rows).await?
    };
    let (results, counts) = verdicts(&batch, &folded, &before);
    let changed: Vec<Sample> = folded
        .rows
        .iter()
        .filter(|r| differs(r, before.get(&(r.time, r.source.clone()))))
        .cloned()
        .collect();
    let mut newest = changed.iter().map(|r| r.time).max();
    tx.upsert_samples(&changed).await?;
    if !changed.is_empty() && tx.supersede(&folded.covered, &folded.rows).await? > 0 {
        newest = newest.max(Some(bounds.now));
    }
    if deleted > 0 {
        newest = newest.max(batch.deletions.iter().map(|d| d.to.min(bounds.now)).max());
    }
    metrics::counter!("bff_sync_records_total", "verdict" => "stored").increment(counts.stored as u64);
    metrics::counter!("bff_sync_records_total", "verdict" => "duplicate").increment(counts.duplicate as u64);
    metrics::counter!("bff_sync_records_total", "verdict" => "corrected").increment(counts.corrected as u64);
    metrics::counter!("bff_sync_records_total", "verdict" => "rejected").increment(counts.rejected as u64);
    let device = batch.device.as_deref().unwrap_or("");
    let cursor = if batch.entries.is_empty() && batch.deletions.is_empty() {
        batch.cursor.clone()
    } else {
        let cursor = new_cursor(&batch, bounds.now);
        // Only what the score looks back on is worth an event; four hundred thousand duplicates are not.
        let recent = newest.is_some_and(|t| t > bounds.now - 31 * 24 * 3_600_000_000);
        tx.end_sync(device, &cursor, recent.then_some(CALCULATE_ENERGY_SCORE))
            .await?;
        Some(cursor)
    };
    tx.commit().await?;
    Ok(SyncAnswer {
        batch_id: batch.batch_id,
        cursor,
        counts,
        ignored: batch.ignored,
        deleted,
        results,
    })
}

/// Newer than every cursor before, and the end of the latest record for a person who looks into it.
fn new_cursor(batch: &Batch, now: i64) -> String {
    let end = batch
        .entries
        .iter()
        .flat_map(|e| &e.record)
        .map(|r| r.end.min(now))
        .max()
        .unwrap_or(now);
    URL_SAFE_NO_PAD.encode(format!("1.{now}.{end}.{:08x}", rand::random::<u32>()))
}

fn column_of(kind: Kind) -> stored::Column {
    match kind {
        Kind::Steps => stored::Column::Steps,
        Kind::ActiveEnergy => stored::Column::Energy,
        Kind::RestingHr => stored::Column::RestingHr,
        Kind::HrvRmssd => stored::Column::HrvRmssd,
        Kind::HrvSdnn => stored::Column::HrvSdnn,
        Kind::SleepScore | Kind::Stage(_) => stored::Column::Sleep,
        Kind::SubjFeel => stored::Column::Feel,
    }
}

/// Thousandths of a kcal are kept.
fn same_energy(a: f64, b: f64) -> bool {
    (a - b).abs() < 5e-4
}

/// Whether a column of a new row is new, the same, or another value than is stored.
fn compare(column: Column, new: &Sample, old: Option<&Sample>) -> Verdict {
    fn of<T: PartialEq>(new: Option<T>, old: Option<T>) -> Verdict {
        match (new, old) {
            (_, None) => Verdict::Stored,
            (new, old) if new == old => Verdict::Duplicate,
            _ => Verdict::Corrected,
        }
    }
    let Some(old) = old else { return Verdict::Stored };
    match column {
        Column::Steps => of(new.steps, old.steps),
        Column::Energy => match (new.energy, old.energy) {
            (Some(a), Some(b)) if same_energy(a, b) => Verdict::Duplicate,
            (_, None) => Verdict::Stored,
            _ => Verdict::Corrected,
        },
        Column::RestingHr => of(new.resting_hr, old.resting_hr),
        Column::Hrv => of(new.hrv.zip(new.hrv_kind), old.hrv.zip(old.hrv_kind)),
        Column::Sleep => of(new.sleep, old.sleep),
        Column::Feel => of(new.feel, old.feel),
    }
}

fn differs(new: &Sample, old: Option<&Sample>) -> bool {
    let Some(old) = old else { return true };
    let told = [
        (Column::Steps, new.steps.is_some()),
        (Column::Energy, new.energy.is_some()),
        (Column::RestingHr, new.resting_hr.is_some()),
        (Column::Hrv, new.hrv.is_some()),
        (Column::Sleep, new.sleep.is_some()),
        (Column::Feel, new.feel.is_some()),
    ];
    told.into_iter()
        .any(|(column, told)| told && compare(column, new, Some(old)) != Verdict::Duplicate)
        || (new.device.is_some() && new.device != old.device)
}

fn verdicts(
    batch: &Batch,
    folded: &Folded,
    before: &std::collections::HashMap<(i64, String), Sample>,
) -> (Vec<RecordVerdict>, Counts) {
    let mut counts = Counts::default();
    let results = batch
        .entries
        .iter()
        .zip(&folded.outcomes)
        .enumerate()
        .map(|(i, (entry, outcome))| {
            let (verdict, code) = match outcome {
                Outcome::Refused(refusal) => (Verdict::Rejected, Some(*refusal)),
                Outcome::Rows(column, rows) => {
                    let each = rows.iter().map(|r| {
                        let row = &folded.rows[*r];
                        compare(*column, row, before.get(&(row.time, row.source.clone())))
                    });
                    let verdict = each.fold(Verdict::Duplicate, |all, one| match (all, one) {
                        (Verdict::Corrected, _) | (_, Verdict::Corrected) => Verdict::Corrected,
                        (Verdict::Stored, _) | (_, Verdict::Stored) => Verdict::Stored,
                        _ => Verdict::Duplicate,
                    });
                    (verdict, None)
                }
            };
            match verdict {
                Verdict::Stored => counts.stored += 1,
                Verdict::Duplicate => counts.duplicate += 1,
                Verdict::Corrected => counts.corrected += 1,
                Verdict::Rejected => counts.rejected += 1,
            }
            RecordVerdict {
                i,
                id: entry.id.clone(),
                verdict,
                code,
            }
        })
        .collect();
    (results, counts)
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
    if tx.forget_source(&source).await? == 0 {
        return Err(Problem::not_found());
    }
    tx.emit(CALCULATE_ENERGY_SCORE, None, &Value::Object(Default::default()))
        .await?;
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
