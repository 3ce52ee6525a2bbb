//! Photos by URL, without letting the sender reach into our network.
//!
//! The address is held to the rules of [`crate::egress`], each redirect anew; no proxy, a byte cap while streaming, one
//! deadline for all.

use std::time::Duration;

use crate::contract::{ErrorCode, ScanError};
use crate::egress::{Lookup, PublicOnly, check_url, is_not_public, system_lookup};
use crate::s3::{self, Object};

const MAX_REDIRECTS: usize = 3;
/// What holds the address.
const FIELD: &str = "image.url";

/// Fetches photos.
pub struct Fetcher {
    client: reqwest::Client,
    allow_private: bool,
    timeout: Duration,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher")
            .field("allow_private", &self.allow_private)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

impl Fetcher {
    /// `allow_private` lifts every address rule, for development only. `timeout` runs from the first name looked up
    /// to the last byte.
    ///
    /// # Errors
    /// `internal` if the TLS set-up of this machine is unusable.
    pub fn new(allow_private: bool, timeout: Duration) -> Result<Self, ScanError> {
        Self::with_lookup(allow_private, timeout, system_lookup())
    }

    /// The same with another name service.
    ///
    /// # Errors
    /// `internal` if the TLS set-up of this machine is unusable.
    pub fn with_lookup(allow_private: bool, timeout: Duration, lookup: Lookup) -> Result<Self, ScanError> {
        let client = reqwest::Client::builder()
            .https_only(!allow_private)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(timeout.min(Duration::from_secs(10)))
            .user_agent(concat!("dragunov/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(PublicOnly::with_lookup(lookup, allow_private))
            .build()
            .map_err(|e| {
                ScanError::new(
                    ErrorCode::Internal,
                    "photos cannot be fetched: no usable TLS set-up",
                )
                .source(e)
            })?;
        Ok(Self {
            client,
            allow_private,
            timeout,
        })
    }

    /// What is behind `url`, at most `cap` bytes; a presigned address of S3 tells its user metadata as well.
    ///
    /// # Errors
    /// `url_refused`, `payload_too_large`, `object_not_found` (404, 410), `fetch_failed`.
    pub async fn get(&self, url: &str, cap: usize) -> Result<Object, ScanError> {
        match tokio::time::timeout(self.timeout, self.follow(url, cap)).await {
            Ok(result) => result,
            Err(_) => Err(ScanError::new(
                ErrorCode::FetchFailed,
                format!("the photo did not arrive within {:?}", self.timeout),
            )),
        }
    }

    async fn follow(&self, url: &str, cap: usize) -> Result<Object, ScanError> {
        let mut url = check_url(FIELD, url, self.allow_private)?;
        for _ in 0..=MAX_REDIRECTS {
            let response = self.client.get(url.clone()).send().await.map_err(from_reqwest)?;
            let status = response.status();
            if status.is_redirection() {
                let next = response
                    .headers()
                    .get(reqwest::header::LOCATION)
                    .and_then(|v| v.to_str().ok())
                    .and_then(|v| url.join(v).ok())
                    .ok_or_else(|| refused("it redirects to nowhere"))?;
                url = check_url(FIELD, next.as_str(), self.allow_private)?;
                continue;
            }
            return match status.as_u16() {
                200..=299 => {
                    let meta = s3::user_metadata(response.headers());
                    let bytes = body(response, cap).await?;
                    Ok(Object { bytes, meta })
                }
                404 | 410 => Err(ScanError::new(
                    ErrorCode::ObjectNotFound,
                    format!("nothing is at image.url (HTTP {status})"),
                )),
                // The link itself is at fault: expired, forbidden.
                400..=499 if status.as_u16() != 429 => {
                    Err(refused(format_args!("its server answered HTTP {status}"))
                        .next_step("check that the link is public or its signature has not expired"))
                }
                _ => Err(ScanError::new(
                    ErrorCode::FetchFailed,
                    format!("the server of image.url answered HTTP {status}"),
                )),
            };
        }
        Err(refused(format_args!(
            "it redirects more than {MAX_REDIRECTS} times"
        )))
    }
}

async fn body(mut response: reqwest::Response, cap: usize) -> Result<Vec<u8>, ScanError> {
    if let Some(n) = response.content_length().filter(|&n| n > cap as u64) {
        return Err(ScanError::photo_too_large(n, cap));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(from_reqwest)? {
        if bytes.len() + chunk.len() > cap {
            return Err(ScanError::photo_too_large(
                (bytes.len() + chunk.len()) as u64,
                cap,
            ));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn refused(why: impl std::fmt::Display) -> ScanError {
    crate::egress::refused(FIELD, why)
}

/// Never repeats the URL: its query may be a signature.
fn from_reqwest(e: reqwest::Error) -> ScanError {
    if is_not_public(&e) {
        return refused("its host has no public address");
    }
    if e.is_builder() {
        return refused("it cannot be called").source(e.without_url());
    }
    ScanError::new(ErrorCode::FetchFailed, "the photo could not be fetched").source(e.without_url())
}
