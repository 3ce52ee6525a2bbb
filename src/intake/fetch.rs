//! Photos by URL, without letting the sender reach into our network.
//!
//! https only, port 443, no IP literal, names resolved by our own resolver that drops every non-public address (the
//! connection goes to the very addresses that were checked), each redirect checked anew, no proxy, a byte cap while
//! streaming, one deadline for all.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::contract::{ErrorCode, ScanError};

use super::too_large;

const MAX_REDIRECTS: usize = 3;

/// Looks names up; replaced in tests.
pub type Lookup =
    Arc<dyn Fn(String) -> futures::future::BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

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
            .dns_resolver(Arc::new(PublicOnly {
                lookup,
                allow_private,
            }))
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

    /// The body behind `url`, at most `cap` bytes.
    ///
    /// # Errors
    /// `url_refused`, `payload_too_large`, `object_not_found` (404, 410), `fetch_failed`.
    pub async fn get(&self, url: &str, cap: usize) -> Result<Vec<u8>, ScanError> {
        match tokio::time::timeout(self.timeout, self.follow(url, cap)).await {
            Ok(result) => result,
            Err(_) => Err(ScanError::new(
                ErrorCode::FetchFailed,
                format!("the photo did not arrive within {:?}", self.timeout),
            )),
        }
    }

    async fn follow(&self, url: &str, cap: usize) -> Result<Vec<u8>, ScanError> {
        let mut url = check_url(url, self.allow_private)?;
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
                url = check_url(next.as_str(), self.allow_private)?;
                continue;
            }
            return match status.as_u16() {
                200..=299 => body(response, cap).await,
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
        return Err(too_large(n, cap));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(from_reqwest)? {
        if bytes.len() + chunk.len() > cap {
            return Err(too_large((bytes.len() + chunk.len()) as u64, cap));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn refused(why: impl std::fmt::Display) -> ScanError {
    ScanError::new(ErrorCode::UrlRefused, format!("image.url is refused: {why}"))
}

/// Never repeats the URL: its query may be a signature.
fn from_reqwest(e: reqwest::Error) -> ScanError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&e);
    while let Some(c) = cause {
        if c.downcast_ref::<NotPublic>().is_some() {
            return refused("its host has no public address");
        }
        cause = c.source();
    }
    ScanError::new(ErrorCode::FetchFailed, "the photo could not be fetched").source(e.without_url())
}

/// The rules that a URL can be held to before any name is looked up.
///
/// # Errors
/// `url_refused`, saying which rule.
pub fn check_url(text: &str, allow_private: bool) -> Result<Url, ScanError> {
    let url = Url::parse(text).map_err(|e| refused("it is not a URL").source(e))?;
    if allow_private && matches!(url.scheme(), "http" | "https") {
        return Ok(url);
    }
    if url.scheme() != "https" {
        return Err(refused(format_args!(
            "its scheme is {:?}, only https is fetched",
            url.scheme()
        )));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(refused("it holds a user name or password"));
    }
    if url.port().is_some_and(|p| p != 443) {
        return Err(refused("only port 443 is fetched"));
    }
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            let local = ["localhost", "local", "internal", "home.arpa", "localdomain"]
                .iter()
                .any(|s| name == *s || name.ends_with(&format!(".{s}")));
            if local || !name.contains('.') {
                return Err(refused("its host is a local name"));
            }
        }
        // hyper connects to literals without asking the resolver, so they end here.
        Some(Host::Ipv4(_) | Host::Ipv6(_)) => return Err(refused("its host is an IP address, not a name")),
        None => return Err(refused("it has no host")),
    }
    Ok(url)
}

/// The name resolved, but to nothing public.
#[derive(Debug, thiserror::Error)]
#[error("{0} has no public address")]
struct NotPublic(String);

/// A resolver that knows public addresses only, unless told otherwise.
pub struct PublicOnly {
    lookup: Lookup,
    allow_private: bool,
}

impl PublicOnly {
    /// Over the system's name service, for every client that calls addresses which users give.
    pub fn system(allow_private: bool) -> Arc<Self> {
        Arc::new(Self {
            lookup: system_lookup(),
            allow_private,
        })
    }
}

impl std::fmt::Debug for PublicOnly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublicOnly")
            .field("allow_private", &self.allow_private)
            .finish_non_exhaustive()
    }
}

fn system_lookup() -> Lookup {
    Arc::new(|name| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 443)).await?;
            Ok(found.map(|a| a.ip()).collect())
        })
    })
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let name = name.as_str().to_owned();
        let (found, allow_private) = ((self.lookup)(name.clone()), self.allow_private);
        Box::pin(async move {
            let addresses: Vec<SocketAddr> = found
                .await?
                .into_iter()
                .filter(|ip| allow_private || is_public(*ip))
                .map(|ip| SocketAddr::new(ip, 0))
                .collect();
            if addresses.is_empty() {
                return Err(NotPublic(name).into());
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// Special-purpose IPv4 blocks (IANA registry, RFC 6890 and later).
const SPECIAL_V4: &[Ipv4Net] = &[
    v4(0, 0, 0, 0, 8),
    v4(10, 0, 0, 0, 8),
    v4(100, 64, 0, 0, 10),
    v4(127, 0, 0, 0, 8),
    v4(169, 254, 0, 0, 16),
    v4(172, 16, 0, 0, 12),
    v4(192, 0, 0, 0, 24),
    v4(192, 0, 2, 0, 24),
    v4(192, 88, 99, 0, 24),
    v4(192, 168, 0, 0, 16),
    v4(198, 18, 0, 0, 15),
    v4(198, 51, 100, 0, 24),
    v4(203, 0, 113, 0, 24),
    v4(224, 0, 0, 0, 3),
];

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(std::net::Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(std::net::Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, 0), prefix)
}

/// Blocks of 2000::/3 that are not ordinary hosts, or that carry an IPv4 address inside.
const SPECIAL_V6: &[Ipv6Net] = &[
    v6(0x2001, 0, 23),
    v6(0x2001, 0x0db8, 32),
    v6(0x2002, 0, 16),
    v6(0x3fff, 0, 20),
];

/// True for globally routable unicast addresses only.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(a) => !SPECIAL_V4.iter().any(|net| net.contains(&a)),
        IpAddr::V6(a) => v6(0x2000, 0, 3).contains(&a) && !SPECIAL_V6.iter().any(|net| net.contains(&a)),
    }
}
