//! What a job asks for, parsed once at the edge.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::contract::quote::{parsed, said};
use crate::contract::request::ImageSource;
use crate::contract::{ErrorCode, ScanError, ScanRequest};

/// One model alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelTask {
    Segment,
    Depth,
    Identify,
}

impl ModelTask {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Segment => "segment",
            Self::Depth => "depth",
            Self::Identify => "identify",
        }
    }
}

/// A photo and what to ask one model of it; `params` are that model's own (`box`, `point`, `prompt`, ...).
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    pub task: ModelTask,
    pub image: ImageSource,
    /// `options.stream`, as of a scan.
    pub stream: bool,
    pub params: Map<String, Value>,
}

/// What of a scan's options means something to one model.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ModelOptions {
    stream: bool,
}

/// The `input` of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobInput {
    Scan(Box<ScanRequest>),
    Model(Box<ModelRequest>),
    /// A script for a test engine: `{"mock_return": ..., "mock_delay": ...}`.
    Mock(Value),
}

impl JobInput {
    /// Its photo has to be fetched from somewhere.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Scan(request) => request.image.is_remote(),
            Self::Model(request) => request.image.is_remote(),
            Self::Mock(_) => false,
        }
    }

    /// Reads an `input`. Its optional key `task` picks `scan` (the default) or one model.
    ///
    /// # Errors
    /// `bad_request`, naming the field.
    pub fn parse(input: Value, takes_scripts: bool) -> Result<Self, ScanError> {
        let Value::Object(mut fields) = input else {
            return Err(
                bad("input must be a JSON object").next_step("send {\"image\": {...}, \"pitch_deg\": ...}")
            );
        };
        if takes_scripts && fields.keys().any(|k| k.starts_with("mock_")) {
            return Ok(Self::Mock(Value::Object(fields)));
        }
        let task = match fields.remove("task") {
            None => None,
            Some(Value::String(name)) if name == "scan" => None,
            Some(name) => Some(serde_json::from_value::<ModelTask>(name.clone()).map_err(|_| {
                bad(format!("unknown task {}", said(&name.to_string())))
                    .next_step("use scan, segment, depth or identify")
            })?),
        };
        match task {
            None => Ok(Self::Scan(Box::new(from_fields(Value::Object(fields))?))),
            Some(task) => Self::model(task, fields),
        }
    }

    /// The body of a one-model call.
    ///
    /// # Errors
    /// `bad_request` if there is no readable `image`.
    pub fn model(task: ModelTask, mut fields: Map<String, Value>) -> Result<Self, ScanError> {
        let image = fields
            .remove("image")
            .ok_or_else(|| bad("image is required").next_step("send {\"image\": {\"base64\": ...}}"))?;
        let options: ModelOptions = fields
            .remove("options")
            .map_or(Ok(ModelOptions::default()), from_fields)?;
        Ok(Self::Model(Box::new(ModelRequest {
            task,
            image: from_fields(image)?,
            stream: options.stream,
            params: fields,
        })))
    }
}

fn from_fields<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ScanError> {
    serde_json::from_value(value)
        .map_err(|e| bad(parsed(e)).next_step("compare with the fields of a scan in docs/api.md"))
}

fn bad(message: impl Into<String>) -> ScanError {
    ScanError::new(ErrorCode::BadRequest, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn the_task_picks_the_model() {
        let image = json!({"base64": "AA=="});
        let scan = JobInput::parse(json!({"image": image, "pitch_deg": 30}), false).unwrap();
        assert!(matches!(&scan, JobInput::Scan(r) if r.pitch_deg == Some(30.0)));
        let depth = JobInput::parse(json!({"task": "depth", "image": image, "policy": "hf"}), false).unwrap();
        assert!(
            matches!(&depth, JobInput::Model(r) if r.task == ModelTask::Depth && r.params["policy"] == "hf")
        );
    }

    #[test]
    fn a_bare_string_is_told_apart() {
        let of = |text: &str| match JobInput::parse(json!({ "image": text }), false) {
            Ok(JobInput::Scan(request)) => request.image,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(of("S3://b/k.jpg"), ImageSource::S3("s3://b/k.jpg".into()));
        assert_eq!(
            of(" https://h/p.jpg?sig=1 "),
            ImageSource::Url("https://h/p.jpg?sig=1".into())
        );
        assert_eq!(
            of("data:image/png;base64,AA=="),
            ImageSource::Base64("data:image/png;base64,AA==".into())
        );
        assert_eq!(of("/9j/4AAQ\nSkZJ"), ImageSource::Base64("/9j/4AAQ\nSkZJ".into()));
        for bad in ["", "photo.jpg", "ftp://h/p.jpg", "file:///etc/passwd"] {
            let e = JobInput::parse(json!({ "image": bad }), false).unwrap_err();
            assert!(e.message.contains("s3://bucket/key"), "{bad}: {e}");
        }
        let depth = JobInput::parse(json!({"task": "depth", "image": "/9j/"}), false).unwrap();
        assert!(matches!(depth, JobInput::Model(r) if r.image == ImageSource::Base64("/9j/".into())));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let says = |v: Value, word: &str| {
            let e = JobInput::parse(v, false).unwrap_err();
            assert_eq!(e.code, ErrorCode::BadRequest);
            assert!(e.message.contains(word), "{e} lacks {word}");
        };
        says(json!("text"), "object");
        says(json!({"task": "dream"}), "dream");
        says(json!({"task": "depth"}), "image");
        says(json!({"image": {"base64": "AA=="}, "pich_deg": 3}), "pich_deg");
        says(json!({"image": {"ftp": "x"}}), "ftp");
        // A script is only a script where the engine takes them.
        says(json!({"mock_return": 1}), "mock_return");
        assert!(matches!(
            JobInput::parse(json!({"mock_return": 1}), true),
            Ok(JobInput::Mock(_))
        ));
    }
}
