//! Objects read with the service's own keys, from wherever the AWS tools find them.

use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectError;

use super::{Object, S3Uri};
use crate::contract::{ErrorCode, ScanError};

/// Where S3 is. Keys, regions and endpoints not given come from the environment (`AWS_*`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct S3Config {
    pub endpoint_url: Option<String>,
    /// `endpoint/bucket/key` rather than `bucket.endpoint/key`: for MinIO and test servers.
    pub force_path_style: bool,
    pub region: Option<String>,
    /// Buckets that may be read; none means any the credentials reach.
    pub buckets: Option<Vec<String>>,
}

/// Reads objects.
#[derive(Debug)]
pub struct ObjectReader {
    client: Client,
    buckets: Option<Vec<String>>,
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
    pub fn new(client: Client, buckets: Option<Vec<String>>) -> Self {
        Self { client, buckets }
    }

    /// The object, of at most `cap` bytes.
    ///
    /// # Errors
    /// `url_refused` for a bucket that is not listed, `object_not_found`, `payload_too_large`, `storage`.
    pub async fn get(&self, uri: &S3Uri, cap: usize) -> Result<Object, ScanError> {
        if self
            .buckets
            .as_ref()
            .is_some_and(|allowed| !allowed.contains(&uri.bucket))
        {
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
            return Err(ScanError::photo_too_large(n, cap));
        }
        let meta = (object.metadata().into_iter().flatten())
            .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
            .collect();
        let mut bytes = Vec::new();
        while let Some(chunk) = object.body.try_next().await.map_err(|e| {
            ScanError::new(ErrorCode::Storage, format!("{uri} broke off while it was read")).source(e)
        })? {
            if bytes.len() + chunk.len() > cap {
                let size = (bytes.len() + chunk.len()) as u64;
                return Err(ScanError::photo_too_large(size, cap));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Object { bytes, meta })
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
        "" if lacks_credentials(&e) => ScanError::new(
            ErrorCode::Storage,
            format!("this service has no S3 credentials, so {uri} cannot be read"),
        )
        .next_step(
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, give the machine a role, or send s3Config",
        )
        .source(e),
        "" => ScanError::new(ErrorCode::Storage, format!("S3 could not be reached for {uri}")).source(e),
        _ => ScanError::new(ErrorCode::Storage, format!("S3 refused {uri} ({code})")).source(e),
    }
}

/// The SDK found no keys to sign with. Its error for this has no type that can be named from here.
fn lacks_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(e) = cause {
        if e.to_string().to_ascii_lowercase().contains("credential") {
            return true;
        }
        cause = e.source();
    }
    false
}
