//! The vision service, whoever runs it: a job is submitted, asked after, cancelled; a result is corrected.
//!
//! Its answers come over the network and are checked before they are believed ([`crate::domain::result`]).

mod job_api;
mod sagemaker;
mod services;
pub mod signature;

pub use job_api::{JobApi, Recompute};
pub use sagemaker::SageMaker;
pub use services::Services;

use std::time::Duration;

use futures::future::BoxFuture;
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// One photo of a job.
#[derive(Debug, Clone)]
pub struct JobPhoto {
    /// Presigned; outlives the job.
    pub url: String,
    pub pitch_deg: Option<f64>,
}

/// A scan as the vision service is asked for it.
#[derive(Debug, Clone)]
pub struct Job {
    pub scan: Uuid,
    /// The user's part of the bucket, for services that read their input from there.
    pub user: Uuid,
    /// 1 to 6.
    pub photos: Vec<JobPhoto>,
    pub plate_diameter_cm: Option<f64>,
    /// Of the first photo.
    pub camera_height_cm: Option<f64>,
    /// In the person's words.
    pub note: Option<String>,
    /// Called when the job has ended.
    pub webhook: String,
    /// From submission to oblivion.
    pub life: Duration,
}

impl Job {
    /// `input` of the contract: one photo as `image`, several as `images`. Never the user's id.
    pub fn input(&self) -> Value {
        let mut input = Map::new();
        match self.photos.as_slice() {
            [one] => {
                input.insert("image".into(), json!({"url": one.url}));
                if let Some(pitch) = one.pitch_deg {
                    input.insert("pitch_deg".into(), json!(pitch));
                }
                if let Some(height) = self.camera_height_cm {
                    input.insert("camera".into(), json!({"height_cm": height}));
                }
            }
            several => {
                // What is said of a photo stands beside it; the height was told for the first.
                let images = several.iter().enumerate().map(|(n, photo)| {
                    let mut image = Map::new();
                    image.insert("image".into(), json!({"url": photo.url}));
                    if let Some(pitch) = photo.pitch_deg {
                        image.insert("pitch_deg".into(), json!(pitch));
                    }
                    if let Some(height) = self.camera_height_cm.filter(|_| n == 0) {
                        image.insert("camera".into(), json!({"height_cm": height}));
                    }
                    Value::Object(image)
                });
                input.insert("images".into(), images.collect());
            }
        }
        if let Some(note) = &self.note {
            input.insert("note".into(), json!(note));
        }
        if let Some(diameter) = self.plate_diameter_cm {
            input.insert(
                "reference".into(),
                json!({"kind": "plate", "diameter_cm": diameter}),
            );
        }
        input.insert("options".into(), json!({"overlay": true, "depth": true}));
        input.insert("scan_id".into(), json!(self.scan));
        Value::Object(input)
    }
}

/// How a job stands.
#[derive(Debug, Clone, PartialEq)]
pub enum JobState {
    Waits,
    Runs,
    Done(Value),
    /// `code` is the service's own word for it; `again` says that another try may succeed.
    Failed {
        code: String,
        again: bool,
    },
    /// The service does not know it (any more).
    Unknown,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VisionError {
    /// Down, overloaded, or not understood: try again after a while.
    #[error("the vision service does not answer: {0}")]
    Away(String),
    /// It will not do this, however often it is asked.
    #[error("the vision service refuses: {code}")]
    Refused { code: String, detail: String },
}

pub type Outcome<T> = Result<T, VisionError>;

/// One vision service.
pub trait Vision: Send + Sync + std::fmt::Debug {
    /// The job's id.
    fn submit<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome<String>>;
    fn state<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Outcome<JobState>>;
    /// As far as the service can; a job that has ended stays as it is.
    fn cancel<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Outcome<()>>;
    /// The original result with edits applied.
    fn recompute<'a>(&'a self, original: &'a Value, edits: &'a Value) -> BoxFuture<'a, Outcome<Value>>;
    /// Key of the signature that its webhooks carry; without one the address is all that speaks for a call.
    fn webhook_secret(&self) -> Option<&secrecy::SecretString>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_photo_and_several_are_asked_for_as_the_contract_says() {
        let photo = |n: u32, pitch_deg| JobPhoto {
            url: format!("https://s3/{n}"),
            pitch_deg,
        };
        let mut job = Job {
            scan: Uuid::nil(),
            user: Uuid::from_u128(7),
            photos: vec![photo(1, Some(35.0))],
            plate_diameter_cm: Some(26.0),
            camera_height_cm: None,
            note: None,
            webhook: "https://bff/hook".into(),
            life: Duration::from_secs(3600),
        };
        let id = Uuid::nil().to_string();
        let options = json!({"overlay": true, "depth": true});
        assert_eq!(
            job.input(),
            json!({"image": {"url": "https://s3/1"}, "pitch_deg": 35.0, "scan_id": id, "options": options,
                   "reference": {"kind": "plate", "diameter_cm": 26.0}})
        );
        job.photos.push(photo(2, None));
        job.plate_diameter_cm = None;
        job.camera_height_cm = Some(40.0);
        job.note = Some("half of it".into());
        assert_eq!(
            job.input(),
            json!({"images": [{"image": {"url": "https://s3/1"}, "pitch_deg": 35.0, "camera": {"height_cm": 40.0}},
                              {"image": {"url": "https://s3/2"}}],
                   "note": "half of it", "scan_id": id, "options": options})
        );
        assert!(!job.input().to_string().contains(&job.user.to_string()));
    }
}
