//! The job API: RunPod's cloud, and `dragunov serve`, which speaks the same.

use std::time::Duration;

use bytes::BytesMut;
use futures::future::BoxFuture;
use reqwest::{Client, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::{Job, JobState, Outcome, Vision, VisionError};

/// Bytes of an answer: pictures of a phone's photo as base64 are among them.
const ANSWER: usize = 96 << 20;
const TIMEOUT: Duration = Duration::from_secs(15);

/// Where results are corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recompute {
    /// `POST /v1/recompute` of a `dragunov serve`, which may be one with `--no-models`.
    Direct(Url),
    /// As a job, held until it is done.
    Job,
}

/// A service with `/run`, `/status`, `/cancel`.
#[derive(Debug)]
pub struct JobApi {
    http: Client,
    base: Url,
    key: Option<SecretString>,
    recompute: Recompute,
    webhook_secret: Option<SecretString>,
}

fn away(why: impl Into<String>) -> VisionError {
    VisionError::Away(why.into())
}

/// Not the address: it may hold a key.
fn transport(error: &reqwest::Error) -> VisionError {
    away(if error.is_timeout() {
        "no answer in time"
    } else if error.is_connect() {
        "no connection"
    } else {
        "the connection broke"
    })
}

/// At most [`ANSWER`] bytes of JSON.
async fn read(mut response: Response) -> Outcome<Value> {
    let mut body = BytesMut::new();
    while let Some(part) = response.chunk().await.map_err(|e| transport(&e))? {
        if body.len() + part.len() > ANSWER {
            return Err(away("its answer is too large"));
        }
        body.extend_from_slice(&part);
    }
    serde_json::from_slice(&body).map_err(|_| away("its answer is not JSON"))
}

/// A word that may be stored and shown: what a service calls its error is not ours to trust.
pub(super) fn word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    if (1..=50).contains(&text.len()) && text.bytes().all(plain) {
        text.to_owned()
    } else {
        "vision_failed".to_owned()
    }
}

impl JobApi {
    /// `base` is the address before `/run`, for RunPod's cloud `https://api.runpod.ai/v2/<endpoint>`.
    ///
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(
        mut base: Url,
        key: Option<SecretString>,
        recompute: Recompute,
        webhook_secret: Option<SecretString>,
    ) -> Result<Self, reqwest::Error> {
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        let http = Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(Duration::from_secs(3))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            http,
            base,
            key,
            recompute,
            webhook_secret,
        })
    }

    fn at(&self, path: &str) -> Outcome<Url> {
        self.base
            .join(path)
            .map_err(|_| away("its address does not join"))
    }

    /// An id goes into a path: only what ids look like.
    fn of_job(&self, what: &str, id: &str) -> Outcome<Url> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=200).contains(&id.len()) || !id.bytes().all(plain) {
            return Err(away("a job's id is not one"));
        }
        self.at(&format!("{what}/{id}"))
    }

    async fn call(&self, request: reqwest::RequestBuilder) -> Outcome<(StatusCode, Value)> {
        let request = match &self.key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        };
        let response = request.send().await.map_err(|e| transport(&e))?;
        let status = response.status();
        // What an overloaded proxy says is not always JSON.
        if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
            return Err(away(format!("HTTP {}", status.as_u16())));
        }
        Ok((status, read(response).await?))
    }

    async fn submit_job(&self, job: &Job) -> Outcome<String> {
        let life = u64::try_from(job.life.as_millis()).unwrap_or(u64::MAX);
        let body = json!({"input": job.input(), "webhook": job.webhook,
            "policy": {"executionTimeout": 600_000, "ttl": life}});
        let (status, answer) = self.call(self.http.post(self.at("run")?).json(&body)).await?;
        if !status.is_success() {
            return Err(refusal(status, &answer));
        }
        match answer["id"].as_str() {
            Some(id) => {
                self.of_job("status", id)?;
                Ok(id.to_owned())
            }
            None => Err(away("it named no job")),
        }
    }

    async fn recompute_now(&self, original: &Value, edits: &Value) -> Outcome<Value> {
        let body = json!({"original": original, "edits": edits});
        match &self.recompute {
            Recompute::Direct(url) => {
                let (status, answer) = self.call(self.http.post(url.clone()).json(&body)).await?;
                if status.is_success() {
                    Ok(answer)
                } else {
                    Err(refusal(status, &answer))
                }
            }
            Recompute::Job => {
                let mut input = body;
                input["task"] = json!("recompute");
                let run = self
                    .http
                    .post(self.at("runsync?wait=10000")?)
                    .json(&json!({"input": input}));
                let (status, answer) = self.call(run).await?;
                if !status.is_success() {
                    return Err(refusal(status, &answer));
                }
                match state_of(&answer) {
                    JobState::Done(result) => Ok(result),
                    JobState::Failed { code, again: false } => Err(VisionError::Refused {
                        code,
                        detail: String::new(),
                    }),
                    _ => Err(away("a correction took too long")),
                }
            }
        }
    }
}

/// Of a status below 500. Its `detail` is for logs of ours and never shown.
fn refusal(status: StatusCode, answer: &Value) -> VisionError {
    if matches!(status.as_u16(), 401 | 403 | 404 | 408) {
        // A wrong key or address is for the operator to repair; the scan waits for that.
        return away(format!("HTTP {}", status.as_u16()));
    }
    VisionError::Refused {
        code: word(answer["code"].as_str().unwrap_or_default()),
        detail: answer["detail"]
            .as_str()
            .unwrap_or_default()
            .chars()
            .take(300)
            .collect(),
    }
}

/// From the body of `/status`.
fn state_of(answer: &Value) -> JobState {
    match answer["status"].as_str().unwrap_or_default() {
        "COMPLETED" => JobState::Done(answer["output"].clone()),
        "IN_QUEUE" => JobState::Waits,
        "IN_PROGRESS" => JobState::Runs,
        "CANCELLED" => JobState::Failed {
            code: "cancelled".into(),
            again: true,
        },
        "TIMED_OUT" => JobState::Failed {
            code: "timed_out".into(),
            again: true,
        },
        "FAILED" => failed(&answer["error"]),
        _ => JobState::Unknown,
    }
}

/// `error` is JSON as text where the worker is ours, anything elsewhere.
fn failed(error: &Value) -> JobState {
    let inner: Value = error
        .as_str()
        .and_then(|t| serde_json::from_str(t).ok())
        .unwrap_or_else(|| error.clone());
    JobState::Failed {
        code: word(inner["error_type"].as_str().unwrap_or_default()),
        // What does not say so may be a worker that died.
        again: inner["retryable"].as_bool().unwrap_or(!inner.is_object()),
    }
}

impl Vision for JobApi {
    fn submit<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome<String>> {
        Box::pin(self.submit_job(job))
    }

    fn state<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Outcome<JobState>> {
        Box::pin(async move {
            let (status, answer) = self.call(self.http.get(self.of_job("status", job)?)).await?;
            match status {
                StatusCode::NOT_FOUND => Ok(JobState::Unknown),
                status if status.is_success() => Ok(state_of(&answer)),
                status => Err(away(format!("HTTP {}", status.as_u16()))),
            }
        })
    }

    fn cancel<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Outcome<()>> {
        Box::pin(async move {
            self.call(self.http.post(self.of_job("cancel", job)?)).await?;
            Ok(())
        })
    }

    fn recompute<'a>(&'a self, original: &'a Value, edits: &'a Value) -> BoxFuture<'a, Outcome<Value>> {
        Box::pin(self.recompute_now(original, edits))
    }

    fn webhook_secret(&self) -> Option<&SecretString> {
        self.webhook_secret.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_apart() {
        let error = |text: &str| state_of(&json!({"status": "FAILED", "error": text}));
        let ours = r#"{"error_type":"no_food","error_message":"x","fault":"client","retryable":false}"#;
        assert_eq!(
            error(ours),
            JobState::Failed {
                code: "no_food".into(),
                again: false
            }
        );
        assert_eq!(
            error("Traceback (most recent call last)"),
            JobState::Failed {
                code: "vision_failed".into(),
                again: true
            }
        );
        assert_eq!(
            state_of(&json!({"status": "IN_PROGRESS", "output": {"stage": "depth"}})),
            JobState::Runs
        );
        assert_eq!(
            state_of(&json!({"status": "COMPLETED", "output": 1})),
            JobState::Done(json!(1))
        );
        assert_eq!(state_of(&json!("?")), JobState::Unknown);
    }

    #[test]
    fn words_of_others_are_stored_only_if_they_are_words() {
        assert_eq!(word("no_food"), "no_food");
        for bad in ["", "No Food", "<b>", &"x".repeat(51)] {
            assert_eq!(word(bad), "vision_failed");
        }
    }

    #[test]
    fn ids_do_not_lead_elsewhere() {
        let base = "http://vision/v2/x".parse().expect("a URL");
        let api = JobApi::new(base, None, Recompute::Job, None).expect("a client");
        assert_eq!(
            api.of_job("status", "a-1").expect("good").as_str(),
            "http://vision/v2/x/status/a-1"
        );
        for bad in ["", "../run", "a/b", "a?b", "a%2fb", &"a".repeat(201)] {
            assert!(api.of_job("status", bad).is_err(), "{bad}");
        }
    }
}
