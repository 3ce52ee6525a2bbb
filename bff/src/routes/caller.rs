//! The user of a request.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use super::App;
use crate::auth::Subject;
use crate::problem::{Code, Problem};
use crate::store::UserId;
use crate::store::users::Known;

/// A verified subject, whether or not it is a user any more: only erasure asks for this.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) Subject);

/// The user that the token stands for.
#[derive(Debug, Clone)]
pub(super) struct CurrentUser {
    pub(super) id: UserId,
    pub(super) subject: Subject,
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let token = bearer(parts)?;
        let now = app.clock.now().as_second();
        app.auth.verify(token, now).await.map(Self)
    }
}

impl FromRequestParts<Arc<App>> for CurrentUser {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let user = resolve(app, bearer(parts)?).await?;
        app.admit(user.id, parts)?;
        Ok(user)
    }
}

/// The user of a token, wherever it came from.
///
/// # Errors
/// The token is not good, or its user was erased.
pub(super) async fn resolve(app: &App, token: &str) -> Result<CurrentUser, Problem> {
    let subject = app.auth.verify(token, app.clock.now().as_second()).await?;
    if let Some(id) = app.users.get(&subject) {
        return Ok(CurrentUser { id, subject });
    }
    let hash = app.auth.pseudonym(subject.key());
    match app.db.resolve(&subject, &hash).await? {
        Known::User(id) => {
            app.users.insert(subject.clone(), id);
            Ok(CurrentUser { id, subject })
        }
        Known::Erased => Err(Problem::new(Code::AccountErased, "this account was erased")),
    }
}

fn bearer(parts: &Parts) -> Result<&str, Problem> {
    let missing = || Problem::new(Code::TokenMissing, "this path needs a token");
    let mut values = parts.headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or_else(missing)?;
    if values.next().is_some() {
        return Err(Problem::new(
            Code::TokenInvalid,
            "more than one Authorization header",
        ));
    }
    let value = value.to_str().map_err(|_| missing())?;
    let (scheme, token) = value.split_once(' ').ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(missing());
    }
    Ok(token.trim())
}
