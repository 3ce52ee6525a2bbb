//! SageMaker asynchronous inference: the input is an object, the answer becomes one, and there is nothing to ask in
//! between. A job's id is where its answer and its failure will be.

use std::time::{Duration, SystemTime};

use aws_sdk_s3::config::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use futures::future::BoxFuture;
use secrecy::SecretString;
use serde_json::Value;
use url::Url;

use super::job_api::word;
use super::{Job, JobState, Outcome, Vision, VisionError};
use crate::objects::{Objects, ObjectsError};

/// Bytes of an answer.
const ANSWER: u64 = 96 << 20;

/// One endpoint.
#[derive(Debug)]
pub struct SageMaker {
    http: reqwest::Client,
    /// `https://runtime.sagemaker.<region>.amazonaws.com`.
    base: Url,
    endpoint: String,
    region: String,
    credentials: SharedCredentialsProvider,
    /// Where inputs are put; the user's own part, so that an erasure finds them.
    inputs: Objects,
    /// Corrections need an answer at once: a `dragunov serve --no-models` or the like.
    recompute: Option<std::sync::Arc<dyn Vision>>,
}

fn away(why: &str) -> VisionError {
    VisionError::Away(why.to_owned())
}

impl From<ObjectsError> for VisionError {
    fn from(error: ObjectsError) -> Self {
        Self::Away(error.to_string())
    }
}

/// `s3://bucket/key` in two.
fn location(uri: &str) -> Option<(&str, &str)> {
    uri.strip_prefix("s3://")?
        .split_once('/')
        .filter(|(bucket, key)| !bucket.is_empty() && !key.is_empty())
}

impl SageMaker {
    /// # Errors
    /// No HTTP client can be made.
    pub fn new(
        base: Url,
        endpoint: String,
        region: String,
        credentials: SharedCredentialsProvider,
        inputs: Objects,
        recompute: Option<std::sync::Arc<dyn Vision>>,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(15))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            http,
            base,
            endpoint,
            region,
            credentials,
            inputs,
            recompute,
        })
    }

    async fn invoke(&self, job: &Job) -> Outcome<String> {
        let key = format!("{}{}/job.json", Objects::prefix(job.user), job.scan);
        self.inputs
            .put(&key, "application/json", job.input().to_string().into_bytes())
            .await?;
        let path = format!("endpoints/{}/async-invocations", self.endpoint);
        let url = self
            .base
            .join(&path)
            .map_err(|_| away("its address does not join"))?;
        let seconds = job.life.as_secs().clamp(60, 3600).to_string();
        let input = format!("s3://{}/{key}", self.inputs.bucket());
        let headers = [
            ("x-amzn-sagemaker-inputlocation", input.as_str()),
            ("x-amzn-sagemaker-content-type", "application/json"),
            ("x-amzn-sagemaker-invocationtimeoutseconds", &seconds),
            ("x-amzn-sagemaker-requestttlseconds", &seconds),
        ];
        let mut request = self.http.post(url.clone());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        for (name, value) in self.signed(&url, &headers).await? {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|_| away("no connection"))?;
        let status = response.status();
        let told = |name: &str| response.headers().get(name)?.to_str().ok().map(str::to_owned);
        let (out, failure) = (
            told("x-amzn-sagemaker-outputlocation"),
            told("x-amzn-sagemaker-failurelocation"),
        );
        if status != reqwest::StatusCode::ACCEPTED {
            return Err(away(&format!("HTTP {}", status.as_u16())));
        }
        let out = out
            .filter(|o| location(o).is_some())
            .ok_or_else(|| away("it named no output"))?;
        Ok(format!("{out} {}", failure.unwrap_or_default()))
    }

    async fn signed(&self, url: &Url, headers: &[(&str, &str)]) -> Outcome<Vec<(String, String)>> {
        let unsignable = |_| away("the request cannot be signed");
        let credentials = self
            .credentials
            .provide_credentials()
            .await
            .map_err(|_| away("no AWS credentials"))?;
        let identity = credentials.into();
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("sagemaker")
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()
            .map_err(|_| away("the request cannot be signed"))?
            .into();
        let headers = headers.iter().copied();
        let request = SignableRequest::new("POST", url.as_str(), headers, SignableBody::Bytes(&[]))
            .map_err(unsignable)?;
        let (instructions, _) = sign(request, &params).map_err(unsignable)?.into_parts();
        Ok(instructions
            .headers()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect())
    }

    async fn look(&self, job: &str) -> Outcome<JobState> {
        let (out, failure) = job.split_once(' ').unwrap_or((job, ""));
        let Some((bucket, key)) = location(out) else {
            return Ok(JobState::Unknown);
        };
        if let Some(bytes) = self.inputs.of_bucket(bucket).get(key, ANSWER).await? {
            return Ok(serde_json::from_slice(&bytes).map_or(
                JobState::Failed {
                    code: "vision_failed".into(),
                    again: true,
                },
                JobState::Done,
            ));
        }
        let Some((bucket, key)) = location(failure) else {
            return Ok(JobState::Runs);
        };
        let Some(bytes) = self.inputs.of_bucket(bucket).get(key, ANSWER).await? else {
            return Ok(JobState::Runs);
        };
        let problem: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        Ok(JobState::Failed {
            code: word(problem["code"].as_str().unwrap_or_default()),
            again: problem["retryable"].as_bool().unwrap_or(true),
        })
    }
}

impl Vision for SageMaker {
    fn submit<'a>(&'a self, job: &'a Job) -> BoxFuture<'a, Outcome<String>> {
        Box::pin(self.invoke(job))
    }

    fn state<'a>(&'a self, job: &'a str) -> BoxFuture<'a, Outcome<JobState>> {
        Box::pin(self.look(job))
    }

    /// SageMaker cannot; what comes of it is ignored.
    fn cancel<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Outcome<()>> {
        Box::pin(async { Ok(()) })
    }

    fn recompute<'a>(&'a self, original: &'a Value, edits: &'a Value) -> BoxFuture<'a, Outcome<Value>> {
        match &self.recompute {
            Some(service) => service.recompute(original, edits),
            None => Box::pin(async { Err(away("no service for corrections is configured")) }),
        }
    }

    fn webhook_secret(&self) -> Option<&SecretString> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::location;

    #[test]
    fn locations_are_bucket_and_key() {
        assert_eq!(location("s3://b/k/x.out"), Some(("b", "k/x.out")));
        for bad in ["", "s3://b", "s3:///k", "https://b/k", "s3://b/"] {
            assert_eq!(location(bad), None, "{bad}");
        }
    }
}
