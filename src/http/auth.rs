//! API keys.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::SharedApp;
use super::problem::Problem;
use crate::contract::ErrorCode;

/// Lets a request through if it holds one of the keys, or if there are none to hold.
pub async fn require_key(State(app): State<SharedApp>, request: Request, next: Next) -> Response {
    let keys = &app.options.api_keys;
    // A browser asks before it sends the key.
    if keys.is_empty() || request.method() == Method::OPTIONS || holds_key(request.headers(), keys) {
        return next.run(request).await;
    }
    Problem {
        next_step: Some("send the header Authorization: Bearer <key>".into()),
        ..Problem::new(ErrorCode::Unauthorized, "Unauthorized")
    }
    .into_response()
}

/// `Authorization: Bearer K` (in any case), `Authorization: K` or `X-API-Key: K`. The time taken does not depend on how much of a
/// key is right: digests of one length are compared, all of them.
fn holds_key(headers: &HeaderMap, keys: &[SecretString]) -> bool {
    let text = |name| headers.get(name).and_then(|v| v.to_str().ok());
    // Both are looked at: a proxy may put an Authorization of its own beside the caller's key.
    let given = [text("authorization").map(without_scheme), text("x-api-key")];
    let mut held = Choice::from(0);
    for given in given.into_iter().flatten() {
        let given = Sha256::digest(given.trim().as_bytes());
        for key in keys {
            held |= Sha256::digest(key.expose_secret().as_bytes()).ct_eq(&given);
        }
    }
    held.into()
}

/// `Bearer` in any case.
fn without_scheme(value: &str) -> &str {
    match value.split_once(' ') {
        Some((scheme, key)) if scheme.eq_ignore_ascii_case("bearer") => key,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_whole_key_counts() {
        let keys = [SecretString::from("one"), SecretString::from("two-two")];
        let with = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            holds_key(&headers, &keys)
        };
        assert!(with("authorization", "Bearer two-two"));
        assert!(with("authorization", "bearer  two-two") && with("authorization", "BEARER one"));
        assert!(with("authorization", "one"));
        assert!(with("authorization", "bearer one"));
        assert!(with("x-api-key", "one"));
        let mut both = HeaderMap::new();
        both.insert("authorization", "Basic Zm9yZWlnbg==".parse().unwrap());
        assert!(!holds_key(&both, &keys));
        both.insert("x-api-key", "one".parse().unwrap());
        assert!(holds_key(&both, &keys), "one valid key is enough");
        assert!(!with("authorization", "Bearer two"));
        assert!(!with("authorization", "Bearer two-two-two"));
        assert!(!with("authorization", "Bearer "));
        assert!(!holds_key(&HeaderMap::new(), &keys));
    }
}
