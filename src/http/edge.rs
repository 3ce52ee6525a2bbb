//! The outermost layer: request id, span, metrics, one log line, and the body of problems.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use metrics::{counter, histogram};
use tracing::Instrument;

use super::problem::Problem;
use crate::contract::quote::said;
use crate::telemetry::names;

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request being served; in its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

pub async fn observe(mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = given_id(&request).unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    request.extensions_mut().insert(RequestId(id.clone()));
    // A method may be any word, of any length.
    let method = said(request.method().as_str());
    // Never the raw path: it would make a label of every job id and every probe of a scanner.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let span = tracing::info_span!("request", request_id = id, %method, route);
    let mut response = next.run(request).instrument(span.clone()).await;
    if let Some(problem) = response.extensions_mut().remove::<Problem>() {
        let body = serde_json::to_vec(&problem.body(&id)).unwrap_or_default();
        response.headers_mut().insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = body.into();
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    let (took, status) = (begun.elapsed(), response.status().as_u16());
    histogram!(names::REQUEST_SECONDS, "route" => route.clone()).record(took.as_secs_f64());
    counter!(names::REQUESTS, "route" => route.clone(), "code" => status.to_string()).increment(1);
    let probe = matches!(route.as_str(), "/livez" | "/readyz" | "/ping" | "/metrics");
    span.in_scope(|| {
        let ms = took.as_secs_f64() * 1e3;
        if probe {
            tracing::trace!(status, duration_ms = ms, "served");
        } else {
            tracing::info!(status, duration_ms = ms, "served");
        }
    });
    response
}

/// The caller's id, if it is short and harmless.
fn given_id(request: &Request) -> Option<String> {
    let text = request.headers().get(REQUEST_ID)?.to_str().ok()?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    (!text.is_empty() && text.len() <= 64 && text.bytes().all(plain)).then(|| text.to_owned())
}
