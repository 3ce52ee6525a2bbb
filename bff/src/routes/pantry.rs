//! The pantry.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::body::{Check, Json, given};
use super::etag::{IfMatch, outcome, removal, tagged};
use super::idempotent::{self, Key};
use super::query::{Id, Params, page};
use crate::auth::CurrentUser;
use crate::problem::{Problem, ProblemBody};
use crate::store::page::Page;
use crate::store::pantry::{PantryFields, PantryItem};
use crate::store::row::Changed;

const PATH: &str = "/pantry";

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// 1 to 200; 50 unless told.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What is in the kitchen; what expires first comes first.
#[utoipa::path(get, path = "/pantry", tag = "pantry", params(ListParams), responses(
    (status = 200, body = Page<PantryItem>),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Params(params): Params<ListParams>,
) -> Result<axum::Json<Page<PantryItem>>, Problem> {
    let (list, limit, after) = page(user.id, "pantry", params.limit, params.cursor.as_deref())?;
    let mut tx = app.db.user(user.id).await?;
    Ok(axum::Json(tx.pantry_page(&list, after, limit).await?))
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewPantryItem {
    #[schema(min_length = 1, max_length = 100)]
    item_name: String,
    #[schema(max_length = 50)]
    category: Option<String>,
    #[schema(value_type = Option<String>, format = Date)]
    expiry_date: Option<Date>,
}

impl NewPantryItem {
    fn checked(self) -> Result<PantryFields, Problem> {
        let mut check = Check::default();
        let fields = PantryFields {
            item_name: check.text("/item_name", &self.item_name, 100),
            category: check.maybe_text("/category", self.category.as_deref(), 50),
            expiry_date: check.date("/expiry_date", self.expiry_date),
        };
        check.done()?;
        Ok(fields)
    }
}

/// Adds an item.
#[utoipa::path(post, path = "/pantry", tag = "pantry", request_body = NewPantryItem,
    params(("idempotency-key" = Option<String>, Header, description = "kept for 24 hours")),
    responses((status = 201, body = PantryItem),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn add(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    key: Key,
    Json(new): Json<NewPantryItem>,
) -> Result<Response, Problem> {
    let action = key.action("POST", PATH, &new);
    let fields = new.checked()?;
    let mut tx = app.db.user(user.id).await?;
    if let Some(before) = idempotent::claim(&mut tx, action.as_ref()).await? {
        return Ok(before);
    }
    let item = tx.add_pantry_item(&fields).await?;
    let answer = idempotent::answer(&mut tx, action.as_ref(), StatusCode::CREATED, &item.value).await?;
    tx.commit().await?;
    Ok(answer)
}

/// One item.
#[utoipa::path(get, path = "/pantry/{id}", tag = "pantry", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = PantryItem, headers(("etag" = String, description = "version, for If-Match"))),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
) -> Result<Response, Problem> {
    let mut tx = app.db.user(user.id).await?;
    Ok(tagged(StatusCode::OK, &tx.pantry_item(id).await?))
}

/// Fields to change; null clears a field, what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PantryChange {
    #[schema(min_length = 1, max_length = 100)]
    item_name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, max_length = 50)]
    category: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = Date)]
    expiry_date: Option<Option<Date>>,
}

/// Changes an item.
#[utoipa::path(patch, path = "/pantry/{id}", tag = "pantry", request_body = PantryChange,
    params(("id" = uuid::Uuid, Path), ("if-match" = String, Header, description = "ETag of the last read")),
    responses((status = 200, body = PantryItem),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
    IfMatch(seen): IfMatch,
    Json(change): Json<PantryChange>,
) -> Result<Response, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let old = tx.pantry_item(id).await?.value;
    let fields = NewPantryItem {
        item_name: change.item_name.unwrap_or(old.item_name),
        category: change.category.unwrap_or(old.category),
        expiry_date: change.expiry_date.unwrap_or(old.expiry_date),
    }
    .checked()?;
    let changed = tx.put_pantry_item(id, seen, &fields).await?;
    if matches!(changed, Changed::Done(_)) {
        tx.commit().await?;
    }
    outcome(changed)
}

/// Removes an item.
#[utoipa::path(delete, path = "/pantry/{id}", tag = "pantry",
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
    let changed = tx.remove_pantry_item(id, seen).await?;
    let done = removal(&changed)?;
    tx.commit().await?;
    Ok(done)
}
