//! What a job asks for, parsed once at the edge.

use serde_json::{Map, Value};

use crate::contract::depth_map::DepthMap;
use crate::contract::photos::MealPhoto;
use crate::contract::quote::{parsed, said};
use crate::contract::recompute::RecomputeRequest;
use crate::contract::request::ModelCall;
use crate::contract::vocabulary::vocabulary;
use crate::contract::{ErrorCode, ScanError, ScanRequest};

vocabulary! {
    /// One model alone.
    ModelTask {
        Segment = "segment": "Masks of Segment Anything.", "Read a `SegmentAnswer`.";
        Depth = "depth": "Depth of the whole photo.", "Read a `DepthAnswer`.";
        Identify = "identify": "What the vision-language model takes it for.", "Read an `IdentifyAnswer`.";
    }
}

/// A photo and which model to ask of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelRequest {
    pub task: ModelTask,
    pub call: ModelCall,
}

/// The `input` of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum JobInput {
    Scan(Box<ScanRequest>),
    Model(Box<ModelRequest>),
    /// Corrections of an earlier result; needs no photo and no model.
    Recompute(Box<RecomputeRequest>),
    /// A script for a test engine: `{"mock_return": ..., "mock_delay": ...}`.
    Mock(Value),
}

impl JobInput {
    /// Its photo has to be fetched from somewhere.
    pub fn is_remote(&self) -> bool {
        match self {
            Self::Scan(request) => {
                request.image.is_remote()
                    || request.depth.as_ref().is_some_and(DepthMap::is_remote)
                    || request.more.iter().any(MealPhoto::is_remote)
            }
            Self::Model(request) => request.call.image.is_remote(),
            Self::Recompute(request) => {
                request.looks_at_photo() && request.photo.as_deref().is_some_and(MealPhoto::is_remote)
            }
            Self::Mock(_) => false,
        }
    }

    /// Reads an `input`. Its optional key `task` picks `scan` (the default), `recompute` or one model.
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
            Some(Value::String(name)) if name == "recompute" => {
                return Ok(Self::Recompute(Box::new(from_fields(Value::Object(fields))?)));
            }
            Some(name) => Some(serde_json::from_value::<ModelTask>(name.clone()).map_err(|_| {
                bad(format!("unknown task {}", said(&name.to_string())))
                    .next_step("use scan, recompute, segment, depth or identify")
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
    /// `bad_request`, naming the field.
    pub fn model(task: ModelTask, fields: Map<String, Value>) -> Result<Self, ScanError> {
        let call = from_fields(Value::Object(fields))?;
        Ok(Self::Model(Box::new(ModelRequest { task, call })))
    }
}

fn from_fields<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, ScanError> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let why = parsed(e.inner());
        let path = e.path().to_string();
        // What is wrong with the whole has no path.
        let message = if path == "." {
            why
        } else {
            format!("{}: {why}", said(&path))
        };
        bad(message).next_step("compare with the fields of a scan in docs/api.md")
    })
}

fn bad(message: impl Into<String>) -> ScanError {
    ScanError::new(ErrorCode::BadRequest, message)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::contract::request::ImageSource;
    use serde_json::json;

    #[test]
    fn the_task_picks_the_model() {
        let image = json!({"base64": "AA=="});
        let scan = JobInput::parse(json!({"image": image, "pitch_deg": 30}), false).unwrap();
        assert!(matches!(&scan, JobInput::Scan(r) if r.pitch_deg == Some(30.0)));
        let depth =
            JobInput::parse(json!({"task": "depth", "image": image, "point": [3, 4]}), false).unwrap();
        assert!(
            matches!(&depth, JobInput::Model(r) if r.task == ModelTask::Depth && r.call.point == Some([3.0, 4.0]))
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
        assert!(matches!(depth, JobInput::Model(r) if r.call.image == ImageSource::Base64("/9j/".into())));
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
        says(
            json!({"task": "depth", "image": {"base64": "AA=="}, "policy": "hf"}),
            "policy",
        );
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
