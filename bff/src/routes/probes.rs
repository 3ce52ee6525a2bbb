//! What orchestrators ask. Open to everybody; says nothing of anybody.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::App;
use crate::problem::{Code, Problem, ProblemBody};

/// The process answers.
#[utoipa::path(get, path = "/livez", tag = "probes", security(()),
    responses((status = 200, description = "alive", body = String, content_type = "text/plain")))]
pub async fn livez() -> &'static str {
    "ok\n"
}

/// Not draining, and the database answers. The cache is not needed.
#[utoipa::path(get, path = "/readyz", tag = "probes", security(()), responses(
    (status = 200, description = "send work", body = String, content_type = "text/plain"),
    (status = 503, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn readyz(State(app): State<Arc<App>>) -> Result<&'static str, Problem> {
    if app.is_draining() {
        return Err(Problem::new(Code::Draining, "this instance is shutting down"));
    }
    let away = || Problem::new(Code::DatabaseUnavailable, "the database does not answer");
    let ping = sqlx::query("SELECT 1").execute(app.db.pool());
    match tokio::time::timeout(Duration::from_secs(2), ping).await {
        Ok(Ok(_)) => Ok("ok\n"),
        _ => Err(away()),
    }
}

/// Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "probes", security(()), responses(
    (status = 200, body = String, content_type = "text/plain"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Problem> {
    let handle = app
        .metrics
        .as_ref()
        .ok_or_else(|| Problem::new(Code::NotFound, "metrics are off"))?;
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, handle.render()).into_response())
}
