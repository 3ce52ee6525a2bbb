//! One question to the API: retries, and simpler answer formats where the server knows no better.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::{OpenAiConfig, wire};
use crate::contract::{ErrorCode, ScanError};

/// Longest answer that is read: forty boxes with all their fields are 20 kB.
const MAX_BODY_BYTES: usize = 1 << 20;
/// How much of an answer that could not be used is sent back with the reason.
const MAX_QUOTED_CHARS: usize = 2000;
const MAX_REASON_CHARS: usize = 300;

/// A client for the questions of one photo.
pub(super) struct Chat<'a> {
    config: &'a OpenAiConfig,
    /// Which answer format the server took last: an index into [`wire::FORMATS`].
    format: &'a AtomicU8,
    client: reqwest::Client,
}

impl<'a> Chat<'a> {
    /// `timeout`: of one request.
    ///
    /// # Errors
    /// `internal` if no client can be built.
    pub(super) fn new(
        config: &'a OpenAiConfig,
        format: &'a AtomicU8,
        timeout: Duration,
    ) -> Result<Self, ScanError> {
        let client = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout.min(Duration::from_secs(5)))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| {
                ScanError::new(ErrorCode::Internal, "the vision API's client cannot be built").source(e)
            })?;
        Ok(Self {
            config,
            format,
            client,
        })
    }

    /// The answer to the question that `body` puts in a format, as `parse` reads it; asked again where that may help, with
    /// what was wrong with the last answer.
    ///
    /// # Errors
    /// `fetch_failed` or `config_invalid`, after the last try.
    pub(super) async fn answer<T>(
        &self,
        body: impl Fn(u8) -> Value,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ScanError> {
        let wait = ExponentialBuilder::default()
            .with_min_delay(self.config.first_wait)
            .with_max_times(self.config.attempts.saturating_sub(1))
            .with_jitter();
        let unusable = Mutex::new(None);
        let answer = (|| self.ask(&body, &parse, &unusable))
            .retry(wait)
            .when(|e: &Refusal| e.again)
            .adjust(|e, planned| planned.map(|d| e.after.unwrap_or(d).max(d)))
            .await;
        answer.map_err(|e| e.error)
    }

    /// One answer, falling back to simpler formats within this try.
    async fn ask<T>(
        &self,
        body: &impl Fn(u8) -> Value,
        parse: &impl Fn(&str) -> Result<T, String>,
        unusable: &Mutex<Option<Unusable>>,
    ) -> Result<T, Refusal> {
        loop {
            let format = self.format.load(Ordering::Relaxed);
            let mut request = body(format);
            if let Some(last) = &*unusable.lock().unwrap_or_else(PoisonError::into_inner) {
                last.add_to(&mut request);
            }
            match self.post(&request).await {
                Err(e) if e.format_refused && usize::from(format) + 1 < wire::FORMATS.len() => {
                    self.format.store(format + 1, Ordering::Relaxed);
                }
                Err(e) => return Err(e),
                Ok(text) => {
                    return parse(&text).map_err(|why| {
                        let last = Unusable::new(&text, &why);
                        *unusable.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
                        Refusal::unusable(&why)
                    });
                }
            }
        }
    }

    /// The text of the first choice.
    async fn post(&self, body: &serde_json::Value) -> Result<String, Refusal> {
        let mut url = self.config.base_url.clone();
        url.set_path(&format!("{}/chat/completions", url.path().trim_end_matches('/')));
        let mut request = self.client.post(url).json(body);
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
        let text = match bounded(response).await.map_err(unreachable)? {
            Some(text) => text,
            None => return Err(Refusal::unusable(&format!("it is over {MAX_BODY_BYTES} bytes"))),
        };
        match status {
            200..=299 => wire::content(&text).map_err(|why| Refusal::unusable(&why)),
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

/// The body as text; `None` if it is longer than [`MAX_BODY_BYTES`], of which no more is kept.
async fn bounded(mut response: reqwest::Response) -> reqwest::Result<Option<String>> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(String::from_utf8_lossy(&body).into_owned()))
}

/// An answer that could not be used, and why.
#[derive(Debug)]
struct Unusable {
    said: String,
    why: String,
}

impl Unusable {
    fn new(said: &str, why: &str) -> Self {
        Self {
            said: said.chars().take(MAX_QUOTED_CHARS).collect(),
            why: why.chars().take(MAX_REASON_CHARS).collect(),
        }
    }

    /// Goes on with the talk: what the model said, and what was wrong with it.
    fn add_to(&self, request: &mut Value) {
        let Some(messages) = request["messages"].as_array_mut() else {
            return;
        };
        let again = format!(
            "That answer cannot be used: {}. Answer the question again with one JSON object of the form asked for and nothing else.",
            self.why
        );
        messages.push(json!({"role": "assistant", "content": self.said}));
        messages.push(json!({"role": "user", "content": again}));
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

    /// An answer came, but nothing can be made of it; asked again the model may do better.
    fn unusable(why: &str) -> Self {
        let why: String = why.chars().take(MAX_REASON_CHARS).collect();
        Self {
            again: true,
            ..Self::new(
                ErrorCode::FetchFailed,
                format!("the vision API's answer is not usable: {why}"),
            )
        }
    }

    fn caused(mut self, e: reqwest::Error) -> Self {
        self.error = self.error.source(e);
        self
    }
}
