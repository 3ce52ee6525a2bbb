//! How buckets that come with their own keys are named: RunPod's `BUCKET_*` variables and a job's `s3Config`.

use std::time::SystemTime;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use crate::contract::{ErrorCode, ScanError};

/// How to reach a bucket; a job's `s3Config` in the platform's spelling.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct S3Keys {
    pub endpoint_url: String,
    /// Left out: a bucket of the current month.
    pub bucket_name: Option<String>,
    pub access_id: String,
    /// Written out only into the job store, whose file others cannot read.
    #[serde(serialize_with = "exposed")]
    pub access_secret: SecretString,
}

fn exposed<S: Serializer>(secret: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose_secret())
}

impl S3Keys {
    const MAX_BYTES: usize = 4096;
    const NEEDED: [&'static str; 3] = [
        "BUCKET_ENDPOINT_URL",
        "BUCKET_ACCESS_KEY_ID",
        "BUCKET_SECRET_ACCESS_KEY",
    ];

    /// A job's `s3Config`; none where it is missing or null.
    ///
    /// # Errors
    /// `bad_request`, repeating nothing of what was sent.
    pub fn of_job(given: Option<serde_json::Value>) -> Result<Option<Self>, ScanError> {
        let Some(value) = given.filter(|v| !v.is_null()) else {
            return Ok(None);
        };
        // A list would be read as the fields in their order.
        let object = value.is_object().then_some(value);
        let wrong = |why| ScanError::new(ErrorCode::BadRequest, why);
        let keys = object
            .and_then(|object| serde_json::from_value::<Self>(object).ok())
            .filter(|keys| keys.bucket_name.is_some())
            .ok_or_else(|| {
                wrong("s3Config needs endpointUrl, bucketName, accessId and accessSecret, each as text")
            })?;
        if keys.weight() > Self::MAX_BYTES {
            return Err(wrong("s3Config is over 4096 bytes"));
        }
        Ok(Some(keys))
    }

    /// Bytes of its texts.
    pub fn weight(&self) -> usize {
        self.endpoint_url.len()
            + self.bucket_name.as_ref().map_or(0, String::len)
            + self.access_id.len()
            + self.access_secret.expose_secret().len()
    }

    /// From RunPod's own variables `BUCKET_ENDPOINT_URL`, `BUCKET_ACCESS_KEY_ID`, `BUCKET_SECRET_ACCESS_KEY`, and
    /// ours, `BUCKET_NAME`, which may be left out as the official worker does. `None` where none of the four is set.
    ///
    /// # Errors
    /// `config_invalid` naming those that are missing.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ScanError> {
        let get = |name: &str| get(name).filter(|v| !v.trim().is_empty());
        let found = Self::NEEDED.map(get);
        let bucket_name = get("BUCKET_NAME");
        if found.iter().chain([&bucket_name]).all(|v| v.is_none()) {
            return Ok(None);
        }
        let missing: Vec<&str> = (Self::NEEDED.iter().zip(&found))
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| *name)
            .collect();
        let [Some(endpoint_url), Some(access_id), Some(secret)] = found else {
            let missing = missing.join(", ");
            return Err(ScanError::new(
                ErrorCode::ConfigInvalid,
                format!("a result bucket is half configured: {missing} not set"),
            )
            .next_step("set all three of BUCKET_ENDPOINT_URL, BUCKET_ACCESS_KEY_ID, BUCKET_SECRET_ACCESS_KEY, or none"));
        };
        Ok(Some(Self {
            endpoint_url,
            bucket_name,
            access_id,
            access_secret: secret.into(),
        }))
    }

    /// The bucket's name now.
    pub fn bucket(&self) -> String {
        self.bucket_name
            .clone()
            .unwrap_or_else(|| month(SystemTime::now()))
    }
}

/// `11-26` for November 2026 (UTC): what the official worker calls its bucket if it is told no name.
fn month(now: SystemTime) -> String {
    // 2026-11-29T...
    let text = humantime::format_rfc3339_seconds(now).to_string();
    match (text.get(5..7), text.get(2..4)) {
        (Some(month), Some(year)) => format!("{month}-{year}"),
        _ => "results".into(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn half_a_configuration_is_an_error() {
        let of = |names: &'static [&'static str]| {
            S3Keys::from_env(move |name| names.contains(&name).then(|| "https://x.example".to_owned()))
        };
        assert!(of(&[]).unwrap().is_none());
        assert!(of(&["BUCKET_NAME"]).is_err());
        let error = of(&["BUCKET_ENDPOINT_URL", "BUCKET_NAME"]).unwrap_err();
        assert_eq!(error.code, ErrorCode::ConfigInvalid);
        assert!(
            error
                .message
                .contains("BUCKET_ACCESS_KEY_ID, BUCKET_SECRET_ACCESS_KEY not set"),
            "{error}"
        );
    }

    #[test]
    fn the_official_three_variables_are_enough() {
        let keys = S3Keys::from_env(|name| S3Keys::NEEDED.contains(&name).then(|| "x".to_owned()));
        let keys = keys.unwrap().unwrap();
        assert_eq!(keys.bucket_name, None);
        let at = |s: u64| month(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(s));
        assert_eq!(at(1_796_000_000), "11-26");
        assert_eq!(at(1_798_761_600), "01-27");
    }
}
