//! Reading a request's body: bounded in size and time, whatever its content type says.

use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, header};
use serde_json::Value;

use super::problem::Problem;
use crate::contract::ErrorCode;

/// The whole body.
///
/// # Errors
/// 413 over `limit` bytes, 408 over `time`, 415 for a compressed body.
pub async fn read(headers: &HeaderMap, body: Body, limit: usize, time: Duration) -> Result<Bytes, Problem> {
    let too_large = || Problem {
        next_step: Some("send a smaller photo, or an s3:// or https:// address of it".into()),
        ..Problem::new(
            ErrorCode::PayloadTooLarge,
            format!("the body is over {limit} bytes"),
        )
    };
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(Problem {
            status: axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ..Problem::new(ErrorCode::BadRequest, "compressed bodies are not taken")
        });
    }
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.parse::<usize>().ok());
    if announced.is_some_and(|n| n > limit) {
        return Err(too_large());
    }
    match tokio::time::timeout(time, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_limit(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Problem::new(ErrorCode::BadRequest, "the body broke off")),
        Err(_) => Err(Problem {
            status: axum::http::StatusCode::REQUEST_TIMEOUT,
            ..Problem::new(
                ErrorCode::BadRequest,
                format!("the body did not arrive within {} s", time.as_secs()),
            )
        }),
    }
}

/// A JSON body.
///
/// # Errors
/// 400 that says where it stops being JSON.
pub fn json(bytes: &[u8]) -> Result<Value, Problem> {
    serde_json::from_slice(bytes)
        .map_err(|e| Problem::new(ErrorCode::BadRequest, format!("the body is not JSON: {e}")))
}

fn is_limit(error: &axum::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(e) = cause {
        if e.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = e.source();
    }
    false
}
