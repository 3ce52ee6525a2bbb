//! One error for a scan: a stable code, whose fault it is, whether to try again, and what to do next.

use serde::{Deserialize, Serialize};

/// Who can mend it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The request or the photo.
    Client,
    /// This service or its set-up.
    Service,
    /// Something this service depends on.
    Upstream,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $fault:ident, retry $retry:literal, http $http:literal;)*) => {
        /// Stable machine-readable reasons; the text is part of the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
            pub fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)* }
            }
            /// The same request may succeed later.
            pub fn retryable(self) -> bool {
                match self { $(Self::$name => $retry,)* }
            }
            /// The one map to HTTP.
            pub fn http_status(self) -> u16 {
                match self { $(Self::$name => $http,)* }
            }
        }
    };
}

codes! {
    BadRequest = "bad_request", Client, retry false, http 400;
    /// A field parses but its value cannot be (pitch of 400, FOV of 200 degrees).
    InvalidField = "invalid_field", Client, retry false, http 422;
    PayloadTooLarge = "payload_too_large", Client, retry false, http 413;
    ImageTooLarge = "image_too_large", Client, retry false, http 413;
    ImageUnreadable = "image_unreadable", Client, retry false, http 422;
    ImageFormat = "image_format", Client, retry false, http 415;
    /// Too dark or uniform to see anything in.
    ImageBlank = "image_blank", Client, retry false, http 422;
    UrlRefused = "url_refused", Client, retry false, http 422;
    FetchFailed = "fetch_failed", Upstream, retry true, http 502;
    ObjectNotFound = "object_not_found", Client, retry false, http 404;
    /// Tilt over 75 degrees from straight down: the table is seen edge-on.
    TiltTooLarge = "tilt_too_large", Client, retry false, http 422;
    /// Gravity, plate and depth contradict the stated pitch.
    PitchInconsistent = "pitch_inconsistent", Client, retry false, http 422;
    TableNotVisible = "table_not_visible", Client, retry false, http 422;
    NoFood = "no_food", Client, retry false, http 422;
    /// A depth raster that holds NaN or no relief where it must not.
    DepthInvalid = "depth_invalid", Service, retry false, http 500;
    CheckpointInvalid = "checkpoint_invalid", Service, retry false, http 500;
    ConfigInvalid = "config_invalid", Service, retry false, http 500;
    DeviceUnavailable = "device_unavailable", Service, retry true, http 503;
    OutOfMemory = "out_of_memory", Service, retry true, http 503;
    QueueFull = "queue_full", Service, retry true, http 429;
    Draining = "draining", Service, retry true, http 503;
    DeadlineExceeded = "deadline_exceeded", Service, retry true, http 504;
    Cancelled = "cancelled", Client, retry false, http 409;
    Unauthorized = "unauthorized", Client, retry false, http 401;
    NotFound = "not_found", Client, retry false, http 404;
    Storage = "storage", Upstream, retry true, http 502;
    Internal = "internal", Service, retry false, http 500;
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

/// Why a scan failed. `message` is for the person who sent it; causes stay in `source` for the log.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct ScanError {
    pub code: ErrorCode,
    /// What is wrong, with the offending value.
    pub message: String,
    /// What the sender can do next.
    pub next_step: Option<String>,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ScanError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            next_step: None,
            source: None,
        }
    }

    #[must_use]
    pub fn next_step(mut self, text: impl Into<String>) -> Self {
        self.next_step = Some(text.into());
        self
    }

    /// The same error, telling which file it is about.
    #[must_use]
    pub fn in_file(mut self, path: &std::path::Path) -> Self {
        self.message = format!("{}: {}", path.display(), self.message);
        self
    }

    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl Serialize for ScanError {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut out = s.serialize_struct("ScanError", 5)?;
        out.serialize_field("code", &self.code)?;
        out.serialize_field("message", &self.message)?;
        out.serialize_field("next_step", &self.next_step)?;
        out.serialize_field("fault", &self.code.fault())?;
        out.serialize_field("retryable", &self.code.retryable())?;
        out.end()
    }
}

impl From<dragunov_models::ModelError> for ScanError {
    fn from(error: dragunov_models::ModelError) -> Self {
        use dragunov_models::ModelError as M;
        let code = match &error {
            M::Io { .. }
            | M::Json { .. }
            | M::Config { .. }
            | M::Safetensors { .. }
            | M::TorchFile { .. }
            | M::TensorType { .. }
            | M::MissingTensor { .. }
            | M::TensorShape { .. }
            | M::UnexpectedTensors { .. }
            | M::Tokenizer { .. } => ErrorCode::CheckpointInvalid,
            M::Image { .. } => ErrorCode::ImageUnreadable,
            M::Prompt(_) => ErrorCode::InvalidField,
            M::Precision { .. } => ErrorCode::ConfigInvalid,
            M::Device(_) => ErrorCode::DeviceUnavailable,
            M::Cancelled => ErrorCode::Cancelled,
            M::Compute(_) => ErrorCode::Internal,
        };
        Self::new(code, error.to_string()).source(error)
    }
}
