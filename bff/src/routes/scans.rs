//! Meals by photo: upload, follow, correct, confirm.

mod correct;
mod create;
mod edits;
mod evidence;
mod shape;
mod watch;

pub(super) use correct::{__path_change, __path_confirm, __path_reject, change, confirm, reject};
pub(super) use create::{
    __path_add, __path_reanalyse, __path_sign, __path_uploaded, add, reanalyse, sign, uploaded,
};
pub(super) use evidence::{__path_picture, picture};
pub(super) use watch::{__path_follow, Watch, follow};

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::App;
use super::caller::CurrentUser;
use super::query::{Id, Params, page};
use crate::domain::scan;
use crate::problem::{Code, Problem, ProblemBody};
use crate::scans::Scans;
use crate::store::page::Page;
use shape::{ScanBody, ScanLineBody};

impl App {
    /// # Errors
    /// `scans_off` where no vision service is configured.
    pub(super) fn scans(&self) -> Result<&Arc<Scans>, Problem> {
        let off = || Problem::new(Code::ScansOff, "no vision service is set up here");
        self.scans.as_ref().ok_or_else(off)
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only scans in this state.
    #[param(inline)]
    status: Option<scan::State>,
    /// 1 to 200; 50 unless told.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Scans, the latest first.
#[utoipa::path(get, path = "/scans", tag = "scans", params(ListParams), responses(
    (status = 200, body = Page<ScanLineBody>),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Params(params): Params<ListParams>,
) -> Result<axum::Json<Page<ScanLineBody>>, Problem> {
    let filter = format!("scans {}", params.status.map_or("", scan::State::as_str));
    let (list, limit, after) = page(user.id, &filter, params.limit, params.cursor.as_deref())?;
    let mut tx = app.db.user(user.id).await?;
    let page = tx.scans_page(&list, params.status, after, limit).await?;
    Ok(axum::Json(Page {
        items: page.items.into_iter().map(ScanLineBody::from).collect(),
        next_cursor: page.next_cursor,
    }))
}

/// One scan: how far it is, what was measured, what was corrected, and where its pictures are.
#[utoipa::path(get, path = "/scans/{id}", tag = "scans", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = ScanBody, headers(("etag" = String, description = "version, for If-Match"))),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
) -> Result<Response, Problem> {
    let scans = app.scans()?;
    let mut tx = app.db.user(user.id).await?;
    let scan = tx.scan(id).await?;
    shape::answer(scans, &user, tx, scan, axum::http::StatusCode::OK).await
}
