//! Leftovers: cooked food kept for later.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::body::{Check, Json};
use super::etag::{IfMatch, outcome, removal, tagged};
use super::idempotent::{self, Key};
use super::query::{Id, Params, page};
use crate::auth::CurrentUser;
use crate::domain::servings::Servings;
use crate::problem::{Problem, ProblemBody};
use crate::store::leftovers::{Leftover, LeftoverFields, Macros};
use crate::store::page::Page;
use crate::store::row::Changed;

const PATH: &str = "/pantry/leftovers";

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Also what is eaten up; false unless told.
    #[serde(default)]
    all: bool,
    /// 1 to 200; 50 unless told.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Leftovers, the newest first.
#[utoipa::path(get, path = "/pantry/leftovers", tag = "leftovers", params(ListParams), responses(
    (status = 200, body = Page<Leftover>),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Params(params): Params<ListParams>,
) -> Result<axum::Json<Page<Leftover>>, Problem> {
    let filter = if params.all { "leftovers all" } else { "leftovers" };
    let (list, limit, after) = page(user.id, filter, params.limit, params.cursor.as_deref())?;
    let mut tx = app.db.user(user.id).await?;
    Ok(axum::Json(
        tx.leftovers_page(&list, !params.all, after, limit).await?,
    ))
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewLeftover {
    #[schema(min_length = 1, max_length = 150)]
    recipe_name: String,
    /// In steps of 0.1, above 0, up to 999.9.
    #[schema(minimum = 0.1, maximum = 999.9, multiple_of = 0.1)]
    total_servings: f64,
    /// All of it unless told.
    #[schema(minimum = 0, maximum = 999.9, multiple_of = 0.1)]
    remaining_servings: Option<f64>,
    #[schema(minimum = 0, maximum = 10_000)]
    calories_per_serving: i32,
    /// Grams in one serving, 0 to 1000 each, kept to 0.1.
    macros_json: Macros,
}

impl NewLeftover {
    fn checked(self) -> Result<LeftoverFields, Problem> {
        let mut check = Check::default();
        let recipe_name = check.text("/recipe_name", &self.recipe_name, 150);
        let total = servings(&mut check, "/total_servings", self.total_servings);
        let remaining = match self.remaining_servings {
            None => total,
            Some(0.0) => Servings::NONE,
            Some(n) => servings(&mut check, "/remaining_servings", n),
        };
        if remaining > total {
            check.fail("/remaining_servings", "more_than_total");
        }
        check.range(
            "/calories_per_serving",
            Some(self.calories_per_serving),
            0,
            10_000,
        );
        let Macros { p, c, f } = self.macros_json;
        for (pointer, grams) in [
            ("/macros_json/p", p),
            ("/macros_json/c", c),
            ("/macros_json/f", f),
        ] {
            check.range(pointer, Some(grams), 0.0, 1000.0);
        }
        check.done()?;
        let tenth = |x: f64| (x * 10.0).round() / 10.0;
        Ok(LeftoverFields {
            recipe_name,
            total_servings: total,
            remaining_servings: remaining,
            calories_per_serving: self.calories_per_serving,
            macros: Macros {
                p: tenth(p),
                c: tenth(c),
                f: tenth(f),
            },
        })
    }
}

pub(super) fn servings(check: &mut Check, pointer: &str, n: f64) -> Servings {
    Servings::positive(n).unwrap_or_else(|why| {
        check.fail(pointer, why.code());
        Servings::NONE
    })
}

/// Adds a leftover.
#[utoipa::path(post, path = "/pantry/leftovers", tag = "leftovers", request_body = NewLeftover,
    params(("idempotency-key" = Option<String>, Header, description = "kept for 24 hours")),
    responses((status = 201, body = Leftover),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn add(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    key: Key,
    Json(new): Json<NewLeftover>,
) -> Result<Response, Problem> {
    let action = key.action("POST", PATH, &new);
    let fields = new.checked()?;
    let mut tx = app.db.user(user.id).await?;
    if let Some(before) = idempotent::claim(&mut tx, action.as_ref()).await? {
        return Ok(before);
    }
    let leftover = tx.add_leftover(&fields).await?;
    let answer = idempotent::answer(&mut tx, action.as_ref(), StatusCode::CREATED, &leftover.value).await?;
    tx.commit().await?;
    Ok(answer)
}

/// One leftover.
#[utoipa::path(get, path = "/pantry/leftovers/{id}", tag = "leftovers", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = Leftover, headers(("etag" = String, description = "version, for If-Match"))),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
) -> Result<Response, Problem> {
    let mut tx = app.db.user(user.id).await?;
    Ok(tagged(StatusCode::OK, &tx.leftover(id).await?))
}

/// Fields to change; what is absent stays. What was logged from it before keeps its numbers.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LeftoverChange {
    #[schema(min_length = 1, max_length = 150)]
    recipe_name: Option<String>,
    #[schema(minimum = 0.1, maximum = 999.9, multiple_of = 0.1)]
    total_servings: Option<f64>,
    #[schema(minimum = 0, maximum = 999.9, multiple_of = 0.1)]
    remaining_servings: Option<f64>,
    #[schema(minimum = 0, maximum = 10_000)]
    calories_per_serving: Option<i32>,
    macros_json: Option<Macros>,
}

/// Changes a leftover.
#[utoipa::path(patch, path = "/pantry/leftovers/{id}", tag = "leftovers", request_body = LeftoverChange,
    params(("id" = uuid::Uuid, Path), ("if-match" = String, Header, description = "ETag of the last read")),
    responses((status = 200, body = Leftover),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
    IfMatch(seen): IfMatch,
    Json(change): Json<LeftoverChange>,
) -> Result<Response, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let old = tx.leftover(id).await?.value;
    let tenths = |s: Servings| f64::from(s.tenths()) / 10.0;
    let fields = NewLeftover {
        recipe_name: change.recipe_name.unwrap_or(old.recipe_name),
        total_servings: change.total_servings.unwrap_or(tenths(old.total_servings)),
        remaining_servings: Some(
            change
                .remaining_servings
                .unwrap_or(tenths(old.remaining_servings)),
        ),
        calories_per_serving: change.calories_per_serving.unwrap_or(old.calories_per_serving),
        macros_json: change.macros_json.unwrap_or(old.macros_json),
    }
    .checked()?;
    let changed = tx.put_leftover(id, seen, &fields).await?;
    if matches!(changed, Changed::Done(_)) {
        tx.commit().await?;
    }
    outcome(changed)
}

/// Removes a leftover.
#[utoipa::path(delete, path = "/pantry/leftovers/{id}", tag = "leftovers",
    params(("id" = uuid::Uuid, Path), ("if-match" = String, Header, description = "ETag of the last read")),
    responses((status = 204, description = "gone"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let changed = tx.remove_leftover(id, seen).await?;
    let done = removal(&changed)?;
    tx.commit().await?;
    Ok(done)
}
