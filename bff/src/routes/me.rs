//! The account: who the token stands for, and forgetting them.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::App;
use super::caller::{Caller, CurrentUser};
use crate::auth::Subject;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::outbox::kinds::ERASE_USER;
use crate::store::users::{Account, Known};

/// The account that the token stands for; its first request makes it.
#[utoipa::path(get, path = "/me", tag = "me", responses((status = 200, body = Account)))]
pub(super) async fn account(
    State(app): State<Arc<App>>,
    user: CurrentUser,
) -> Result<Answer<Account>, Problem> {
    let mut tx = app.db.user(user.id).await?;
    Ok(Answer(tx.account().await?))
}

/// How long a sign-in is good for what cannot be undone.
const RECENT: SignedDuration = SignedDuration::from_mins(10);

/// # Errors
/// `sign_in_again`.
pub(super) fn recent(subject: &Subject, now: Timestamp) -> Result<(), Problem> {
    if now.duration_since(subject.signed_in_at()) <= RECENT {
        return Ok(());
    }
    Err(Problem::new(
        Code::SignInAgain,
        "this needs a sign-in of the last ten minutes",
    ))
}

/// How far an erasure has come.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Erasure {
    /// `pending` or `done`.
    state: &'static str,
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
    #[schema(required, value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
}

/// Erases everything of the user. From here on the account is gone for every request; what is stored follows within
/// moments. Asking again is answered the same. Needs a sign-in of the last ten minutes.
#[utoipa::path(delete, path = "/me", tag = "me", responses(
    (status = 202, body = Erasure, headers(("location" = String, description = "/me/erasure"))),
    (status = 403, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn erase(State(app): State<Arc<App>>, Caller(subject): Caller) -> Result<Response, Problem> {
    let now = app.clock.now();
    recent(&subject, now)?;
    let hash = app.auth.pseudonym(subject.key());
    if let Known::User(id) = app.db.resolve(&subject, &hash).await? {
        let mut tx = app.db.user(id).await?;
        tx.request_erasure(&hash, now).await?;
        tx.emit(ERASE_USER, None, &json!({})).await?;
        tx.commit().await?;
        app.users.invalidate_all();
        app.cache.forget(id).await;
    }
    let state = state(&app, &hash).await?;
    Ok((
        StatusCode::ACCEPTED,
        [(header::LOCATION, "/me/erasure")],
        Answer(state),
    )
        .into_response())
}

/// How far the erasure has come; works with the token for as long as it is valid.
#[utoipa::path(get, path = "/me/erasure", tag = "me", responses((status = 200, body = Erasure),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn erasure(
    State(app): State<Arc<App>>,
    Caller(subject): Caller,
) -> Result<Answer<Erasure>, Problem> {
    let hash = app.auth.pseudonym(subject.key());
    Ok(Answer(state(&app, &hash).await?))
}

async fn state(app: &App, hash: &[u8]) -> Result<Erasure, Problem> {
    let state = app.db.erasure_state(hash).await?.ok_or_else(Problem::not_found)?;
    Ok(Erasure {
        state: if state.finished_at.is_some() {
            "done"
        } else {
            "pending"
        },
        requested_at: state.requested_at,
        finished_at: state.finished_at,
    })
}
