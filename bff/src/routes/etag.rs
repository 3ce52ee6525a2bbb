//! Versions of editable things: strong ETags from the row's version; changes need `If-Match`.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::problem::{Code, Problem};
use crate::store::row::{Changed, Version, Versioned};

/// The version that a change was made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct IfMatch(pub Version);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let value = parts
            .headers
            .get(header::IF_MATCH)
            .ok_or_else(|| Problem::new(Code::VersionRequired, "this change needs If-Match"))?;
        let version = value
            .to_str()
            .ok()
            .and_then(|v| v.trim().strip_prefix("\"v")?.strip_suffix('"')?.parse().ok())
            // Something we never gave out matches nothing.
            .unwrap_or(-1);
        Ok(Self(Version(version)))
    }
}

fn etag(version: Version) -> HeaderValue {
    HeaderValue::from_str(&format!("\"v{}\"", version.0)).unwrap_or(HeaderValue::from_static("\"v\""))
}

/// A thing with its ETag.
pub(super) fn tagged<T: Serialize>(status: StatusCode, thing: &Versioned<T>) -> Response {
    (
        status,
        [(header::ETAG, etag(thing.version))],
        axum::Json(&thing.value),
    )
        .into_response()
}

/// A change that was made, or 412 with the thing as it is now.
pub(super) fn outcome<T: Serialize>(changed: Changed<Versioned<T>>) -> Result<Response, Problem> {
    match changed {
        Changed::Done(thing) => Ok(tagged(StatusCode::OK, &thing)),
        Changed::Stale(now) => Err(stale(&now)),
    }
}

/// A removal that was made, or 412.
pub(super) fn removal<T: Serialize>(changed: &Changed<Option<Versioned<T>>>) -> Result<StatusCode, Problem> {
    match changed {
        Changed::Stale(Some(now)) => Err(stale(now)),
        _ => Ok(StatusCode::NO_CONTENT),
    }
}

pub(super) fn stale<T: Serialize>(now: &Versioned<T>) -> Problem {
    let current = serde_json::to_value(&now.value).unwrap_or_default();
    let tag = format!("\"v{}\"", now.version.0);
    Problem::new(Code::VersionStale, "it was changed in between")
        .with("current", current)
        .with("etag", tag)
}
