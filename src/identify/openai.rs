//! Naming regions through any OpenAI-compatible vision API (`POST {base}/chat/completions`).
//!
//! One request a crop, a few at a time. Servers differ: strict JSON schema is asked for first, then a plain JSON
//! object, then nothing but the prompt; the answer is parsed leniently and checked strictly.

mod wire;

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use dragunov_models::RgbImage;
use futures::StreamExt;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Identified, Identifier};
use crate::contract::{ErrorCode, ScanError};

/// Address and manners of the API.
#[derive(Debug, Clone)]
pub struct OpenAiConfig {
    /// Up to and including `/v1`.
    pub base_url: Url,
    pub key: Option<SecretString>,
    pub model: String,
    /// One request.
    pub request_timeout: Duration,
    /// All crops of one photo, retries included.
    pub total_timeout: Duration,
    /// Tries a crop, the first included.
    pub attempts: usize,
    /// First wait between tries; doubles.
    pub first_wait: Duration,
    /// Requests at the same time.
    pub parallel: usize,
    /// Longer side of a crop as sent, pixels.
    pub max_side: u32,
    /// Food names that the answer should come from where they fit.
    pub vocabulary: Vec<String>,
}

impl OpenAiConfig {
    /// # Errors
    /// `config_invalid` if `base_url` is not an http(s) URL.
    pub fn new(base_url: &str, key: Option<SecretString>, model: &str) -> Result<Self, ScanError> {
        let url = Url::parse(base_url)
            .ok()
            .filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host())
            .ok_or_else(|| {
                ScanError::new(
                    ErrorCode::ConfigInvalid,
                    "the vision API's address is not an http(s) URL",
                )
                .next_step("set DRAGUNOV_VLM_URL to its base, such as https://api.openai.com/v1")
            })?;
        Ok(Self {
            base_url: url,
            key,
            model: model.into(),
            request_timeout: Duration::from_secs(20),
            total_timeout: Duration::from_secs(60),
            attempts: 3,
            first_wait: Duration::from_millis(400),
            parallel: 4,
            max_side: 512,
            vocabulary: Vec::new(),
        })
    }

    /// From `DRAGUNOV_VLM_URL`, `DRAGUNOV_VLM_KEY` and `DRAGUNOV_VLM_MODEL` as `var` reads them; none without the
    /// first.
    ///
    /// # Errors
    /// `config_invalid`.
    pub fn from_vars(var: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, ScanError> {
        let Some(url) = var("DRAGUNOV_VLM_URL").filter(|v| !v.is_empty()) else {
            return Ok(None);
        };
        let key = var("DRAGUNOV_VLM_KEY")
            .filter(|v| !v.is_empty())
            .map(SecretString::from);
        let model = var("DRAGUNOV_VLM_MODEL").unwrap_or_else(|| "gpt-4o".into());
        Self::new(&url, key, &model).map(Some)
    }
}

/// Identifier over the API. Holds no connection between photos.
#[derive(Debug)]
pub struct OpenAi {
    config: OpenAiConfig,
    /// Which answer format the server took last: an index into [`wire::FORMATS`].
    format: AtomicU8,
}

impl OpenAi {
    pub fn new(config: OpenAiConfig) -> Self {
        Self {
            config,
            format: AtomicU8::new(0),
        }
    }

    async fn all(&self, crops: &[RgbImage]) -> Vec<Result<Identified, ScanError>> {
        let client = match self.client() {
            Ok(c) => c,
            Err(e) => {
                return crops
                    .iter()
                    .map(|_| Err(ScanError::new(e.code, e.message.clone())))
                    .collect();
            }
        };
        let deadline = tokio::time::Instant::now() + self.config.total_timeout;
        futures::stream::iter(crops)
            .map(|crop| {
                let client = &client;
                async move {
                    tokio::time::timeout_at(deadline, self.one(client, crop))
                        .await
                        .unwrap_or_else(|_| {
                            Err(ScanError::new(
                                ErrorCode::DeadlineExceeded,
                                format!(
                                    "the vision API did not name all regions within {:?}",
                                    self.config.total_timeout
                                ),
                            ))
                        })
                }
            })
            .buffered(self.config.parallel.max(1))
            .collect()
            .await
    }

    fn client(&self) -> Result<reqwest::Client, ScanError> {
        reqwest::Client::builder()
            .timeout(self.config.request_timeout)
            .connect_timeout(self.config.request_timeout.min(Duration::from_secs(5)))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| {
                ScanError::new(ErrorCode::Internal, "the vision API's client cannot be built").source(e)
            })
    }

    async fn one(&self, client: &reqwest::Client, crop: &RgbImage) -> Result<Identified, ScanError> {
        let picture = wire::data_url(crop, self.config.max_side)?;
        let wait = ExponentialBuilder::default()
            .with_min_delay(self.config.first_wait)
            .with_max_times(self.config.attempts.saturating_sub(1))
            .with_jitter();
        let answer = (|| self.ask(client, &picture))
            .retry(wait)
            .when(|e: &Refusal| e.again)
            .adjust(|e, planned| planned.map(|d| e.after.unwrap_or(d).max(d)))
            .await;
        answer.map_err(|e| e.error)
    }

    /// One answer, falling back to simpler formats within this try.
    async fn ask(&self, client: &reqwest::Client, picture: &str) -> Result<Identified, Refusal> {
        loop {
            let format = self.format.load(Ordering::Relaxed);
            let body = wire::request(&self.config.model, &self.config.vocabulary, picture, format);
            match self.post(client, &body).await {
                Err(e) if e.format_refused && usize::from(format) + 1 < wire::FORMATS.len() => {
                    self.format.store(format + 1, Ordering::Relaxed);
                }
                Err(e) => return Err(e),
                Ok(text) => {
                    return wire::parse(&text).map_err(|why| Refusal {
                        // Sampling may do better next time.
                        again: true,
                        ..Refusal::new(
                            ErrorCode::FetchFailed,
                            format!("the vision API's answer is not usable: {why}"),
                        )
                    });
                }
            }
        }
    }

    /// The text of the first choice.
    async fn post(&self, client: &reqwest::Client, body: &serde_json::Value) -> Result<String, Refusal> {
        let mut url = self.config.base_url.clone();
        url.set_path(&format!("{}/chat/completions", url.path().trim_end_matches('/')));
        let mut request = client.post(url).json(body);
        if let Some(key) = &self.config.key {
            request = request.bearer_auth(key.expose_secret());
        }
        let unreachable = |e: reqwest::Error| Refusal {
            again: true,
            ..Refusal::new(ErrorCode::FetchFailed, "the vision API does not answer").caused(e.without_url())
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status().as_u16();
        let after = response
            .headers()
            .get(reqwest::header::RETRY_AFTER)
            .and_then(|v| v.to_str().ok()?.parse().ok())
            .map(|s: u64| Duration::from_secs(s.min(30)));
        let text = response.text().await.map_err(unreachable)?;
        match status {
            200..=299 => wire::content(&text).map_err(|why| Refusal {
                again: true,
                ..Refusal::new(
                    ErrorCode::FetchFailed,
                    format!("the vision API's answer is not usable: {why}"),
                )
            }),
            401 | 403 => Err(Refusal::new(
                ErrorCode::ConfigInvalid,
                format!("the vision API refuses the key (HTTP {status})"),
            )),
            404 => Err(Refusal::new(
                ErrorCode::ConfigInvalid,
                format!(
                    "the vision API knows no model {:?} at this address (HTTP 404)",
                    self.config.model
                ),
            )),
            408 | 429 | 500..=599 => Err(Refusal {
                again: true,
                after,
                ..Refusal::new(
                    ErrorCode::FetchFailed,
                    format!("the vision API answers HTTP {status}"),
                )
            }),
            _ => Err(Refusal {
                format_refused: matches!(status, 400 | 422) && wire::blames_format(&text),
                ..Refusal::new(
                    ErrorCode::FetchFailed,
                    format!("the vision API refuses the request (HTTP {status})"),
                )
            }),
        }
    }
}

/// Why one request gave nothing, and what to do about it.
#[derive(Debug)]
struct Refusal {
    error: ScanError,
    again: bool,
    after: Option<Duration>,
    format_refused: bool,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error: ScanError::new(code, message),
            again: false,
            after: None,
            format_refused: false,
        }
    }

    fn caused(mut self, e: reqwest::Error) -> Self {
        self.error = self.error.source(e);
        self
    }
}

impl Identifier for OpenAi {
    fn name(&self) -> String {
        self.config.model.clone()
    }

    /// Blocks the caller; the requests run on a thread of their own, so this may be called from anywhere.
    fn identify(
        &mut self,
        crops: &[RgbImage],
        cancelled: &dyn Fn() -> bool,
    ) -> Vec<Result<Identified, ScanError>> {
        let failed = |code, message: &str| -> Vec<Result<Identified, ScanError>> {
            crops.iter().map(|_| Err(ScanError::new(code, message))).collect()
        };
        if crops.is_empty() || cancelled() {
            return failed(ErrorCode::Cancelled, "the scan was cancelled");
        }
        let this = &*self;
        let stop = CancellationToken::new();
        let (done, answers) = channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let done = done;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let found = runtime.ok().and_then(|rt| {
                    rt.block_on(async {
                        tokio::select! {
                            () = stop.cancelled() => None,
                            found = this.all(crops) => Some(found),
                        }
                    })
                });
                let _ = done.send(found);
            });
            loop {
                match answers.recv_timeout(Duration::from_millis(25)) {
                    Ok(Some(found)) => return found,
                    Ok(None) if stop.is_cancelled() => {
                        return failed(ErrorCode::Cancelled, "the scan was cancelled");
                    }
                    Ok(None) | Err(RecvTimeoutError::Disconnected) => {
                        return failed(ErrorCode::Internal, "the vision API's thread failed");
                    }
                    Err(RecvTimeoutError::Timeout) => {
                        if cancelled() {
                            stop.cancel();
                        }
                    }
                }
            }
        })
    }
}
