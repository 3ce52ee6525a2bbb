//! `Idempotency-Key`: an action under a key happens once, and a repetition gets the first answer's bytes.
//!
//! Kept for 24 hours, by user, method and path template. The value may be in quotes, as the draft has it, or bare, as
//! clients send it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::problem::{Code, Problem};
use crate::store::UserTx;
use crate::store::idempotency::{Action, Claim, Stored};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The key if one was sent.
#[derive(Debug, Clone)]
pub(super) struct Key(pub Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Some(value) = parts.headers.get(&KEY) else {
            return Ok(Self(None));
        };
        let text = value.to_str().unwrap_or_default().trim();
        let bare = text
            .strip_prefix('"')
            .and_then(|t| t.strip_suffix('"'))
            .unwrap_or(text);
        let good = (1..=255).contains(&bare.len())
            && bare
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !good {
            return Err(Problem::new(
                Code::IdempotencyKeyInvalid,
                "Idempotency-Key is 1 to 255 letters, digits, - and _",
            ));
        }
        Ok(Self(Some(bare.to_owned())))
    }
}

impl Key {
    /// As [`Key::action`], of a request that needs one.
    ///
    /// # Errors
    /// `idempotency_key_missing`.
    pub(super) fn required(
        self,
        method: &'static str,
        path: &'static str,
        request: &impl Serialize,
    ) -> Result<Action, Problem> {
        self.action(method, path, request).ok_or_else(|| {
            Problem::new(
                Code::IdempotencyKeyMissing,
                "this action needs an Idempotency-Key",
            )
        })
    }

    /// The action that this key stands for; the fingerprint is of what the request means, not of its bytes.
    pub(super) fn action(
        self,
        method: &'static str,
        path: &'static str,
        request: &impl Serialize,
    ) -> Option<Action> {
        let meaning = serde_json::to_vec(request).unwrap_or_default();
        self.0.map(|key| Action {
            method,
            path,
            key,
            fingerprint: Sha256::digest(meaning).into(),
        })
    }
}

/// Takes the key inside the transaction of the effect, which [`crate::store::Db::user_for`] began: `Some` is the answer of before.
///
/// # Errors
/// `idempotency_key_reused`, `idempotency_in_flight`.
pub(super) async fn claim(tx: &mut UserTx, action: Option<&Action>) -> Result<Option<Response>, Problem> {
    let Some(action) = action else { return Ok(None) };
    match tx.claim(action).await? {
        Claim::Ours => Ok(None),
        Claim::Replay(stored) => Ok(Some(replay(stored))),
        Claim::OtherRequest => Err(Problem::new(
            Code::IdempotencyKeyReused,
            "this Idempotency-Key was used for another request",
        )),
        Claim::InFlight => Err(Problem::new(
            Code::IdempotencyInFlight,
            "the same action is being done right now",
        )),
    }
}

fn replay(stored: Stored) -> Response {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(status, stored.body);
    response
        .headers_mut()
        .insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response {
    let kind = if status.is_client_error() {
        "application/problem+json"
    } else {
        "application/json"
    };
    (status, [(header::CONTENT_TYPE, kind)], body).into_response()
}

/// Keeps the answer under the key, in the same transaction; the caller commits and sends it.
///
/// # Errors
/// The database.
pub(super) async fn answer(
    tx: &mut UserTx,
    action: Option<&Action>,
    status: StatusCode,
    body: &impl Serialize,
) -> Result<Response, Problem> {
    let stored = stored(status, body)?;
    if let Some(action) = action {
        tx.store_answer(action, &stored).await?;
    }
    Ok(json(status, stored.body))
}

/// An answer as it is kept.
///
/// # Errors
/// It does not serialise.
pub(super) fn stored(status: StatusCode, body: &impl Serialize) -> Result<Stored, Problem> {
    let body = serde_json::to_vec(body).map_err(|e| Problem::internal("an answer does not serialise", &e))?;
    Ok(Stored {
        status: status.as_u16(),
        body,
    })
}
