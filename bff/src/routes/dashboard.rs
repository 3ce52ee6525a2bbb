//! The dashboard: computed from PostgreSQL, kept in the cache as inputs, and given the present moment at each read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::App;
use super::caller::CurrentUser;
use crate::cache::{Look, Ticket};
use crate::domain::macros::Totals;
use crate::domain::plan::Suggestion;
use crate::domain::rings::{RingInputs, Rings};
use crate::domain::targets::targets;
use crate::plan;
use crate::problem::Problem;
use crate::store::UserId;

/// Longest life of a cached entry; it ends earlier where the day or the window turns.
const LIFE: Duration = Duration::from_secs(300);

/// What a dashboard is made of, without the moment. The rings, the words and fasting age by themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Inputs {
    date: Date,
    timezone: String,
    rings: RingInputs,
    totals: Totals,
    pending: i64,
    target_calories: Option<i32>,
    target_protein: Option<i32>,
    missing: Vec<String>,
    card: Option<Suggestion>,
    energy_score: Option<f64>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Dashboard<'a> {
    rings: Rings,
    status_msg: String,
    fasting_active: bool,
    /// The day's suggestion, if there is one.
    #[schema(required)]
    ai_card: &'a Option<Suggestion>,
    #[schema(value_type = String, format = Date)]
    date: Date,
    timezone: &'a str,
    totals: Totals,
    targets: TargetsView<'a>,
    /// 0 to 100; null until it has been computed today.
    #[schema(required)]
    energy_score: Option<f64>,
    /// Meals that wait for confirmation.
    pending_scans: i64,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct TargetsView<'a> {
    #[schema(required)]
    calories: Option<i32>,
    #[schema(required)]
    protein_g: Option<i32>,
    /// Fields of the profile that targets need.
    missing: &'a [String],
}

/// The rings of today. Also a conditional read: `If-None-Match` with the last `ETag` gives 304 while nothing has changed
/// and the outer ring has not moved by 0.1.
#[utoipa::path(get, path = "/dashboard/state", tag = "dashboard",
    params(("if-none-match" = Option<String>, Header)), responses(
    (status = 200, body = Dashboard, headers(("etag" = String, description = "weak"))),
    (status = 304, description = "as before")))]
pub(super) async fn state(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let inputs = match app.cache.look(user.id).await {
        Look::Hit(bytes) => match read(&bytes, now) {
            Some(inputs) => {
                metrics::counter!("bff_dashboard_total", "from" => "cache").increment(1);
                inputs
            }
            // The day has turned since.
            None => fill(&app, user.id, now).await?,
        },
        Look::Miss(_) => fill(&app, user.id, now).await?,
        Look::Bypass => compute(&app, user.id, now).await?,
    };
    Ok(answer(&inputs, now, &headers))
}

fn read(bytes: &[u8], now: Timestamp) -> Option<Inputs> {
    let inputs: Inputs = serde_json::from_slice(bytes).ok()?;
    (now < inputs.rings.until()).then_some(inputs)
}

/// One request of a user computes, the others wait for it and look again.
async fn fill(app: &App, user: UserId, now: Timestamp) -> Result<Inputs, Problem> {
    let flight = app.flights.of(user);
    let _first = flight.lock().await;
    let ticket: Ticket = match app.cache.look(user).await {
        Look::Hit(bytes) => match read(&bytes, now) {
            Some(inputs) => return Ok(inputs),
            None => {
                // Out of date by the clock alone: a new version, so that a ticket can be had.
                app.cache.invalidate(user).await;
                match app.cache.look(user).await {
                    Look::Miss(ticket) => ticket,
                    _ => return compute(app, user, now).await,
                }
            }
        },
        Look::Miss(ticket) => ticket,
        Look::Bypass => return compute(app, user, now).await,
    };
    let inputs = compute(app, user, now).await?;
    let left = inputs.rings.until().duration_since(now);
    let life = Duration::try_from(left).unwrap_or(Duration::ZERO).min(LIFE);
    if let Ok(bytes) = serde_json::to_vec(&inputs)
        && !life.is_zero()
    {
        app.cache.fill(user, ticket, bytes, life).await;
    }
    Ok(inputs)
}

async fn compute(app: &App, user: UserId, now: Timestamp) -> Result<Inputs, Problem> {
    metrics::counter!("bff_dashboard_total", "from" => "database").increment(1);
    let mut tx = app.db.user(user).await?;
    // Also says 404 for a user who is gone.
    tx.account().await?;
    let profile = tx.profile().await?.value;
    let calendar = profile.calendar();
    let plan = plan::of_today(&mut tx, &profile, now).await?;
    let day = calendar.diary_day(plan.date);
    let (totals, pending) = tx.eaten(day.from, day.to).await?;
    tx.commit().await?;
    Ok(Inputs {
        date: plan.date,
        timezone: profile.zone_name().to_owned(),
        rings: RingInputs::at(&calendar, now),
        totals,
        pending,
        target_calories: plan.target_calories,
        target_protein: plan.target_protein,
        missing: targets(&profile.body(None), plan.date)
            .missing
            .into_iter()
            .map(str::to_owned)
            .collect(),
        card: plan.suggestion,
        energy_score: plan.energy_score,
    })
}

fn answer(inputs: &Inputs, now: Timestamp, headers: &HeaderMap) -> Response {
    let face = inputs
        .rings
        .face(now, inputs.totals.calories, inputs.target_calories);
    let dashboard = Dashboard {
        rings: face.rings,
        status_msg: face.status_msg,
        fasting_active: face.fasting_active,
        ai_card: &inputs.card,
        date: inputs.date,
        timezone: &inputs.timezone,
        totals: inputs.totals,
        targets: TargetsView {
            calories: inputs.target_calories,
            protein_g: inputs.target_protein,
            missing: &inputs.missing,
        },
        energy_score: inputs.energy_score,
        pending_scans: inputs.pending,
    };
    let body = serde_json::to_vec(&dashboard).unwrap_or_default();
    // The body holds the outer ring rounded to 0.1, so its hash is the tag that is wanted.
    let digest = Sha256::digest(&body);
    let tag: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let tag = format!("W/\"{tag}\"");
    let known = headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .any(|v| {
            v.split(',')
                .map(str::trim)
                .any(|t| t == "*" || t == tag || t == tag.trim_start_matches("W/"))
        });
    let etag = HeaderValue::from_str(&tag).unwrap_or(HeaderValue::from_static("W/\"\""));
    let common = [
        (header::ETAG, etag),
        (
            header::CACHE_CONTROL,
            HeaderValue::from_static("private, no-cache"),
        ),
    ];
    if known {
        return (StatusCode::NOT_MODIFIED, common).into_response();
    }
    (
        StatusCode::OK,
        common,
        [(header::CONTENT_TYPE, "application/json")],
        body,
    )
        .into_response()
}

/// Who is computing whose dashboard.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<UserId, Arc<tokio::sync::Mutex<()>>>>);

impl Flights {
    fn of(&self, user: UserId) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.len() > 1000 {
            flights.retain(|_, f| Arc::strong_count(f) > 1);
        }
        flights.entry(user).or_default().clone()
    }
}
