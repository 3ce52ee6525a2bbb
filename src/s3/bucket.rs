//! Buckets of S3-compatible stores that come with their own keys: the operator's (RunPod's `BUCKET_*` variables) and
//! those of one job (`s3Config`).
//!
//! Requests are signed here and sent by our own HTTP client, so that an address which a job names is held to the same
//! rules as any address a user gives: https, public, no redirects. Keys and signed queries appear in no message.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::presigning::{PresignedRequest, PresigningConfig};
use secrecy::ExposeSecret;

use super::{Object, S3Keys};
use crate::contract::quote::said;
use crate::contract::{ErrorCode, ScanError};
use crate::egress::{PublicOnly, beginning, check_url};

/// A store's error is whole within this many bytes.
const MAX_ERROR: usize = 16 << 10;

/// The operator's bucket, and what buckets of jobs are made with.
#[derive(Debug, Clone)]
pub struct Buckets {
    own: Option<Bucket>,
    guarded: reqwest::Client,
    allow_private: bool,
}

impl Buckets {
    /// `allow_private`: jobs may name stores in private networks, by plain http.
    ///
    /// # Errors
    /// `config_invalid` for an endpoint that is no address, `internal` if the TLS set-up is unusable.
    pub fn new(own: Option<&S3Keys>, allow_private: bool) -> Result<Self, ScanError> {
        let guarded = client(|b| {
            b.https_only(!allow_private)
                .dns_resolver(PublicOnly::system(allow_private))
        })?;
        let own = own
            .map(|keys| {
                url::Url::parse(&keys.endpoint_url).map_err(|e| {
                    ScanError::new(ErrorCode::ConfigInvalid, "BUCKET_ENDPOINT_URL is not a URL").source(e)
                })?;
                Ok::<_, ScanError>(Bucket::new(keys, client(|b| b)?, false))
            })
            .transpose()?;
        Ok(Self {
            own,
            guarded,
            allow_private,
        })
    }

    /// The job's own bucket, else the operator's.
    ///
    /// # Errors
    /// `url_refused` for an endpoint that jobs may not name.
    pub fn of_job(&self, keys: Option<&S3Keys>) -> Result<Option<Bucket>, ScanError> {
        let Some(keys) = keys else {
            return Ok(self.own.clone());
        };
        check_url("s3Config.endpointUrl", &keys.endpoint_url, self.allow_private)
            .map_err(|e| e.next_step("name a public https endpoint on port 443"))?;
        Ok(Some(Bucket::new(keys, self.guarded.clone(), true)))
    }
}

fn client(
    turn: impl Fn(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, ScanError> {
    let builder = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(10))
        .user_agent(concat!("dragunov/", env!("CARGO_PKG_VERSION")));
    turn(builder)
        .build()
        .map_err(|e| ScanError::new(ErrorCode::Internal, "no usable TLS set-up for S3").source(e))
}

/// One bucket; cheap to clone.
#[derive(Clone)]
pub struct Bucket(Arc<Inner>);

struct Inner {
    /// Signs only; it opens no connection.
    signer: Client,
    http: reqwest::Client,
    keys: S3Keys,
    host: String,
    of_job: bool,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Bucket").field(&self.name()).finish()
    }
}

impl Bucket {
    /// Links to results live this long.
    const LINK: Duration = Duration::from_secs(7 * 86_400);
    /// Of one request to the store.
    const SIGNED_FOR: Duration = Duration::from_secs(300);
    const TIMEOUT: Duration = Duration::from_secs(60);
    const ATTEMPTS: u32 = 3;

    /// Path style, which every S3-compatible server speaks.
    fn new(keys: &S3Keys, http: reqwest::Client, of_job: bool) -> Self {
        let credentials = Credentials::new(
            &keys.access_id,
            keys.access_secret.expose_secret(),
            None,
            None,
            "bucket",
        );
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region_of(&keys.endpoint_url)))
            .credentials_provider(credentials)
            .endpoint_url(&keys.endpoint_url)
            .force_path_style(true)
            // A checksum of the empty body would be signed into the address.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .build();
        Self(Arc::new(Inner {
            signer: Client::from_conf(config),
            http,
            keys: keys.clone(),
            host: url::Url::parse(&keys.endpoint_url)
                .ok()
                .and_then(|url| Some(url.host_str()?.to_owned()))
                .unwrap_or_default(),
            of_job,
        }))
    }

    pub fn name(&self) -> String {
        self.0.keys.bucket()
    }

    /// Of the store's address.
    pub fn host(&self) -> &str {
        &self.0.host
    }

    /// It came with a job, which may read from it what it likes.
    pub fn is_of_job(&self) -> bool {
        self.0.of_job
    }

    /// Stores bytes under a key of the job's own; a link that whoever has it can read for seven days.
    ///
    /// # Errors
    /// `storage`.
    pub async fn put(
        &self,
        job: &str,
        ending: &str,
        kind: &str,
        bytes: Vec<u8>,
    ) -> Result<String, ScanError> {
        let bucket = self.name();
        let key = format!("{}/{:08x}.{ending}", safe(job), rand::random::<u32>());
        let bytes = bytes::Bytes::from(bytes);
        let mut failure = self.failed("cannot write", &key, "nothing was tried");
        for attempt in 0..Self::ATTEMPTS {
            if attempt > 0 {
                tokio::time::sleep(Duration::from_millis(300) * 4_u32.pow(attempt - 1)).await;
            }
            let signed = (self.0.signer.put_object())
                .bucket(&bucket)
                .key(&key)
                .content_type(kind)
                .presigned(signing(Self::SIGNED_FOR)?)
                .await
                .map_err(|e| self.failed("cannot sign for", &key, "").source(e))?;
            let request = self.request(reqwest::Method::PUT, &signed);
            match request.body(bytes.clone()).send().await {
                Ok(answer) if answer.status().is_success() => return self.link(&bucket, &key).await,
                Ok(answer) => {
                    let status = answer.status();
                    let why = beginning(answer, MAX_ERROR).await.unwrap_or_default();
                    failure = self.failed("cannot write", &key, &refusal(status, &why));
                    if !status.is_server_error() && status.as_u16() != 429 {
                        break;
                    }
                }
                Err(error) => {
                    failure = self
                        .failed("cannot write", &key, "no answer")
                        .source(error.without_url());
                }
            }
        }
        Err(failure)
    }

    /// The object, of at most `cap` bytes.
    ///
    /// # Errors
    /// `object_not_found`, `payload_too_large`, `storage`.
    pub async fn get(&self, key: &str, cap: usize) -> Result<Object, ScanError> {
        let signed = (self.0.signer.get_object())
            .bucket(self.name())
            .key(key)
            .presigned(signing(Self::SIGNED_FOR)?)
            .await
            .map_err(|e| self.failed("cannot sign for", key, "").source(e))?;
        let sent = self.request(reqwest::Method::GET, &signed).send().await;
        let mut answer = sent.map_err(|e| {
            self.failed("cannot read", key, "no answer")
                .source(e.without_url())
        })?;
        let status = answer.status();
        if !status.is_success() {
            let why = refusal(status, &beginning(answer, MAX_ERROR).await.unwrap_or_default());
            let mut error = self.failed("cannot read", key, &why);
            if status == reqwest::StatusCode::NOT_FOUND {
                error.code = ErrorCode::ObjectNotFound;
            }
            return Err(error);
        }
        let meta = super::user_metadata(answer.headers());
        if let Some(n) = answer.content_length().filter(|&n| n > cap as u64) {
            return Err(ScanError::photo_too_large(n, cap));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| {
            self.failed("cannot read", key, "it broke off")
                .source(e.without_url())
        })? {
            if bytes.len() + chunk.len() > cap {
                let size = (bytes.len() + chunk.len()) as u64;
                return Err(ScanError::photo_too_large(size, cap));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Object { bytes, meta })
    }

    async fn link(&self, bucket: &str, key: &str) -> Result<String, ScanError> {
        let signed = (self.0.signer.get_object())
            .bucket(bucket)
            .key(key)
            .presigned(signing(Self::LINK)?)
            .await
            .map_err(|e| self.failed("cannot sign a link to", key, "").source(e))?;
        Ok(signed.uri().to_owned())
    }

    fn request(&self, method: reqwest::Method, signed: &PresignedRequest) -> reqwest::RequestBuilder {
        let mut request = self.0.http.request(method, signed.uri()).timeout(Self::TIMEOUT);
        for (name, value) in signed.headers() {
            request = request.header(name, value);
        }
        request
    }

    fn failed(&self, what: &str, key: &str, why: &str) -> ScanError {
        let because = if why.is_empty() {
            String::new()
        } else {
            format!(": {why}")
        };
        ScanError::new(
            ErrorCode::Storage,
            format!("{what} s3://{}/{}{because}", self.name(), said(key)),
        )
    }
}

fn signing(time: Duration) -> Result<PresigningConfig, ScanError> {
    PresigningConfig::expires_in(time)
        .map_err(|e| ScanError::new(ErrorCode::Internal, "cannot sign for that long").source(e))
}

/// The store's own code, nothing else of its text: stores repeat the access key in it.
fn refusal(status: reqwest::StatusCode, body: &str) -> String {
    let code = body
        .split_once("<Code>")
        .and_then(|(_, rest)| rest.split_once("</Code>"))
        .map(|(code, _)| code)
        .filter(|code| code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric()));
    match code {
        Some(code) => format!("HTTP {} {code}", status.as_u16()),
        None => format!("HTTP {}", status.as_u16()),
    }
}

/// `.s3.<region>.` in the address, else the region every compatible server accepts.
fn region_of(endpoint: &str) -> String {
    endpoint
        .split_once("s3.")
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
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') {
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
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn regions_and_keys() {
        assert_eq!(region_of("https://b.s3.eu-west-1.amazonaws.com"), "eu-west-1");
        assert_eq!(region_of("https://s3.eu-west-1.amazonaws.com"), "eu-west-1");
        assert_eq!(region_of("http://127.0.0.1:9000"), "us-east-1");
        assert_eq!(safe("../a b"), "___a_b");
    }

    #[test]
    fn a_store_may_not_write_into_our_messages() {
        let body = "<Error><Code>SignatureDoesNotMatch</Code><AWSAccessKeyId>AKIA</AWSAccessKeyId></Error>";
        assert_eq!(
            refusal(reqwest::StatusCode::FORBIDDEN, body),
            "HTTP 403 SignatureDoesNotMatch"
        );
        assert_eq!(
            refusal(reqwest::StatusCode::FORBIDDEN, "<Code>a\nb</Code>"),
            "HTTP 403"
        );
    }

    #[test]
    fn jobs_may_not_name_addresses_of_this_network() {
        let buckets = Buckets::new(None, false).unwrap();
        let keys = |endpoint: &str| S3Keys {
            endpoint_url: endpoint.into(),
            bucket_name: Some("b".into()),
            access_id: "canary-id".into(),
            access_secret: "canary-secret".into(),
        };
        for bad in [
            "http://s3.example.com",
            "https://127.0.0.1",
            "https://169.254.169.254",
            "https://localhost",
            "https://minio.internal",
            "https://s3.example.com:9000",
        ] {
            let error = buckets.of_job(Some(&keys(bad))).unwrap_err();
            assert_eq!(error.code, ErrorCode::UrlRefused, "{bad}");
            assert!(
                error.message.starts_with("s3Config.endpointUrl is refused"),
                "{error}"
            );
        }
        let fine = keys("https://s3.eu-west-1.amazonaws.com");
        assert!(buckets.of_job(Some(&fine)).unwrap().is_some());
        assert!(!format!("{fine:?}").contains("canary-secret"));
    }
}
