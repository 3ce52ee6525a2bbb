//! Every error leaves in one shape, RFC 9457's, with the service's own code, the next step and the request id.
//!
//! `error` repeats the text for clients of the job API, which read that key.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::contract::quote::said;
use crate::contract::{ErrorCode, Fault, ScanError};

/// A refusal on its way out; [`super::edge::observe`] writes its body, because it knows the request id.
#[derive(Debug, Clone)]
pub struct Problem {
    pub status: StatusCode,
    pub code: ErrorCode,
    pub message: String,
    pub next_step: Option<String>,
    pub retry_after_s: Option<u64>,
}

/// Every error, by RFC 9457, with the service's own code.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    pub code: ErrorCode,
    /// The status in words.
    pub title: &'a str,
    pub status: u16,
    /// What is wrong, with the offending value.
    pub detail: &'a str,
    /// What the sender can do next.
    pub next_step: Option<&'a str>,
    pub fault: Fault,
    /// The same request may succeed later.
    pub retryable: bool,
    /// Also in the header `x-request-id`; the log has it.
    pub request_id: &'a str,
    /// The same as `detail`.
    pub error: &'a str,
}

impl Problem {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ScanError::new(code, message).into()
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_s = Some(seconds);
        self
    }

    pub fn body<'a>(&'a self, request_id: &'a str) -> ProblemBody<'a> {
        ProblemBody {
            code: self.code,
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.message,
            next_step: self.next_step.as_deref(),
            fault: self.code.fault(),
            retryable: self.code.retryable(),
            request_id,
            error: &self.message,
        }
    }
}

impl From<ScanError> for Problem {
    fn from(error: ScanError) -> Self {
        let status =
            StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() && error.code != ErrorCode::Draining {
            // The one place where a failed request is logged; the causes stay here.
            tracing::error!(code = error.code.as_str(), "{}", error.causes());
        }
        Self {
            status,
            code: error.code,
            retry_after_s: (error.code == ErrorCode::Draining).then_some(1),
            message: error.message,
            next_step: error.next_step.or_else(|| Some(error.code.action().to_owned())),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

pub async fn no_such_path(request: Request) -> Problem {
    Problem::new(
        ErrorCode::NotFound,
        format!("no such path: {}", said(request.uri().path())),
    )
}

pub async fn wrong_method(request: Request) -> Problem {
    Problem {
        status: StatusCode::METHOD_NOT_ALLOWED,
        ..Problem::new(
            ErrorCode::BadRequest,
            format!("{} is not allowed here", said(request.method().as_str())),
        )
    }
}

/// A panic in a handler: logged, and told without its text.
pub fn from_panic(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("unknown");
    tracing::error!("a request handler panicked: {text}");
    Problem {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        code: ErrorCode::Internal,
        message: "the service failed in an unforeseen way".into(),
        next_step: None,
        retry_after_s: None,
    }
    .into_response()
}
