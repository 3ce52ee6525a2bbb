//! The outermost layer: request id, span, metrics, one log line, and the body of problems.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use metrics::{counter, histogram};
use tracing::Instrument;

use crate::problem::{Code, Problem};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of the request being served; in its extensions.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

pub async fn observe(mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = given_id(&request).unwrap_or_else(|| uuid::Uuid::now_v7().to_string());
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    // Never the raw path: it holds ids.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("unmatched", MatchedPath::as_str)
        .to_owned();
    let span = tracing::info_span!("request", request_id = id, %method, route);
    let mut response = next.run(request).instrument(span.clone()).await;
    let problem = response.extensions_mut().remove::<Problem>();
    let code = problem.as_ref().map_or("", |p| p.code.as_str());
    if let Some(problem) = problem {
        let body = serde_json::to_vec(&problem.body(&id)).unwrap_or_default();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.remove(header::CONTENT_LENGTH);
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
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let status = response.status().as_u16();
    let took = begun.elapsed();
    let labels = [
        ("route", route),
        ("method", method.to_string()),
        ("status", status.to_string()),
    ];
    counter!("bff_requests_total", &labels).increment(1);
    histogram!("bff_request_duration_seconds", &labels[..2]).record(took.as_secs_f64());
    span.in_scope(|| {
        tracing::info!(status, code, ms = took.as_secs_f64() * 1e3, "answered");
    });
    response
}

/// The client's id if it is short and plain.
fn given_id(request: &Request) -> Option<String> {
    let id = request.headers().get(&REQUEST_ID)?.to_str().ok()?;
    let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (plain && (1..=64).contains(&id.len())).then(|| id.to_owned())
}

pub async fn no_such_path() -> Problem {
    Problem::new(Code::NotFound, "no such path")
}

pub async fn wrong_method() -> Problem {
    Problem::new(Code::MethodNotAllowed, "this method is not allowed here")
}

/// Answers that a library wrote in plain text get the common shape.
pub async fn plain_to_problem(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error())
        || response.extensions().get::<Problem>().is_some()
    {
        return response;
    }
    let problem = match status.as_u16() {
        413 => Problem::new(Code::BodyTooLarge, "the body is larger than allowed"),
        415 => Problem::new(
            Code::UnsupportedMediaType,
            "this media type or encoding is not supported",
        ),
        408 | 503 | 504 => Problem::new(Code::Timeout, "the request took too long"),
        404 => Problem::not_found(),
        405 => {
            let allow = response.headers().get(header::ALLOW).cloned();
            let mut answer =
                Problem::new(Code::MethodNotAllowed, "this method is not allowed here").into_response();
            if let Some(allow) = allow {
                answer.headers_mut().insert(header::ALLOW, allow);
            }
            return answer;
        }
        400..=499 => Problem::new(Code::BadRequest, "the request cannot be read"),
        _ => Problem::new(Code::Internal, "the service failed in an unforeseen way"),
    };
    response = problem.into_response();
    response
}

/// A panic in a handler: told without its text, which may hold values.
pub fn from_panic(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    Problem::new(Code::Internal, "the service failed in an unforeseen way").into_response()
}
