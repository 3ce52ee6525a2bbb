//! Lists, items and their changes over HTTP, once for every [`Resource`]: pages by cursor, ETag and `If-Match`,
//! `Idempotency-Key`, and their description. A resource's own file says what a client may send.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::openapi::HttpMethod;
use utoipa::openapi::path::Paths;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};

use super::App;
use super::body::Json;
use super::caller::CurrentUser;
use super::describe::Described;
use super::etag::{IfMatch, outcome, removal, tagged};
use super::idempotent::{self, Key};
use super::query::{Id, Params, page};
use crate::problem::Problem;
use crate::store::page::Page;
use crate::store::resource::{Editable, Resource};
use crate::store::row::Changed;

/// A resource that clients list and read.
pub(super) trait Listed: Resource + Serialize + ToSchema + 'static {
    /// Of the list; an item stands under it by its id.
    const PATH: &'static str;
    const TAG: &'static str;
    /// What one is called in the description.
    const NOUN: &'static str;
    /// What the list holds, in which order.
    const LIST: &'static str;
    /// What a client may ask the list for.
    type Filter: DeserializeOwned + IntoParams + Send;

    /// The filter as [`Resource::FILTER`] reads it.
    fn filter(asked: &Self::Filter) -> Option<&'static str>;
}

/// A resource that clients also add, change and remove.
pub(super) trait Edited: Listed + Editable {
    /// Body of POST.
    type New: DeserializeOwned + Serialize + ToSchema + Send + 'static;
    /// Body of PATCH; what is absent stays.
    type Change: DeserializeOwned + ToSchema + Send + 'static;
    /// Whether the dashboard shows something of it.
    const ON_DASHBOARD: bool;

    /// # Errors
    /// `invalid_field`.
    fn added(new: Self::New, now: Timestamp) -> Result<Self::Fields, Problem>;

    /// # Errors
    /// `invalid_field`.
    fn changed(self, change: Self::Change, now: Timestamp) -> Result<Self::Fields, Problem>;
}

/// No filter.
#[derive(Debug, Deserialize, IntoParams)]
pub(super) struct Everything {}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct PageParams {
    /// 1 to 200; 50 unless told.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The paths of a resource that clients list, read, add, change and remove.
pub(super) fn edited<R: Edited>() -> OpenApiRouter<Arc<App>> {
    let about = |what: &str| Described::new(R::TAG, format!("{what} a {}.", R::NOUN));
    let add = about("Adds")
        .header("idempotency-key", false, "kept for 24 hours")
        .body::<R::New>()
        .answer::<R>("201", "added")
        .refusal("409", "the same action is being done right now");
    let change = about("Changes")
        .id()
        .if_match()
        .body::<R::Change>()
        .answer::<R>("200", "changed");
    let remove = about("Removes").id().if_match().empty("204", "gone");
    OpenApiRouter::default()
        .routes(route(
            R::PATH,
            get(list::<R>).post(self::add::<R>),
            [(HttpMethod::Get, described_list::<R>()), (HttpMethod::Post, add)],
        ))
        .routes(route(
            &item_path::<R>(),
            get(read::<R>).patch(self::change::<R>).delete(self::remove::<R>),
            [
                (HttpMethod::Get, described_read::<R>()),
                (HttpMethod::Patch, change),
                (HttpMethod::Delete, remove),
            ],
        ))
}

fn item_path<R: Listed>() -> String {
    format!("{}/{{id}}", R::PATH)
}

fn described_list<R: Listed>() -> Described {
    Described::new(R::TAG, R::LIST.to_owned())
        .query::<R::Filter>()
        .query::<PageParams>()
        .page_of::<R>()
}

fn described_read<R: Listed>() -> Described {
    Described::new(R::TAG, format!("One {}.", R::NOUN))
        .id()
        .answer::<R>("200", "with its ETag, for If-Match")
}

/// One path with its handlers and their description.
fn route<const N: usize>(
    path: &str,
    handlers: MethodRouter<Arc<App>>,
    described: [(HttpMethod, Described); N],
) -> UtoipaMethodRouter<Arc<App>> {
    let mut schemas = Vec::new();
    let mut paths = Paths::new();
    for (method, one) in described {
        let (operation, of_its_types) = one.finish();
        schemas.extend(of_its_types);
        paths.add_path_operation(path, vec![method], operation);
    }
    (schemas, paths, handlers)
}

async fn list<R: Listed>(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Params(asked): Params<R::Filter>,
    Params(PageParams { limit, cursor }): Params<PageParams>,
) -> Result<axum::Json<Page<R>>, Problem> {
    let filter = R::filter(&asked);
    let name = format!("{} {}", R::PATH, filter.unwrap_or_default());
    let (list, limit, after) = page(user.id, &name, limit, cursor.as_deref())?;
    let mut tx = app.db.user(user.id).await?;
    Ok(axum::Json(tx.page(&list, filter, after, limit).await?))
}

async fn read<R: Listed>(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
) -> Result<Response, Problem> {
    let mut tx = app.db.user(user.id).await?;
    Ok(tagged(StatusCode::OK, &tx.one::<R>(id).await?))
}

async fn add<R: Edited>(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    key: Key,
    Json(new): Json<R::New>,
) -> Result<Response, Problem> {
    let action = key.action("POST", R::PATH, &new);
    let fields = R::added(new, app.clock.now())?;
    let mut tx = app.db.user_for(user.id, action.as_ref()).await?;
    if let Some(before) = idempotent::claim(&mut tx, action.as_ref()).await? {
        shown::<R>(&app, &user).await;
        return Ok(before);
    }
    let added = tx.add::<R>(&fields).await?;
    let answer = idempotent::answer(&mut tx, action.as_ref(), StatusCode::CREATED, &added.value).await?;
    tx.commit().await?;
    shown::<R>(&app, &user).await;
    Ok(answer)
}

async fn change<R: Edited>(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
    IfMatch(seen): IfMatch,
    Json(change): Json<R::Change>,
) -> Result<Response, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let old: R = tx.one(id).await?.value;
    let fields = old.changed(change, app.clock.now())?;
    let changed = tx.put::<R>(id, seen, &fields).await?;
    if matches!(changed, Changed::Done(_)) {
        tx.commit().await?;
    }
    shown::<R>(&app, &user).await;
    outcome(changed)
}

async fn remove<R: Edited>(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let removed = tx.remove::<R>(id, seen).await?;
    if matches!(removed, Changed::Done(_)) {
        tx.commit().await?;
    }
    shown::<R>(&app, &user).await;
    removal(&removed)
}

/// What the dashboard says of it is no longer so. Also where the change turns out to have been made before: the process
/// that made it may have died before it told the cache.
async fn shown<R: Edited>(app: &App, user: &CurrentUser) {
    if R::ON_DASHBOARD {
        app.changed(user.id).await;
    }
}
