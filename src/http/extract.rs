//! Parts of a request's head, refused in the service's own shape where they cannot be read.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use url::form_urlencoded;

use super::problem::Problem;
use crate::contract::ErrorCode;
use crate::contract::quote::said;

/// The `{id}` of the path. By name, because the id is the first or the second part of the path by prefix.
#[derive(Debug)]
pub struct JobId(pub String);

impl<S: Send + Sync> FromRequestParts<S> for JobId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, state).await;
        path.ok()
            .and_then(|mut path| path.remove("id"))
            .map(Self)
            .ok_or_else(|| Problem::new(ErrorCode::BadRequest, "the job's id in the path is no UTF-8 text"))
    }
}

/// `?wait=` in milliseconds.
#[derive(Debug)]
pub struct Wait(Option<u64>);

impl Wait {
    const DEFAULT_MS: u64 = 90_000;

    /// At least a second, at most `most_ms`.
    pub fn within(&self, most_ms: u64) -> Duration {
        Duration::from_millis(self.0.unwrap_or(Self::DEFAULT_MS).clamp(1_000, most_ms))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Wait {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        let given = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "wait");
        let Some((_, text)) = given.filter(|(_, text)| !text.is_empty()) else {
            return Ok(Self(None));
        };
        text.parse().map(|ms| Self(Some(ms))).map_err(|_| Problem {
            next_step: Some("leave it out, or send wait=1000 to 300000".into()),
            ..Problem::new(
                ErrorCode::BadRequest,
                format!("wait is no whole number of milliseconds: {:?}", said(&text)),
            )
        })
    }
}
