//! Menus of restaurants: from the table; on a miss the worker is asked to fetch one, and this waits a little.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::caller::CurrentUser;
use super::query::Params;
use crate::domain::menu::item::Item;
use crate::domain::menu::name::NameKey;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::UserId;
use crate::store::outbox::kinds::FETCH_MENU;
use crate::store::restaurant_cache::{Kept, Known};

/// Longer than a fetch may take; then another may try.
const CLAIM: SignedDuration = SignedDuration::from_secs(90);
/// What has expired is shown for so long if nothing newer can be had.
const STALE: SignedDuration = SignedDuration::from_hours(30 * 24);
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct MenuParams {
    /// As a person would write it; spelling, accents and "restaurant" do not matter.
    #[param(min_length = 2, max_length = 320, example = "Starbucks")]
    name: String,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RestaurantMenu {
    /// As the restaurant writes itself.
    name: String,
    items: Vec<Item>,
    /// Always `llm`: told by a language model, checked for plausibility, never measured.
    source: &'static str,
    #[schema(value_type = String, format = DateTime)]
    fetched_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    /// It has expired, and nothing newer could be had.
    stale: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Fetching {
    /// Always `fetching`.
    state: &'static str,
}

/// What a restaurant serves, by its name. A name that nobody has asked for in a week is looked up first, which takes some
/// seconds: 202 then says to come again. Each user may cause a limited number of look-ups a day (of UTC).
#[utoipa::path(get, path = "/bff/restaurant/menu", tag = "restaurant", params(MenuParams), responses(
    (status = 200, body = RestaurantMenu),
    (status = 202, body = Fetching, headers(("retry-after" = u64, description = "seconds"))),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 429, body = ProblemBody, content_type = "application/problem+json"),
    (status = 502, body = ProblemBody, content_type = "application/problem+json"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn menu(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Params(params): Params<MenuParams>,
) -> Result<Response, Problem> {
    let key = NameKey::of(&params.name).ok_or_else(|| Problem::field("?name", "not_a_name"))?;
    let begun = tokio::time::Instant::now();
    loop {
        let now = app.clock.now();
        match look(&app, user.id, &key, now).await? {
            Look::Shown(kept) => return Ok(shown(kept, now)),
            Look::Wait(stale) if begun.elapsed() >= app.limits.menu_wait => {
                return Ok(stale.map_or_else(come_again, |kept| shown(kept, now)));
            }
            // No connection is held meanwhile.
            Look::Wait(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

enum Look {
    Shown(Kept),
    /// Somebody fetches it; this could be shown instead.
    Wait(Option<Kept>),
}

async fn look(app: &App, user: UserId, key: &NameKey, now: Timestamp) -> Result<Look, Problem> {
    let mut tx = app.db.user(user).await?;
    let known = tx.known_menu(key).await?;
    if let Some(kept) = known.as_ref().and_then(|k| k.kept.as_ref())
        && kept.expires_at > now
    {
        return Ok(Look::Shown(kept.clone()));
    }
    let stale = known
        .as_ref()
        .and_then(|k| k.kept.clone())
        .filter(|k| k.expires_at + STALE > now);
    if let Some(known) = &known
        && known.retry_at.is_some_and(|at| at > now)
    {
        return stale.map(Look::Shown).ok_or_else(|| refusal(known, now));
    }
    let Some(id) = tx.claim_menu(key, now, now + CLAIM).await? else {
        return Ok(Look::Wait(stale));
    };
    if !tx
        .spend_menu_budget(now.to_zoned(TimeZone::UTC).date(), app.limits.menu_budget)
        .await?
    {
        return stale.map(Look::Shown).ok_or_else(|| budget_spent(now));
    }
    let dedup = format!("{FETCH_MENU}:{id}");
    tx.emit(FETCH_MENU, Some(&dedup), &json!({ "menu": id })).await?;
    tx.commit().await?;
    Ok(Look::Wait(stale))
}

fn shown(kept: Kept, now: Timestamp) -> Response {
    let body = RestaurantMenu {
        name: kept.menu.restaurant,
        items: kept.menu.items,
        source: "llm",
        fetched_at: kept.fetched_at,
        expires_at: kept.expires_at,
        stale: kept.expires_at <= now,
    };
    axum::Json(body).into_response()
}

fn come_again() -> Response {
    let mut answer = (StatusCode::ACCEPTED, axum::Json(Fetching { state: "fetching" })).into_response();
    answer
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    answer
}

fn refusal(known: &Known, now: Timestamp) -> Problem {
    let mut problem = match known.failure.as_deref() {
        Some("no_such_place") => Problem::new(Code::MenuNotFound, "no restaurant of this name is known"),
        Some("unusable") => Problem::new(
            Code::MenuUnusable,
            "what was found is no menu that can be relied on",
        ),
        _ => Problem::new(Code::MenusUnavailable, "menus cannot be looked up now"),
    };
    problem.retry_after_s = known.retry_at.map(|at| seconds(at.duration_since(now)));
    problem
}

fn budget_spent(now: Timestamp) -> Problem {
    let mut problem = Problem::new(
        Code::MenuBudgetSpent,
        "today's look-ups are spent; what is known is still shown",
    );
    let midnight = now
        .to_zoned(TimeZone::UTC)
        .date()
        .tomorrow()
        .and_then(|d| d.to_zoned(TimeZone::UTC));
    problem.retry_after_s = midnight.ok().map(|m| seconds(m.timestamp().duration_since(now)));
    problem
}

fn seconds(left: SignedDuration) -> u64 {
    u64::try_from(left.as_secs()).unwrap_or(0).max(1)
}
