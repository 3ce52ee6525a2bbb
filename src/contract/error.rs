//! One error for a scan: a stable code, whose fault it is, whether to try again, and what to do next.

use serde::Serialize;

use super::vocabulary::vocabulary;

vocabulary! {
    /// Who can mend it.
    Fault {
        Client = "client":
            "The request or the photo.",
            "Change the request or take another photo; the same request fails again.";
        Service = "service":
            "This service or its set-up.",
            "Send it again if `retryable` says so; otherwise tell the operator the `request_id`.";
        Upstream = "upstream":
            "Something this service depends on: a bucket, a URL, a database.",
            "Send it again if `retryable` says so, and check that the other side answers.";
    }
}

/// [`vocabulary!`] with three columns more: whose fault it is, whether the same request may succeed later, the HTTP
/// status.
macro_rules! codes {
    ($($name:ident = $text:literal, $fault:ident, retry $retry:literal, http $http:literal: $meaning:literal, $action:literal;)*) => {
        vocabulary! {
            /// Stable machine-readable reasons.
            ErrorCode { $($name = $text: $meaning, $action;)* }
        }

        impl ErrorCode {
            /// Of the device itself, whatever it was asked: no answer can be made out of what is left.
            pub const fn is_of_device(self) -> bool {
                matches!(self, Self::DeviceUnavailable | Self::OutOfMemory)
            }
            pub const fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)* }
            }
            /// The same request may succeed later.
            pub const fn retryable(self) -> bool {
                match self { $(Self::$name => $retry,)* }
            }
            /// The one map from codes to HTTP. Only refusals of the HTTP layer itself have another: a wrong method 405, a
            /// slow body 408, a compressed body 415, all of them `bad_request`.
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$name => $http,)* }
            }
        }
    };
}

codes! {
    BadRequest = "bad_request", Client, retry false, http 400:
        "The request cannot be read: a field, a parameter, the body. With status 405 the path does not take this method, with \
         408 the body came too slowly, with 415 it is compressed.",
        "Compare the request with `/openapi.json`; `detail` names the field.";
    Unauthorized = "unauthorized", Client, retry false, http 401:
        "No valid API key came with the request.",
        "Send `Authorization: Bearer <key>`.";
    NotFound = "not_found", Client, retry false, http 404:
        "There is no such path or job; jobs are forgotten when their time is over.",
        "Check the address or the id; submit the job again.";
    ObjectNotFound = "object_not_found", Client, retry false, http 404:
        "There is no such S3 object, or the service may not read it.",
        "Check bucket, key and permissions.";
    Cancelled = "cancelled", Client, retry false, http 409:
        "The job was cancelled.",
        "Nothing; submit it again if that was a mistake.";
    PayloadTooLarge = "payload_too_large", Client, retry false, http 413:
        "The body or the photo has too many bytes.",
        "Send a smaller photo, or an `s3://` or `https://` address of it.";
    ImageTooLarge = "image_too_large", Client, retry false, http 413:
        "The photo has too many pixels.",
        "Send at most 4000 pixels on the long side.";
    ImageFormat = "image_format", Client, retry false, http 415:
        "The photo is not JPEG, PNG, WebP, HEIC or AVIF.",
        "Convert it to an ordinary JPEG.";
    InvalidField = "invalid_field", Client, retry false, http 422:
        "A field can be read but its value cannot be: a pitch of 400, a field of view of 200 degrees.",
        "`detail` names the field and its range.";
    ImageUnreadable = "image_unreadable", Client, retry false, http 422:
        "The photo is damaged or cut off.",
        "Send the whole file.";
    ImageBlank = "image_blank", Client, retry false, http 422:
        "The photo is too dark or too uniform to see anything in.",
        "Take it again with more light and the lens uncovered.";
    UrlRefused = "url_refused", Client, retry false, http 422:
        "The service does not fetch from that address.",
        "Send an `https://` address on the public internet.";
    TiltTooLarge = "tilt_too_large", Client, retry false, http 422:
        "The camera looks over 75 degrees away from straight down, so the table is seen edge-on.",
        "Take the photo from above, tilted 20 to 45 degrees.";
    PitchInconsistent = "pitch_inconsistent", Client, retry false, http 422:
        "The plate and the depth contradict the stated pitch.",
        "Check how the app reads its sensor: 0 is straight down. Or leave the pitch out.";
    TableNotVisible = "table_not_visible", Client, retry false, http 422:
        "Too little of the table is seen around the food.",
        "Take the photo from farther away.";
    NoFood = "no_food", Client, retry false, http 422:
        "Nothing on the photo was recognised as food.",
        "Take the photo closer, or mark the food with a point in `hints`.";
    OtherMeal = "other_meal", Client, retry false, http 422:
        "A photo of a meal shows other food than the meal's other photos.",
        "Scan it by itself.";
    Implausible = "implausible", Client, retry false, http 422:
        "What was measured cannot be a meal: the view, the scale or the depth is wrong.",
        "Take the photo again, 20 to 45 degrees from above with the whole plate in view, and check what is sent of pitch and scale.";
    QueueFull = "queue_full", Service, retry true, http 429:
        "As many jobs wait as are allowed.",
        "Send it again after the seconds in `Retry-After`.";
    Internal = "internal", Service, retry false, http 500:
        "The service failed in an unforeseen way.",
        "Tell the operator the `request_id`.";
    DepthInvalid = "depth_invalid", Service, retry false, http 500:
        "The depth network gave values that cannot be.",
        "Tell the operator the `request_id`; another photo may work.";
    CheckpointInvalid = "checkpoint_invalid", Service, retry false, http 500:
        "A checkpoint file is damaged or of another model.",
        "The operator should run `dragunov doctor`.";
    ConfigInvalid = "config_invalid", Service, retry false, http 500:
        "The service is set up so that it cannot do this.",
        "The operator should run `dragunov doctor`.";
    NoModels = "no_models", Service, retry false, http 501:
        "This instance was started without models: it corrects results and looks foods up, and looks at no photo.",
        "Send photos to an instance that has models.";
    FetchFailed = "fetch_failed", Upstream, retry true, http 502:
        "The photo could not be fetched from its address.",
        "Check that the address works and send it again.";
    Storage = "storage", Upstream, retry true, http 502:
        "The bucket or the job store does not answer.",
        "Send it again in a while.";
    DeviceUnavailable = "device_unavailable", Service, retry true, http 503:
        "The device or the models are not ready.",
        "Send it again in a while; `/readyz` says when.";
    OutOfMemory = "out_of_memory", Service, retry true, http 503:
        "The device ran out of memory.",
        "Send it again, smaller if it happens again.";
    Draining = "draining", Service, retry true, http 503:
        "This instance is starting or shutting down.",
        "Send it again after the seconds in `Retry-After`: another instance will answer.";
    DeadlineExceeded = "deadline_exceeded", Service, retry true, http 504:
        "The job ran out of its allowed time.",
        "Send it again, or allow more time.";
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

    /// A photo over the byte limit; `size` may be a lower bound.
    pub fn photo_too_large(size: u64, cap: usize) -> Self {
        Self::new(
            ErrorCode::PayloadTooLarge,
            format!("the photo has {size} bytes or more; the limit is {cap}"),
        )
        .next_step("send a JPEG of at most 4000 pixels on its long side")
    }

    /// The error and what caused it, one a line: for logs and error objects.
    pub fn causes(&self) -> String {
        super::quote::causes(self)
    }

    #[must_use]
    pub fn next_step(mut self, text: impl Into<String>) -> Self {
        self.next_step = Some(text.into());
        self
    }

    /// The same error, telling which part of the request it is about.
    #[must_use]
    pub fn of(mut self, part: &str) -> Self {
        self.message = format!("{part}: {}", self.message);
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
        use dragunov_models::device::fault::Fault;
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
            | M::AmbiguousTensor { .. }
            | M::Tokenizer { .. } => ErrorCode::CheckpointInvalid,
            M::Image { .. } => ErrorCode::ImageUnreadable,
            M::Prompt(_) => ErrorCode::InvalidField,
            M::Precision { .. } => ErrorCode::ConfigInvalid,
            M::Device(_) => ErrorCode::DeviceUnavailable,
            M::Cancelled => ErrorCode::Cancelled,
            M::Compute(_) => match error.device_fault() {
                Some(Fault::OutOfMemory) => ErrorCode::OutOfMemory,
                Some(Fault::Lost) => ErrorCode::DeviceUnavailable,
                None => ErrorCode::Internal,
            },
        };
        Self::new(code, error.to_string()).source(error)
    }
}
