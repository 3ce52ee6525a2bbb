//! Consents, by purpose: given and withdrawn with equal ease.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::body::{Check, Json};
use super::caller::CurrentUser;
use crate::problem::{Problem, ProblemBody};
use crate::store::consents::Consent;

/// What holds now, one entry a purpose.
#[utoipa::path(get, path = "/consents", tag = "consents", responses((status = 200, body = Vec<Consent>)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    user: CurrentUser,
) -> Result<Answer<Vec<Consent>>, Problem> {
    let mut tx = app.db.user(user.id).await?;
    Ok(Answer(tx.consents().await?))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewConsent {
    /// `health_data`, `training`, ...
    #[schema(max_length = 50)]
    purpose: String,
    granted: bool,
    /// Version of the wording that was shown.
    #[schema(max_length = 50)]
    text_version: String,
}

/// Records what the person said.
#[utoipa::path(post, path = "/consents", tag = "consents", request_body = NewConsent, responses(
    (status = 201, body = Consent),
    (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn add(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Json(new): Json<NewConsent>,
) -> Result<(StatusCode, Answer<Consent>), Problem> {
    let mut check = Check::default();
    let purpose = check.word("/purpose", &new.purpose, 50);
    let text_version = check.text("/text_version", &new.text_version, 50);
    check.done()?;
    let mut tx = app.db.user(user.id).await?;
    let consent = tx.add_consent(&purpose, new.granted, &text_version).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Answer(consent)))
}
