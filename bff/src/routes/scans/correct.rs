//! A user looks at a scan: corrections, and the last word.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::create::impossible;
use super::edits::{Edit, EditChange, merge};
use super::shape::{self, ScanBody};
use crate::domain::result::{item_ids, scanned};
use crate::domain::scan;
use crate::problem::{Code, Problem, ProblemBody};
use crate::routes::App;
use crate::routes::body::{Check, Json};
use crate::routes::caller::CurrentUser;
use crate::routes::etag::{IfMatch, stale};
use crate::routes::food_logs::MealType;
use crate::routes::query::Id;
use crate::scans::{Scans, Stuck, Told, Wished};
use crate::store::row::Changed;
use crate::store::scans::Scan;
use crate::vision::VisionError;

/// What is said of the items now; what was said before stays, field by field.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct ScanChange {
    #[serde(default)]
    #[schema(required, min_items = 1, max_items = 64)]
    edits: Vec<EditChange>,
}

/// Corrects the items of a scan that is ready. All that was ever said is applied to the original result by the vision
/// service; told grams win, and narrow what was measured on the same photo.
#[utoipa::path(patch, path = "/scans/{id}", tag = "scans", request_body = ScanChange,
    params(("id" = Uuid, Path), ("if-match" = String, Header, description = "ETag of the last read")),
    responses((status = 200, body = ScanBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`scan_state`: it is not ready, or is confirmed", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::routes) async fn change(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
    IfMatch(seen): IfMatch,
    Json(change): Json<ScanChange>,
) -> Result<Response, Problem> {
    let scans = app.scans()?;
    let mut tx = app.db.user(user.id).await?;
    let scan = tx.scan(id).await?;
    // No connection is held while the vision service thinks.
    drop(tx);
    if scan.version != seen {
        return Err(stale_scan(&app, &user, scan).await);
    }
    let (scan::State::Ready, Some(original)) = (scan.state, &scan.original_result) else {
        return Err(impossible(scan.state));
    };
    let said: Vec<Edit> = serde_json::from_value(scan.edits.clone())
        .map_err(|e| Problem::internal("stored edits", &format!("{:?}", e.classify())))?;
    let edits = merge(&said, &change.edits, &item_ids(original)).map_err(Problem::fields)?;
    let corrected = if edits.is_empty() {
        None
    } else {
        Some(corrected(scans, &scan, original, &json!(edits)).await?)
    };
    let outcome = scans
        .correct(user.id, id, seen, &json!(edits), corrected.as_ref())
        .await?;
    match outcome {
        Changed::Done(scan) => answer(&app, scans, &user, scan).await,
        Changed::Stale(scan) => Err(stale_scan(&app, &user, scan).await),
    }
}

async fn corrected(scans: &Scans, scan: &Scan, original: &Value, edits: &Value) -> Result<Value, Problem> {
    // A set that is not configured any more does not keep its results from being corrected.
    let service = scans
        .vision
        .named(scan.model_set.as_deref())
        .or_else(|| scans.vision.named(None));
    let away = || Problem::new(Code::VisionUnavailable, "the vision service does not answer");
    let result = match service.ok_or_else(away)?.recompute(original, edits).await {
        Ok(result) => result,
        Err(VisionError::Refused { code, .. }) => {
            tracing::info!(code, "a correction was refused");
            return Err(Problem::field("/edits", "refused_by_the_vision_service"));
        }
        Err(error) => return Err(Stuck::Vision(error).into()),
    };
    let mut result = scanned(result).map_err(|why| {
        tracing::warn!("{why}");
        away()
    })?;
    // It is kept once, beside this.
    if let Some(map) = result.result.as_object_mut() {
        map.remove("original");
        map.remove("edits");
    }
    Ok(result.result)
}

/// At confirmation.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct Confirmation {
    /// When it was eaten; when the photo was taken unless told; at most a day ahead.
    #[schema(value_type = Option<String>, format = DateTime)]
    log_time: Option<Timestamp>,
    #[schema(inline)]
    meal_type: Option<MealType>,
}

/// Confirms a scan: its meal counts from here on, once, whatever is sent twice.
#[utoipa::path(post, path = "/scans/{id}/confirm", tag = "scans", request_body = Confirmation,
    params(("id" = Uuid, Path), ("if-match" = String, Header, description = "ETag of the last read")),
    responses((status = 200, body = ScanBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`scan_state`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::routes) async fn confirm(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
    IfMatch(seen): IfMatch,
    Json(told): Json<Confirmation>,
) -> Result<Response, Problem> {
    let scans = app.scans()?;
    let mut check = Check::default();
    let eaten_at = told.log_time.map(|at| check.instant("/log_time", at));
    if eaten_at.is_some_and(|at| at > app.clock.now() + SignedDuration::from_hours(24)) {
        check.fail("/log_time", "in_the_future");
    }
    // Somebody else's scan is nobody's, whatever the body says.
    let mut tx = app.db.user(user.id).await?;
    tx.scan(id).await?;
    drop(tx);
    check.done()?;
    let told = Told {
        eaten_at,
        meal_type: told.meal_type.map(|m| m.as_str().to_owned()),
    };
    let wished = scans.confirm(user.id, id, seen, &told).await?;
    outcome(&app, scans, &user, wished).await
}

/// Throws a scan away, whether it is ready or still under way. A confirmed meal is removed in the diary instead.
#[utoipa::path(post, path = "/scans/{id}/reject", tag = "scans",
    params(("id" = Uuid, Path), ("if-match" = String, Header, description = "ETag of the last read")),
    responses((status = 200, body = ScanBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`scan_state`", body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::routes) async fn reject(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
    IfMatch(seen): IfMatch,
) -> Result<Response, Problem> {
    let scans = app.scans()?;
    let wished = scans.reject(user.id, id, seen).await?;
    outcome(&app, scans, &user, wished).await
}

async fn outcome(app: &App, scans: &Scans, user: &CurrentUser, wished: Wished) -> Result<Response, Problem> {
    match wished {
        Wished::Done(scan) => answer(app, scans, user, scan).await,
        Wished::Stale(scan) => Err(stale_scan(app, user, scan).await),
        Wished::Impossible(scan) => Err(impossible(scan.state)),
    }
}

async fn answer(app: &App, scans: &Scans, user: &CurrentUser, scan: Scan) -> Result<Response, Problem> {
    let tx = app.db.user(user.id).await?;
    shape::answer(scans, user, tx, scan, StatusCode::OK).await
}

/// 412 with the scan as it is now.
async fn stale_scan(app: &App, user: &CurrentUser, scan: Scan) -> Problem {
    let current = async {
        let tx = app.db.user(user.id).await?;
        shape::versioned(app.scans()?, user, tx, scan).await
    };
    match current.await {
        Ok(now) => stale(&now),
        Err(problem) => problem,
    }
}
