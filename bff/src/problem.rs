//! Every error leaves in one shape, RFC 9457's, with a stable code, the next step and the request id.
//!
//! A refused value is never repeated: it may be somebody's health.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

/// What went wrong; part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    TokenMissing,
    TokenInvalid,
    TokenExpired,
    SignInAgain,
    IdentityProviderUnavailable,
    AccountErased,
    NotFound,
    MethodNotAllowed,
    BadRequest,
    InvalidField,
    CursorInvalid,
    BodyTooLarge,
    TooManyRecords,
    UnsupportedMediaType,
    VersionRequired,
    VersionStale,
    IdempotencyKeyMissing,
    IdempotencyKeyInvalid,
    IdempotencyKeyReused,
    IdempotencyInFlight,
    NotEnoughLeft,
    NoSuggestion,
    ScanState,
    VisionUnavailable,
    ScansOff,
    WebhookRefused,
    MenuNotFound,
    MenuUnusable,
    MenusUnavailable,
    MenuBudgetSpent,
    RateLimited,
    Overloaded,
    DatabaseUnavailable,
    StorageUnavailable,
    Draining,
    Timeout,
    Internal,
}

impl Code {
    pub fn status(self) -> StatusCode {
        match self {
            Self::TokenMissing | Self::TokenInvalid | Self::TokenExpired | Self::WebhookRefused => {
                StatusCode::UNAUTHORIZED
            }
            Self::SignInAgain => StatusCode::FORBIDDEN,
            Self::AccountErased | Self::NotFound | Self::MenuNotFound => StatusCode::NOT_FOUND,
            Self::MenuUnusable => StatusCode::BAD_GATEWAY,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadRequest
            | Self::CursorInvalid
            | Self::IdempotencyKeyMissing
            | Self::IdempotencyKeyInvalid => StatusCode::BAD_REQUEST,
            Self::InvalidField | Self::IdempotencyKeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyTooLarge | Self::TooManyRecords => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::VersionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::VersionStale => StatusCode::PRECONDITION_FAILED,
            Self::IdempotencyInFlight | Self::NotEnoughLeft | Self::NoSuggestion | Self::ScanState => {
                StatusCode::CONFLICT
            }
            Self::RateLimited | Self::MenuBudgetSpent => StatusCode::TOO_MANY_REQUESTS,
            Self::IdentityProviderUnavailable
            | Self::Overloaded
            | Self::DatabaseUnavailable
            | Self::StorageUnavailable
            | Self::VisionUnavailable
            | Self::ScansOff
            | Self::MenusUnavailable
            | Self::Draining
            | Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// As it stands in answers and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TokenMissing => "token_missing",
            Self::TokenInvalid => "token_invalid",
            Self::TokenExpired => "token_expired",
            Self::SignInAgain => "sign_in_again",
            Self::IdentityProviderUnavailable => "identity_provider_unavailable",
            Self::AccountErased => "account_erased",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::BadRequest => "bad_request",
            Self::InvalidField => "invalid_field",
            Self::CursorInvalid => "cursor_invalid",
            Self::BodyTooLarge => "body_too_large",
            Self::TooManyRecords => "too_many_records",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::VersionRequired => "version_required",
            Self::VersionStale => "version_stale",
            Self::IdempotencyKeyMissing => "idempotency_key_missing",
            Self::IdempotencyKeyInvalid => "idempotency_key_invalid",
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::IdempotencyInFlight => "idempotency_in_flight",
            Self::NotEnoughLeft => "not_enough_left",
            Self::NoSuggestion => "no_suggestion",
            Self::ScanState => "scan_state",
            Self::VisionUnavailable => "vision_unavailable",
            Self::ScansOff => "scans_off",
            Self::WebhookRefused => "webhook_refused",
            Self::MenuNotFound => "menu_not_found",
            Self::MenuUnusable => "menu_unusable",
            Self::MenusUnavailable => "menus_unavailable",
            Self::MenuBudgetSpent => "menu_budget_spent",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::DatabaseUnavailable => "database_unavailable",
            Self::StorageUnavailable => "storage_unavailable",
            Self::Draining => "draining",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
        }
    }

    fn next_step(self) -> Option<&'static str> {
        Some(match self {
            Self::TokenMissing => "send Authorization: Bearer <token>",
            Self::TokenInvalid => "sign in and send the new token",
            Self::TokenExpired => "refresh the token and retry",
            Self::SignInAgain => "sign in again and retry within ten minutes",
            Self::VersionRequired => "send If-Match with the ETag of the last read",
            Self::VersionStale => "read again, merge, and retry with the new ETag",
            Self::IdempotencyKeyMissing => "send Idempotency-Key with a fresh id for each action",
            Self::IdempotencyKeyReused => "use a new Idempotency-Key for a new action",
            Self::IdempotencyInFlight
            | Self::IdentityProviderUnavailable
            | Self::Overloaded
            | Self::DatabaseUnavailable
            | Self::StorageUnavailable
            | Self::VisionUnavailable
            | Self::Draining
            | Self::Timeout
            | Self::MenuUnusable
            | Self::MenusUnavailable
            | Self::MenuBudgetSpent
            | Self::RateLimited => "retry after a while",
            Self::CursorInvalid => "start again without a cursor",
            Self::ScanState => "read the scan; its state says what is possible",
            Self::TooManyRecords | Self::BodyTooLarge => "send it in smaller parts",
            _ => return None,
        })
    }
}

/// One wrong field of a request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct FieldError {
    /// JSON pointer into the body, or `?name` for a query parameter.
    pub pointer: String,
    /// Stable.
    pub code: &'static str,
}

/// A refusal on its way out; [`crate::edge::finish`] writes its body, which tells the
/// request id.
#[derive(Debug, Clone)]
pub struct Problem {
    pub code: Code,
    pub detail: Cow<'static, str>,
    pub errors: Vec<FieldError>,
    pub retry_after_s: Option<u64>,
    /// Further members of the body, such as what is left or the current state.
    pub extra: Map<String, Value>,
}

/// RFC 9457 with this service's members.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody<'a> {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'a str,
    pub status: u16,
    pub code: Code,
    pub detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_step: Option<&'a str>,
    pub request_id: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub errors: &'a [FieldError],
    #[serde(flatten)]
    #[schema(additional_properties)]
    pub extra: &'a Map<String, Value>,
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let retry = matches!(
            code,
            Code::IdempotencyInFlight
                | Code::IdentityProviderUnavailable
                | Code::Overloaded
                | Code::DatabaseUnavailable
                | Code::StorageUnavailable
                | Code::VisionUnavailable
                | Code::Draining
                | Code::Timeout
        );
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after_s: retry.then_some(1),
            extra: Map::new(),
        }
    }

    pub fn not_found() -> Self {
        Self::new(Code::NotFound, "no such thing of yours")
    }

    /// One wrong field.
    pub fn field(pointer: impl Into<String>, code: &'static str) -> Self {
        Self::fields(vec![FieldError {
            pointer: pointer.into(),
            code,
        }])
    }

    pub fn fields(errors: Vec<FieldError>) -> Self {
        Self {
            errors,
            ..Self::new(Code::InvalidField, "some fields are not acceptable")
        }
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    /// An unforeseen failure: the cause goes to the log, and only there.
    pub fn internal(context: &'static str, cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(context, "internal error: {cause}");
        Self::new(Code::Internal, "the service failed in an unforeseen way")
    }

    pub fn body<'a>(&'a self, request_id: &'a str) -> ProblemBody<'a> {
        let status = self.code.status();
        ProblemBody {
            kind: format!("urn:bio-bff:problem:{}", self.code.as_str()),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            code: self.code,
            detail: &self.detail,
            next_step: self.code.next_step(),
            request_id,
            errors: &self.errors,
            extra: &self.extra,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if let Some(seconds) = self.retry_after_s {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if response.status() == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

impl From<sqlx::Error> for Problem {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::not_found(),
            sqlx::Error::PoolTimedOut => Self::new(Code::Overloaded, "every database connection is busy"),
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::database_away(),
            sqlx::Error::Database(db) => Self::from_code(db.code().as_deref().unwrap_or_default()),
            // A protocol error is what a server that was killed in the middle of an answer leaves.
            sqlx::Error::Protocol(_) => Self::database_away(),
            other => Self::internal("database", &kind_of(other)),
        }
    }
}

impl Problem {
    fn database_away() -> Self {
        Self::new(Code::DatabaseUnavailable, "the database does not answer")
    }

    /// By SQLSTATE. The server's own text is never used: the DETAIL of a constraint holds the values.
    fn from_code(code: &str) -> Self {
        match code {
            // Another user's id (42501 by row security, 23505 by a primary key that it hides) or one that is gone.
            "42501" | "23505" | "23503" => Self::not_found(),
            "40001" | "40P01" | "55P03" | "57014" => {
                Self::new(Code::Overloaded, "the database gave up on a conflict")
            }
            // Shutting down, starting up, too many connections, read-only after a failover.
            "57P01" | "57P02" | "57P03" | "53300" | "25006" => Self::database_away(),
            code if code.starts_with("08") => Self::database_away(),
            code => Self::internal("database", &format!("SQLSTATE {code}")),
        }
    }
}

/// The kind of an error without its values.
fn kind_of(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::ColumnDecode { index, .. } => format!("column {index} does not decode"),
        sqlx::Error::ColumnNotFound(name) => format!("column {name} is missing"),
        sqlx::Error::Decode(_) => "a value does not decode".into(),
        sqlx::Error::Encode(_) => "a value does not encode".into(),
        _ => "driver error".into(),
    }
}
