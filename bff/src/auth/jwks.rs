//! A provider's published keys, kept and refetched.
//!
//! A key id that is not among them causes one fetch, however many requests bring it, and then none for a while: nobody
//! can make this service hammer the provider. Keys stay usable while the provider is away.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, PublicKeyUse};
use serde::Deserialize;
use tokio::sync::Mutex;
use url::Url;

use super::jws::Key;

/// How keys are fetched.
#[derive(Debug, Clone)]
pub struct JwksOptions {
    pub timeout: Duration,
    /// Between two fetches because of unknown key ids.
    pub unknown_pause: Duration,
    /// After a fetch that failed.
    pub failure_pause: Duration,
    /// Age at which keys are refetched if the provider says nothing.
    pub lifetime: Duration,
}

impl Default for JwksOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(3),
            unknown_pause: Duration::from_secs(60),
            failure_pause: Duration::from_secs(2),
            lifetime: Duration::from_secs(3600),
        }
    }
}

const BODY_LIMIT: usize = 256 << 10;
const KEYS_LIMIT: usize = 100;

pub(super) fn client(options: &JwksOptions) -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .timeout(options.timeout)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
}

type Keys = HashMap<String, Arc<Key>>;

#[derive(Debug, Default)]
struct Fetches {
    unknown: Option<Instant>,
    failed: Option<Instant>,
}

struct Known {
    keys: Keys,
    /// From here on they are refetched in passing.
    stale_at: Instant,
}

/// Keys of one provider.
pub struct Jwks {
    url: Url,
    client: reqwest::Client,
    options: JwksOptions,
    known: RwLock<Option<Known>>,
    /// Held by the one fetch.
    fetches: Mutex<Fetches>,
}

impl std::fmt::Debug for Jwks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jwks")
            .field("url", &self.url.as_str())
            .finish_non_exhaustive()
    }
}

/// What a key id came to.
#[derive(Debug)]
pub(super) enum Lookup {
    Key(Arc<Key>),
    Unknown,
    /// No key has ever been seen.
    Away,
}

impl Jwks {
    pub(super) fn new(url: Url, client: reqwest::Client, options: JwksOptions) -> Self {
        Self {
            url,
            client,
            options,
            known: RwLock::new(None),
            fetches: Mutex::new(Fetches::default()),
        }
    }

    pub(super) async fn warm_up(&self) {
        let mut fetches = self.fetches.lock().await;
        self.fetch(&mut fetches).await;
    }

    pub(super) async fn find(self: &Arc<Self>, kid: &str) -> Lookup {
        match self.known(kid) {
            (Some(key), stale) => {
                if stale {
                    self.refetch_in_passing();
                }
                Lookup::Key(key)
            }
            (None, _) => self.find_unknown(kid).await,
        }
    }

    /// Nobody waits for it: what is there stays good while the provider is slow or away.
    fn refetch_in_passing(self: &Arc<Self>) {
        let this = self.clone();
        tokio::spawn(async move {
            if let Ok(mut fetches) = this.fetches.try_lock()
                && this.is_stale()
                && !resting(fetches.failed, this.options.failure_pause)
            {
                this.fetch(&mut fetches).await;
            }
        });
    }

    async fn find_unknown(&self, kid: &str) -> Lookup {
        let mut fetches = self.fetches.lock().await;
        // The fetch that this one waited for may have brought it.
        if let (Some(key), _) = self.known(kid) {
            return Lookup::Key(key);
        }
        let never = self.is_empty();
        let resting = if never {
            resting(fetches.failed, self.options.failure_pause)
        } else {
            resting(fetches.unknown, self.options.unknown_pause)
        };
        if !resting {
            if !never {
                fetches.unknown = Some(Instant::now());
            }
            self.fetch(&mut fetches).await;
        }
        match self.known(kid) {
            (Some(key), _) => Lookup::Key(key),
            (None, _) if self.is_empty() => Lookup::Away,
            (None, _) => Lookup::Unknown,
        }
    }

    fn is_empty(&self) -> bool {
        self.known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }

    fn is_stale(&self) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.as_ref().is_some_and(|k| k.stale_at <= Instant::now())
    }

    /// The key, and whether the set is due for a refetch.
    fn known(&self, kid: &str) -> (Option<Arc<Key>>, bool) {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match known.as_ref() {
            Some(k) => (k.keys.get(kid).cloned(), k.stale_at <= Instant::now()),
            None => (None, false),
        }
    }

    async fn fetch(&self, fetches: &mut Fetches) {
        metrics::counter!("bff_jwks_fetches_total").increment(1);
        match self.download().await {
            Ok((keys, lifetime)) => {
                fetches.failed = None;
                let known = Known {
                    keys,
                    stale_at: Instant::now() + lifetime,
                };
                *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some(known);
            }
            Err(why) => {
                fetches.failed = Some(Instant::now());
                tracing::warn!(url = self.url.as_str(), "keys of the identity provider: {why}");
            }
        }
    }

    async fn download(&self) -> Result<(Keys, Duration), &'static str> {
        let mut response = self
            .client
            .get(self.url.clone())
            .send()
            .await
            .map_err(|_| "no answer")?;
        if !response.status().is_success() {
            return Err("no success");
        }
        let lifetime = response
            .headers()
            .get("cache-control")
            .and_then(|v| v.to_str().ok())
            .and_then(max_age)
            .unwrap_or(self.options.lifetime)
            .clamp(Duration::from_secs(60), Duration::from_secs(24 * 3600));
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|_| "broken off")? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err("too large");
            }
            body.extend_from_slice(&chunk);
        }
        let keys = parse(&body)?;
        if keys.is_empty() {
            Err("no usable key in it")
        } else {
            Ok((keys, lifetime))
        }
    }
}

fn resting(since: Option<Instant>, pause: Duration) -> bool {
    since.is_some_and(|t| t.elapsed() < pause)
}

fn max_age(header: &str) -> Option<Duration> {
    let directive = header
        .split(',')
        .map(str::trim)
        .find_map(|d| d.strip_prefix("max-age="))?;
    directive.parse().ok().map(Duration::from_secs)
}

/// RSA keys for signatures, by id. One broken key does not take the others along.
fn parse(body: &[u8]) -> Result<Keys, &'static str> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(body).map_err(|_| "not a key set")?;
    let mut keys = Keys::new();
    for value in set.keys.into_iter().take(KEYS_LIMIT) {
        let Ok(jwk) = serde_json::from_value::<Jwk>(value) else {
            continue;
        };
        let signing = matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature));
        let rs256 = matches!(jwk.common.key_algorithm, None | Some(KeyAlgorithm::RS256));
        let Some(kid) = jwk.common.key_id.clone().filter(|k| !k.is_empty()) else {
            continue;
        };
        if signing
            && rs256
            && let AlgorithmParameters::RSA(rsa) = &jwk.algorithm
            && let Some(key) = Key::of(&rsa.n, &rsa.e)
        {
            keys.insert(kid, Arc::new(key));
        }
    }
    Ok(keys)
}
