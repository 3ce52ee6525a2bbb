//! Addresses that strangers may make this service call: photos by URL, buckets of jobs, webhooks.
//!
//! https only, port 443, no IP literal, and names resolved by our own resolver, which drops every address that is not
//! public: the connection goes to the very addresses that were checked.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::{Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::contract::quote::said;
use crate::contract::{ErrorCode, ScanError};

/// Looks names up; replaced in tests.
pub type Lookup =
    Arc<dyn Fn(String) -> futures::future::BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync>;

/// `url_refused`, naming the field that holds the address and never the address: its query may be a signature.
pub fn refused(field: &str, why: impl std::fmt::Display) -> ScanError {
    ScanError::new(ErrorCode::UrlRefused, format!("{field} is refused: {why}"))
}

/// The rules that a URL can be held to before any name is looked up.
///
/// # Errors
/// `url_refused`, saying which rule. `field` names what holds the address.
pub fn check_url(field: &str, text: &str, allow_private: bool) -> Result<Url, ScanError> {
    let refused = |why: &str| refused(field, why);
    let url = Url::parse(text).map_err(|e| refused("it is not a URL").source(e))?;
    if !url.has_host() {
        return Err(refused("it has no host"));
    }
    if allow_private && matches!(url.scheme(), "http" | "https") {
        return Ok(url);
    }
    if url.scheme() != "https" {
        return Err(refused(&format!(
            "its scheme is {:?}, only https is fetched",
            said(url.scheme())
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
            let labels_fit = name.split('.').all(|label| (1..=63).contains(&label.len()));
            if !labels_fit || name.len() > 253 {
                return Err(refused("its host is no name that can exist"));
            }
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

/// The first `most` bytes of an answer as text: nobody decides for us how much we read.
///
/// # Errors
/// If it broke off before.
pub(crate) async fn beginning(mut answer: reqwest::Response, most: usize) -> Result<String, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk[..chunk.len().min(most - bytes.len())]);
        if bytes.len() == most {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The name resolved, but to nothing public.
#[derive(Debug, thiserror::Error)]
#[error("{0} has no public address")]
struct NotPublic(String);

/// True where an error of the HTTP client came from [`PublicOnly`].
pub fn is_not_public(error: &reqwest::Error) -> bool {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(c) = cause {
        if c.downcast_ref::<NotPublic>().is_some() {
            return true;
        }
        cause = c.source();
    }
    false
}

/// A resolver that knows public addresses only, unless told otherwise.
pub struct PublicOnly {
    lookup: Lookup,
    allow_private: bool,
}

impl PublicOnly {
    /// Over the system's name service, for every client that calls addresses which users give.
    pub fn system(allow_private: bool) -> Arc<Self> {
        Self::with_lookup(system_lookup(), allow_private)
    }

    /// The same with another name service.
    pub fn with_lookup(lookup: Lookup, allow_private: bool) -> Arc<Self> {
        Arc::new(Self {
            lookup,
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

pub fn system_lookup() -> Lookup {
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
