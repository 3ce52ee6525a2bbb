//! How a job ended, in the terms of the job API: an output, an error text, or both.

use serde_json::{Map, Value, json};

use crate::contract::ScanError;

/// Who says so; part of every error object.
#[derive(Debug, Clone)]
pub struct WorkerIdentity {
    pub worker_id: String,
    pub hostname: String,
    /// `rust-dragunov/<version>`
    pub version: String,
}

impl WorkerIdentity {
    pub fn new(worker_id: impl Into<String>) -> Self {
        Self {
            worker_id: worker_id.into(),
            hostname: "unknown".into(),
            version: version(),
        }
    }
}

/// What this software calls itself on the wire.
pub fn version() -> String {
    format!("rust-dragunov/{}", env!("CARGO_PKG_VERSION"))
}

/// The end of a job.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    pub output: Option<Value>,
    /// Always text: an error object would be shown as a success without output by the platform.
    pub error: Option<String>,
    /// The process wants to be replaced after this job.
    pub refresh: bool,
}

impl Outcome {
    /// Reads an engine's answer. `error` and `refresh_worker` are special at its top level only, and leave it.
    pub fn from_return(value: Value) -> Self {
        let Value::Object(mut fields) = value else {
            return Self {
                output: Some(value),
                ..Self::default()
            };
        };
        let error = fields.remove("error").filter(truthy).map(|e| match e {
            Value::String(text) => text,
            other => other.to_string(),
        });
        let refresh = fields.remove("refresh_worker").as_ref().is_some_and(truthy);
        Self {
            output: (!fields.is_empty()).then_some(Value::Object(fields)),
            error,
            refresh,
        }
    }

    pub fn from_error(error: &ScanError, who: &WorkerIdentity) -> Self {
        Self {
            error: Some(error_text(error, who)),
            ..Self::default()
        }
    }

    pub fn plain_error(text: impl Into<String>) -> Self {
        Self {
            error: Some(text.into()),
            ..Self::default()
        }
    }

    pub fn succeeded(&self) -> bool {
        self.error.is_none()
    }

    /// The body of the worker's final post.
    pub fn to_post(&self, recycle: bool) -> Value {
        let mut body = Map::new();
        if let Some(output) = &self.output {
            body.insert("output".into(), output.clone());
        }
        if let Some(error) = &self.error {
            body.insert("error".into(), Value::String(error.clone()));
        }
        if self.refresh || recycle {
            body.insert("stopPod".into(), Value::Bool(true));
        }
        Value::Object(body)
    }
}

/// A JSON object as text, with the six keys clients of the platform parse, and ours: `fault`, `retryable`, `next_step`.
pub fn error_text(error: &ScanError, who: &WorkerIdentity) -> String {
    json!({
        "error_type": error.code,
        "error_message": error.message,
        "error_traceback": error.causes(),
        "hostname": who.hostname,
        "worker_id": who.worker_id,
        "runpod_version": who.version,
        "fault": error.code.fault(),
        "retryable": error.code.retryable(),
        "next_step": error.next_step,
    })
    .to_string()
}

/// Python's idea of truth, which the protocol's special keys follow.
fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(s) => !s.is_empty(),
        Value::Array(a) => !a.is_empty(),
        Value::Object(o) => !o.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::contract::ErrorCode;

    /// The table of what a handler returns and what goes on the wire (observed of the official SDK), but for the
    /// error object, which becomes text.
    #[test]
    fn posts_follow_the_official_worker() {
        for (returned, posted) in [
            (json!("x"), json!({"output": "x"})),
            (json!(null), json!({"output": null})),
            (json!([1]), json!({"output": [1]})),
            (json!({"a": 1}), json!({"output": {"a": 1}})),
            (json!({}), json!({})),
            (json!({"error": "soft"}), json!({"error": "soft"})),
            (
                json!({"error": "soft", "extra": 1}),
                json!({"output": {"extra": 1}, "error": "soft"}),
            ),
            (json!({"error": {"code": 7}}), json!({"error": "{\"code\":7}"})),
            (json!({"error": "", "a": 1}), json!({"output": {"a": 1}})),
            (
                json!({"refresh_worker": true, "a": 1}),
                json!({"output": {"a": 1}, "stopPod": true}),
            ),
            (json!({"refresh_worker": true}), json!({"stopPod": true})),
            (json!({"output": 1}), json!({"output": {"output": 1}})),
        ] {
            assert_eq!(
                Outcome::from_return(returned.clone()).to_post(false),
                posted,
                "{returned}"
            );
        }
        assert_eq!(
            Outcome::from_return(json!(1)).to_post(true),
            json!({"output": 1, "stopPod": true})
        );
    }

    #[test]
    fn errors_are_text_that_holds_the_six_keys() {
        let error = ScanError::new(ErrorCode::OutOfMemory, "no room").source(std::io::Error::other("cuda 2"));
        let outcome = Outcome::from_error(&error, &WorkerIdentity::new("w"));
        let object: Value = serde_json::from_str(outcome.error.as_ref().unwrap()).unwrap();
        assert_eq!(object["error_type"], "out_of_memory");
        assert_eq!(object["error_traceback"], "no room\ncaused by: cuda 2");
        assert_eq!(object["worker_id"], "w");
        for key in ["error_message", "hostname", "runpod_version"] {
            assert!(object[key].is_string(), "{key}");
        }
    }

    #[test]
    fn nan_becomes_null() {
        assert_eq!(
            Outcome::from_return(json!({"a": f64::NAN}))
                .to_post(false)
                .to_string(),
            r#"{"output":{"a":null}}"#
        );
    }
}
