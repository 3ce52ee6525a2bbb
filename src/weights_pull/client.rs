//! The hub's routes: `HEAD` and `GET {endpoint}/{repository}/resolve/{revision}/{file}`.

use std::time::Duration;

use dragunov_models::weights::is_commit;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_LENGTH, ETAG, HeaderMap, LOCATION, RANGE};
use reqwest::{Client, Method, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::PullError;

const REDIRECTS: usize = 10;

/// Addresses and patience.
#[derive(Debug, Clone)]
pub struct HubConfig {
    pub endpoint: String,
    /// Sent to the endpoint only, never to the servers that it redirects to.
    pub token: Option<SecretString>,
    pub offline: bool,
    /// Attempts without a single new byte before a file is given up.
    pub attempts: u32,
    /// First pause between attempts; doubles.
    pub pause: Duration,
    /// A connection that sends nothing for so long is broken.
    pub read_timeout: Duration,
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            endpoint: "https://huggingface.co".into(),
            token: None,
            offline: false,
            attempts: 5,
            pause: Duration::from_secs(1),
            read_timeout: Duration::from_secs(30),
        }
    }
}

impl HubConfig {
    /// `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE`.
    pub fn from_env() -> Self {
        let var = |name: &str| std::env::var(name).ok().filter(|v| !v.trim().is_empty());
        let defaults = Self::default();
        let on = |v: String| {
            matches!(
                v.trim().to_ascii_lowercase().as_str(),
                "1" | "true" | "yes" | "on"
            )
        };
        Self {
            endpoint: var("HF_ENDPOINT").unwrap_or(defaults.endpoint.clone()),
            token: var("HF_TOKEN").map(|t| t.trim().to_owned().into()),
            offline: var("HF_HUB_OFFLINE").is_some_and(on),
            ..defaults
        }
    }
}

/// A client of one endpoint.
#[derive(Debug)]
pub struct Hub {
    http: Client,
    endpoint: Url,
    config: HubConfig,
}

/// What the hub says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remote {
    pub(super) url: Url,
    pub(super) commit: String,
    pub(super) etag: String,
    pub(super) size: Option<u64>,
}

impl Remote {
    /// Large files are stored under their sha256, which is then the entity tag.
    pub(super) fn sha256(&self) -> Option<&str> {
        let hex = self.etag.len() == 64 && self.etag.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then_some(&self.etag)
    }
}

impl Hub {
    /// # Errors
    /// [`PullError::Endpoint`] for an address that is not http(s), or plain http to another machine with a token.
    pub fn new(config: HubConfig) -> Result<Self, PullError> {
        let bad = |reason: String| PullError::Endpoint(reason);
        let mut endpoint =
            Url::parse(&config.endpoint).map_err(|e| bad(format!("{:?}: {e}", config.endpoint)))?;
        let local = endpoint
            .host_str()
            .is_some_and(|h| matches!(h, "localhost" | "127.0.0.1" | "[::1]"));
        match endpoint.scheme() {
            "https" => {}
            "http" if local || config.token.is_none() => {}
            "http" => return Err(bad("a token is not sent over plain http".into())),
            other => return Err(bad(format!("scheme {other}"))),
        }
        if !endpoint.path().ends_with('/') {
            endpoint.set_path(&format!("{}/", endpoint.path()));
        }
        let http = Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .read_timeout(config.read_timeout)
            .user_agent(concat!("dragunov/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|e| bad(e.to_string()))?;
        Ok(Self {
            http,
            endpoint,
            config,
        })
    }

    pub fn offline(&self) -> bool {
        self.config.offline
    }

    pub(super) fn config(&self) -> &HubConfig {
        &self.config
    }

    /// Commit, entity tag and size of a file.
    pub(super) async fn look(
        &self,
        repository: &str,
        revision: &str,
        file: &str,
    ) -> Result<Remote, PullError> {
        let url = self
            .endpoint
            .join(&format!("{repository}/resolve/{revision}/{file}"))
            .map_err(|e| PullError::Endpoint(e.to_string()))?;
        let mut attempt = 0;
        let mut pause = self.config.pause;
        let (response, url) = loop {
            attempt += 1;
            let reason = match self.head(&url).await {
                Ok((response, _)) if response.status().is_server_error() || response.status() == 429 => {
                    format!("answered {}", response.status())
                }
                Ok(found) => break found,
                Err(PullError::Broken { reason, .. }) => reason,
                Err(e) => return Err(e),
            };
            if attempt >= self.config.attempts {
                let url = url.to_string();
                return Err(PullError::Broken {
                    url,
                    attempts: attempt,
                    reason,
                });
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        };
        check_status(&url, response.status())?;
        let headers = response.headers();
        let answer = |reason: &str| PullError::Answer {
            url: url.to_string(),
            reason: reason.to_owned(),
        };
        let commit = header(headers, "x-repo-commit").unwrap_or_default();
        if !is_commit(commit) {
            return Err(answer(
                "no X-Repo-Commit header; is this a Hugging Face endpoint?",
            ));
        }
        let etag = header(headers, "x-linked-etag").or_else(|| header(headers, ETAG.as_str()));
        let etag = etag
            .unwrap_or_default()
            .trim_start_matches("W/")
            .trim_matches('"');
        // It becomes a file name.
        if etag.is_empty()
            || etag.len() > 128
            || !etag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            return Err(answer("no usable entity tag"));
        }
        // Of a redirect, the length is that of the redirect.
        let length = if response.status().is_success() {
            header(headers, CONTENT_LENGTH.as_str())
        } else {
            None
        };
        let size = header(headers, "x-linked-size").or(length);
        Ok(Remote {
            commit: commit.to_owned(),
            etag: etag.to_owned(),
            size: size.and_then(|s| s.parse().ok()),
            url,
        })
    }

    /// Follows redirects within the endpoint (renamed repositories), not those to storage, whose headers are others.
    async fn head(&self, url: &Url) -> Result<(Response, Url), PullError> {
        let mut url = url.clone();
        for _ in 0..REDIRECTS {
            let response = self.send(Method::HEAD, &url, 0).await?;
            match next(&url, &response)? {
                Some(to)
                    if to.origin() == self.endpoint.origin()
                        && header(response.headers(), "x-linked-etag").is_none() =>
                {
                    url = to;
                }
                _ => return Ok((response, url)),
            }
        }
        Err(too_many(&url))
    }

    /// The file's bytes from `offset` on, through any redirects.
    pub(super) async fn get(&self, url: &Url, offset: u64) -> Result<Response, PullError> {
        let mut at = url.clone();
        for _ in 0..REDIRECTS {
            let response = self.send(Method::GET, &at, offset).await?;
            match next(&at, &response)? {
                Some(to) => at = to,
                None => return Ok(response),
            }
        }
        Err(too_many(url))
    }

    async fn send(&self, method: Method, url: &Url, offset: u64) -> Result<Response, PullError> {
        // Compressed answers would have other lengths and ranges.
        let mut request = self
            .http
            .request(method, url.clone())
            .header(ACCEPT_ENCODING, "identity");
        if offset > 0 {
            request = request.header(RANGE, format!("bytes={offset}-"));
        }
        if let Some(token) = &self.config.token
            && url.origin() == self.endpoint.origin()
        {
            request = request.bearer_auth(token.expose_secret());
        }
        // Addresses of storage carry signatures in their query: keep them out of messages.
        request.send().await.map_err(|e| PullError::Broken {
            url: plain(url),
            attempts: 1,
            reason: e.without_url().to_string(),
        })
    }
}

fn plain(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|v| v.to_str().ok())
}

/// Where a redirect leads, if the answer is one.
fn next(url: &Url, response: &Response) -> Result<Option<Url>, PullError> {
    if !response.status().is_redirection() {
        return Ok(None);
    }
    let answer = |reason: &str| PullError::Answer {
        url: plain(url),
        reason: reason.to_owned(),
    };
    let to = header(response.headers(), LOCATION.as_str()).and_then(|to| url.join(to).ok());
    match to {
        Some(to) if to.scheme() == "https" || to.scheme() == url.scheme() => Ok(Some(to)),
        Some(_) => Err(answer("redirects from https to an insecure address")),
        None => Err(answer("redirects to nowhere")),
    }
}

fn too_many(url: &Url) -> PullError {
    PullError::Answer {
        url: plain(url),
        reason: "redirects in a circle".into(),
    }
}

/// Turns a final refusal into an error; redirects and success pass.
pub(super) fn check_status(url: &Url, status: StatusCode) -> Result<(), PullError> {
    let url = plain(url);
    match status.as_u16() {
        200..=399 => Ok(()),
        401 | 403 => Err(PullError::Refused {
            url,
            status: status.as_u16(),
        }),
        404 | 410 => Err(PullError::NotFound { url }),
        other => Err(PullError::Answer {
            url,
            reason: format!("answered {other}"),
        }),
    }
}
