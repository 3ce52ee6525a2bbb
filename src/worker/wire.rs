//! Talking to the platform: headers, and posts that are tried until they arrive.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metrics::counter;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, RequestBuilder, Response};
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::timing::Backoff;
use super::{Timings, Urls, take};
use crate::telemetry::names;

/// The last word on a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinalPost {
    pub body: String,
    pub is_stream: bool,
}

/// How a post ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivered {
    Yes,
    /// The platform does not know the job any more.
    Gone,
    /// This body will never be taken.
    Rejected(u16),
    /// Tried for as long as allowed.
    GivenUp,
}

/// The client of all calls but the ping's.
#[derive(Debug, Clone)]
pub struct Wire {
    client: Client,
    pub urls: Urls,
    timings: Timings,
    /// Set once the worker drains.
    draining: CancellationToken,
}

impl Wire {
    /// # Errors
    /// If the TLS set-up is unusable.
    pub fn new(
        urls: Urls,
        key: Option<&SecretString>,
        timings: Timings,
        draining: CancellationToken,
    ) -> reqwest::Result<Self> {
        Ok(Self {
            client: client(key, timings.connect)?,
            urls,
            timings,
            draining,
        })
    }

    pub fn get(&self, url: &str) -> RequestBuilder {
        self.client
            .get(url)
            .header(CONTENT_TYPE, "application/json")
            .timeout(self.timings.poll)
    }

    /// One post. The body is JSON under the form content type, as the official worker sends it.
    pub async fn post_once(&self, url: &str, job: &str, body: String) -> reqwest::Result<Response> {
        self.client
            .post(url)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("charset", "utf-8")
            .header("x-request-id", header_text(job))
            .timeout(self.timings.post)
            .body(body)
            .send()
            .await
    }

    /// Posts until the platform has it, it refuses for good, or `limit` is over. Every try sends the same bytes. While
    /// the worker drains, tries are short and follow each other soon; its deadline is kept by whoever drains.
    pub async fn post(
        &self,
        what: &'static str,
        url: &str,
        job: &str,
        body: &str,
        limit: Duration,
    ) -> Delivered {
        let begun = Instant::now();
        let mut backoff = Backoff::new(self.timings.result_min, self.timings.result_max);
        let mut forbidden = 0;
        loop {
            let mut pause = None;
            let sent = tokio::select! {
                sent = self.post_once(url, job, body.to_owned()) => Some(sent),
                () = self.drained_for(self.timings.drain_post) => None,
            };
            let failure = match sent {
                Some(Ok(response)) => {
                    let status = response.status().as_u16();
                    match status {
                        200..=299 => {
                            counter!(names::WORKER_POSTS, "kind" => what, "result" => "sent").increment(1);
                            return Delivered::Yes;
                        }
                        404 => {
                            tracing::info!(job, "{what}: the platform no longer knows this job");
                            return Delivered::Gone;
                        }
                        // A key may be rotating.
                        401 | 403 if forbidden == 4 => return self.lost(what, job, "HTTP 401/403"),
                        401 | 403 => forbidden += 1,
                        408 | 425 | 429 | 500.. => {
                            pause = response
                                .headers()
                                .get("retry-after")
                                .and_then(|v| v.to_str().ok())
                                .and_then(take::seconds);
                        }
                        refused => return Delivered::Rejected(refused),
                    }
                    format!("HTTP {status}")
                }
                Some(Err(error)) => error.without_url().to_string(),
                None => "no answer".into(),
            };
            let wait = pause.unwrap_or_default().max(backoff.wait());
            if begun.elapsed() + wait > limit {
                return self.lost(what, job, &failure);
            }
            tracing::warn!(
                job,
                retry_in_ms = wait.as_millis() as u64,
                "{what} not delivered: {failure}"
            );
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.drained_for(self.timings.result_min) => {}
            }
        }
    }

    /// Resolves when the worker has been draining for so long since it was asked; never while it works.
    pub(super) async fn drained_for(&self, time: Duration) {
        self.draining.cancelled().await;
        tokio::time::sleep(time).await;
    }

    fn lost(&self, what: &'static str, job: &str, failure: &str) -> Delivered {
        counter!(names::WORKER_POSTS, "kind" => what, "result" => "lost").increment(1);
        tracing::error!(job, "Failed to return job results. | {what}: {failure}");
        Delivered::GivenUp
    }

    /// The final post. A body that is refused for good is replaced, once, by a short error: otherwise the platform
    /// would show a success without output.
    pub async fn finish(&self, job: &str, post: &Arc<FinalPost>) -> Delivered {
        let Some(url) = self.urls.done(job, post.is_stream) else {
            return self.lost("result", job, "RUNPOD_WEBHOOK_POST_OUTPUT is not set");
        };
        let limit = self.timings.result_for;
        match self.post("result", &url, job, &post.body, limit).await {
            Delivered::Rejected(status) => {
                let bytes = post.body.len();
                tracing::error!(
                    job,
                    status,
                    bytes,
                    "the platform refused the result; reporting that instead"
                );
                let text = format!("result rejected: HTTP {status}, {bytes} bytes");
                let body = json!({ "error": text }).to_string();
                match self.post("refusal", &url, job, &body, limit).await {
                    Delivered::Yes => Delivered::Rejected(status),
                    other => other,
                }
            }
            other => other,
        }
    }
}

/// Headers of every call. The key goes raw, without `Bearer`. Redirects stay on the same host.
pub(super) fn client(key: Option<&SecretString>, connect: Duration) -> reqwest::Result<Client> {
    let mut headers = HeaderMap::new();
    if let Some(mut value) = key.and_then(|k| HeaderValue::from_str(k.expose_secret()).ok()) {
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    headers.insert(HeaderName::from_static("accept"), HeaderValue::from_static("*/*"));
    let same_host = reqwest::redirect::Policy::custom(|attempt| {
        let first = attempt
            .previous()
            .first()
            .and_then(|u| u.host_str().map(str::to_owned));
        if attempt.previous().len() > 5 {
            attempt.error("too many redirects")
        } else if first.as_deref() == attempt.url().host_str() {
            attempt.follow()
        } else {
            attempt.stop()
        }
    });
    Client::builder()
        .default_headers(headers)
        .user_agent(crate::runpod::version())
        .connect_timeout(connect)
        .tcp_keepalive(Duration::from_secs(15))
        .tcp_nodelay(true)
        .pool_idle_timeout(Duration::from_secs(30))
        .redirect(same_host)
        .build()
}

/// Job ids are opaque; only what a header can hold is sent in one.
fn header_text(id: &str) -> HeaderValue {
    HeaderValue::from_str(id).unwrap_or_else(|_| HeaderValue::from_static("unprintable"))
}
