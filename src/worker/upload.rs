//! Results too large for a post, in an S3 bucket.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::presigning::PresigningConfig;

use crate::contract::{ErrorCode, ScanError};

/// RunPod's own variables: `BUCKET_ENDPOINT_URL`, `BUCKET_ACCESS_KEY_ID`, `BUCKET_SECRET_ACCESS_KEY`, and ours,
/// `BUCKET_NAME`.
#[derive(Debug, Clone)]
pub struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    /// The links live this long.
    const LINK: Duration = Duration::from_secs(7 * 86_400);

    /// `None` unless all four variables are set.
    pub fn from_env(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let get = |name: &str| get(name).filter(|v| !v.is_empty());
        Some(Self::new(
            &get("BUCKET_ENDPOINT_URL")?,
            &get("BUCKET_ACCESS_KEY_ID")?,
            &get("BUCKET_SECRET_ACCESS_KEY")?,
            &get("BUCKET_NAME")?,
        ))
    }

    /// Path style, which every S3-compatible server speaks.
    pub fn new(endpoint: &str, key_id: &str, secret: &str, name: &str) -> Self {
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region_of(endpoint)))
            .credentials_provider(Credentials::new(key_id, secret, None, None, "environment"))
            .endpoint_url(endpoint)
            .force_path_style(true)
            .build();
        Self {
            client: Client::from_conf(config),
            name: name.into(),
        }
    }

    /// Stores the bytes as `{job}/{8 hex}.json`; a link that anybody who has it can read for seven days.
    ///
    /// # Errors
    /// `storage`.
    pub async fn put_json(&self, job: &str, bytes: Vec<u8>) -> Result<String, ScanError> {
        let key = format!("{}/{:08x}.json", safe(job), rand::random::<u32>());
        let failed =
            |what: &str| ScanError::new(ErrorCode::Storage, format!("{what} s3://{}/{key}", self.name));
        self.client
            .put_object()
            .bucket(&self.name)
            .key(&key)
            .content_type("application/json")
            .body(bytes.into())
            .send()
            .await
            .map_err(|e| failed("cannot write").source(e))?;
        let link = PresigningConfig::expires_in(Self::LINK).map_err(|e| failed("cannot sign").source(e))?;
        let signed = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(&key)
            .presigned(link)
            .await
            .map_err(|e| failed("cannot sign").source(e))?;
        Ok(signed.uri().to_owned())
    }
}

/// `.s3.<region>.` in the address, else the region every compatible server accepts.
fn region_of(endpoint: &str) -> String {
    endpoint
        .split_once(".s3.")
        .and_then(|(_, rest)| rest.split('.').next())
        .filter(|region| region.contains('-'))
        .unwrap_or("us-east-1")
        .to_owned()
}

/// A job id as one segment of a key.
fn safe(id: &str) -> String {
    let kept: String = id
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || c == '-' || c == '_' {
                c
            } else {
                '_'
            }
        })
        .collect();
    if kept.is_empty() { "_".into() } else { kept }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_and_keys() {
        assert_eq!(region_of("https://b.s3.eu-west-1.amazonaws.com"), "eu-west-1");
        assert_eq!(region_of("http://127.0.0.1:9000"), "us-east-1");
        assert_eq!(safe("../a b"), "___a_b");
    }
}
