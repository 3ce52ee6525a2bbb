//! News from outside: a job has ended, an object has come. Neither is believed; both make us look.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use futures::StreamExt;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};

use super::App;
use super::body::Json;
use crate::domain::upload::uploads_seen;
use crate::problem::{Code, Problem, ProblemBody};
use crate::scans::{Stuck, token_hash};
use crate::vision::signature::Check;

/// Bytes of a call; those that come with a result hold its pictures.
pub(super) const CALL_BYTES: usize = 128 << 20;
/// A sender is not kept waiting for longer: most come again after ten seconds.
const HEARD: Duration = Duration::from_secs(8);
/// Characters of a token: 256 bits, base64url.
const TOKEN: usize = 43;

/// A job has ended. The address holds a secret of one scan; the body is only a hint, and its signature is checked where
/// the vision service signs.
#[utoipa::path(post, path = "/webhooks/scans/{token}", tag = "hooks", security(()),
    params(("token" = String, Path, description = "of one scan, given to the vision service only")),
    responses((status = 200, description = "heard"),
        (status = 401, description = "`webhook_refused`: not signed rightly, or replayed", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn webhook(
    State(app): State<Arc<App>>,
    token: Result<Path<String>, axum::extract::rejection::PathRejection>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let scans = app.scans()?;
    let unknown = || Problem::new(Code::NotFound, "no such address");
    let Path(token) = token.map_err(|_| unknown())?;
    if token.len() != TOKEN {
        return Err(unknown());
    }
    let hash = token_hash(&token);
    let named = app.db.scan_of_webhook(&hash).await?.ok_or_else(unknown)?;
    let service = scans.vision.named(named.model_set.as_deref());
    let mut check = None;
    if let Some(secret) = service.and_then(|s| s.webhook_secret()) {
        let refused = || Problem::new(Code::WebhookRefused, "the call is not signed rightly");
        let now = app.clock.now().as_second();
        check = Some(Check::begin(secret, &headers, now).ok_or_else(refused)?);
    }
    let check = drain(body, check).await?;
    if check.is_some_and(|c| !c.good()) {
        return Err(Problem::new(
            Code::WebhookRefused,
            "the call is not signed rightly",
        ));
    }
    let Some((due, has_job)) = app.db.hint(&hash).await? else {
        return Err(unknown());
    };
    if has_job && let Some(user) = app.db.existing(due.user).await? {
        // Goes on when the sender hangs up: what was fetched by then must not be fetched again.
        let scans = scans.clone();
        let collecting = tokio::spawn(async move { scans.collect(user, due.scan).await });
        match tokio::time::timeout(HEARD, collecting).await {
            // The sender comes again, and so does the reconciler.
            Ok(Ok(Err(stuck @ (Stuck::Database(_) | Stuck::Storage(_))))) => return Err(stuck.into()),
            Ok(Err(_)) => return Err(Problem::new(Code::Internal, "the result could not be taken")),
            // Heard.
            Ok(Ok(Ok(_) | Err(Stuck::Vision(_)))) | Err(_) => {}
        }
    }
    Ok(StatusCode::OK)
}

/// Reads a body to its end without keeping it.
async fn drain(body: Body, mut check: Option<Check>) -> Result<Option<Check>, Problem> {
    let mut stream = body.into_data_stream();
    let mut bytes = 0;
    while let Some(part) = stream.next().await {
        let part: Bytes = part.map_err(|_| Problem::new(Code::BadRequest, "the body could not be read"))?;
        bytes += part.len();
        if bytes > CALL_BYTES {
            return Err(Problem::new(
                Code::BodyTooLarge,
                "the body is larger than allowed",
            ));
        }
        if let Some(check) = &mut check {
            check.update(&part);
        }
    }
    Ok(check)
}

/// Objects have come: a notification of S3 or EventBridge, from the orchestrator that has the token.
#[utoipa::path(post, path = "/internal/storage-events", tag = "hooks", security(()), request_body = Object,
    responses((status = 200, description = "heard"),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 401, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 413, body = ProblemBody, content_type = "application/problem+json"),
        (status = 415, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn storage_event(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    Json(notice): Json<serde_json::Value>,
) -> Result<StatusCode, Problem> {
    let scans = app.scans()?;
    let Some(secret) = &app.hooks.storage_events else {
        return Err(Problem::new(Code::NotFound, "no such path"));
    };
    let given = headers
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok()?.strip_prefix("Bearer "))
        .ok_or_else(|| Problem::new(Code::TokenMissing, "this path needs a token"))?;
    // Hashes of one length: how long a comparison takes says nothing.
    if Sha256::digest(given) != Sha256::digest(secret.expose_secret()) {
        return Err(Problem::new(Code::TokenInvalid, "the token is not acceptable"));
    }
    for seen in uploads_seen(&notice) {
        match scans.upload_seen(&seen).await {
            Ok(()) | Err(Stuck::Vision(_)) => {}
            Err(stuck) => return Err(stuck.into()),
        }
    }
    Ok(StatusCode::OK)
}
