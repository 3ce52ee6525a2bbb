//! Photos in S3, with the shot's user metadata.

use std::fmt;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;
use unicode_normalization::is_nfc;

use crate::contract::{ErrorCode, ScanError};

use super::gravity::SourceMeta;
use super::too_large;

/// Where S3 is. Keys, regions and endpoints not given come from the environment (`AWS_*`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3Config {
    pub endpoint_url: Option<String>,
    /// `endpoint/bucket/key` rather than `bucket.endpoint/key`: for MinIO and test servers.
    pub force_path_style: bool,
    pub region: Option<String>,
    /// Buckets that may be read; empty means any the credentials reach.
    pub buckets: Vec<String>,
}

/// `s3://bucket/key`, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Uri {
    bucket: String,
    key: String,
}

impl fmt::Display for S3Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s3://{}/{}", self.bucket, self.key)
    }
}

impl S3Uri {
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// Refuses what no server of ours writes: `..`, empty segments, a leading slash, backslashes, control
    /// characters, text that is not NFC, more than 512 bytes.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn parse(text: &str) -> Result<Self, ScanError> {
        let bad = |why: &str| {
            ScanError::new(ErrorCode::InvalidField, format!("image.s3: {why}"))
                .next_step("send s3://bucket/key with the key that the upload used")
        };
        let (bucket, key) = text
            .strip_prefix("s3://")
            .ok_or_else(|| bad("does not start with s3://"))?
            .split_once('/')
            .ok_or_else(|| bad("has no key"))?;
        let bucket_ok = (3..=63).contains(&bucket.len())
            && bucket
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'))
            && !bucket.contains("..");
        if !bucket_ok {
            return Err(bad("the bucket's name is not one that S3 allows"));
        }
        let why = if key.is_empty() {
            "has no key"
        } else if key.len() > 512 {
            "the key is over 512 bytes"
        } else if key.contains('\\') || key.chars().any(char::is_control) {
            "the key holds a backslash or control character"
        } else if key.split('/').any(|s| s.is_empty() || s == "." || s == "..") {
            "the key holds an empty, '.' or '..' segment"
        } else if !is_nfc(key) {
            "the key is not in Unicode normal form C"
        } else {
            return Ok(Self {
                bucket: bucket.into(),
                key: key.into(),
            });
        };
        Err(bad(why))
    }
}

/// Reads photos from S3.
#[derive(Debug)]
pub struct ObjectReader {
    client: Client,
    buckets: Vec<String>,
}

impl ObjectReader {
    /// A client on the SDK's own chain of credentials, with `config` on top.
    pub async fn connect(config: &S3Config) -> Self {
        let region =
            aws_config::meta::region::RegionProviderChain::first_try(config.region.clone().map(Region::new))
                .or_default_provider()
                .or_else("us-east-1");
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).region(region);
        if let Some(url) = &config.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        let shared = loader.load().await;
        let settings = aws_sdk_s3::config::Builder::from(&shared)
            .force_path_style(config.force_path_style)
            .build();
        Self::new(Client::from_conf(settings), config.buckets.clone())
    }

    /// Over a client made elsewhere. `buckets` as in [`S3Config`].
    pub fn new(client: Client, buckets: Vec<String>) -> Self {
        Self { client, buckets }
    }

    /// The object's bytes (at most `cap`) and its `x-amz-meta-pitch`, `-roll` and `-gravity`.
    ///
    /// # Errors
    /// `object_not_found`, `payload_too_large`, `invalid_field` for metadata that cannot be, `storage`.
    pub async fn get(&self, uri: &S3Uri, cap: usize) -> Result<(Vec<u8>, SourceMeta), ScanError> {
        if !self.buckets.is_empty() && !self.buckets.contains(&uri.bucket) {
            return Err(ScanError::new(
                ErrorCode::UrlRefused,
                format!("image.s3: bucket {:?} is not one this service reads", uri.bucket),
            ));
        }
        let mut object = self
            .client
            .get_object()
            .bucket(&uri.bucket)
            .key(&uri.key)
            .send()
            .await
            .map_err(|e| from_sdk(uri, e))?;
        if let Some(n) = object
            .content_length()
            .and_then(|n| u64::try_from(n).ok())
            .filter(|&n| n > cap as u64)
        {
            return Err(too_large(n, cap));
        }
        let meta = match object.metadata() {
            Some(map) => SourceMeta::from_pairs(map.iter().map(|(k, v)| (k.as_str(), v.as_str())))?,
            None => SourceMeta::default(),
        };
        let mut bytes = Vec::new();
        while let Some(chunk) = object.body.try_next().await.map_err(|e| {
            ScanError::new(ErrorCode::Storage, format!("{uri} broke off while it was read")).source(e)
        })? {
            if bytes.len() + chunk.len() > cap {
                return Err(too_large((bytes.len() + chunk.len()) as u64, cap));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((bytes, meta))
    }
}

fn from_sdk(uri: &S3Uri, e: SdkError<GetObjectError>) -> ScanError {
    let code = e.code().unwrap_or_default().to_owned();
    match code.as_str() {
        "NoSuchKey" | "NoSuchBucket" | "NotFound" => ScanError::new(
            ErrorCode::ObjectNotFound,
            format!("{uri} does not exist ({code})"),
        )
        .source(e),
        "AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" => ScanError::new(
            ErrorCode::Storage,
            format!("S3 does not let this service read {uri} ({code})"),
        )
        .next_step("give the service's role s3:GetObject on this bucket")
        .source(e),
        "" => ScanError::new(ErrorCode::Storage, format!("S3 could not be reached for {uri}")).source(e),
        _ => ScanError::new(ErrorCode::Storage, format!("S3 refused {uri} ({code})")).source(e),
    }
}
