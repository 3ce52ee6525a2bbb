//! Photos, the vision service, and who may bring news of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{ConfigError, secret, wrong};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::objects::{Buckets, Objects};
use crate::queue::SqsQueue;
use crate::routes::Hooks;
use crate::scans::{PHOTO_BYTES, Places, Rules, Scans};
use crate::store::Db;
use crate::vision::{JobApi, Recompute, SageMaker, Services, Vision};

/// Who runs the vision service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum VisionKind {
    /// `dragunov serve`.
    Dragunov,
    /// An endpoint of RunPod's cloud.
    Runpod,
    /// SageMaker asynchronous inference.
    Sagemaker,
}

/// Without --vision-url, or --sagemaker-endpoint, there are no scans.
#[derive(Debug, Clone, Args)]
pub struct ScanArgs {
    #[arg(long, env = "BFF_VISION", value_enum, default_value = "dragunov")]
    pub vision: VisionKind,
    /// Address of the vision service's job API; for RunPod `https://api.runpod.ai/v2/<endpoint>`.
    #[arg(long, env = "BFF_VISION_URL")]
    pub vision_url: Option<Url>,
    /// Key of the vision service.
    #[arg(long, env = "BFF_VISION_KEY", hide_env_values = true, value_parser = secret)]
    pub vision_key: Option<SecretString>,
    /// Other services of the same kind, by the name of their model set: `large=https://...`.
    #[arg(long, env = "BFF_VISION_SETS", value_delimiter = ',', value_parser = named)]
    pub vision_sets: Vec<(String, Url)>,
    /// A `dragunov serve --no-models` that corrects results; the vision service itself unless told.
    #[arg(long, env = "BFF_RECOMPUTE_URL")]
    pub recompute_url: Option<Url>,
    /// Name of the SageMaker endpoint.
    #[arg(long, env = "BFF_SAGEMAKER_ENDPOINT")]
    pub sagemaker_endpoint: Option<String>,
    /// Key with which `dragunov serve` signs its webhooks.
    #[arg(long, env = "BFF_WEBHOOK_SECRET", hide_env_values = true, value_parser = secret)]
    pub webhook_secret: Option<SecretString>,
    /// Address of this service as the vision service reaches it.
    #[arg(long, env = "BFF_PUBLIC_URL")]
    pub public_url: Option<Url>,
    /// Bucket that phones upload to; give it a lifecycle of a day.
    #[arg(long, env = "BFF_UPLOAD_BUCKET")]
    pub upload_bucket: Option<String>,
    /// Bucket that keeps photos and pictures of meals; emptied of a user who is erased.
    #[arg(long, env = "BFF_BUCKET")]
    pub bucket: Option<String>,
    /// Bucket for copies of confirmed meals of users who allow it.
    #[arg(long, env = "BFF_TRAINING_BUCKET")]
    pub training_bucket: Option<String>,
    /// Address buckets by path, as servers other than AWS want it.
    #[arg(long, env = "BFF_S3_PATH_STYLE", default_value_t = false)]
    pub s3_path_style: bool,
    /// Token of who brings storage's events to /internal/storage-events.
    #[arg(long, env = "BFF_STORAGE_EVENTS_TOKEN", hide_env_values = true, value_parser = secret)]
    pub storage_events_token: Option<SecretString>,
    /// SQS queue that storage's events come to; the worker reads it.
    #[arg(long, env = "BFF_UPLOAD_QUEUE_URL")]
    pub upload_queue_url: Option<String>,
    /// Bytes of one photo.
    #[arg(long, env = "BFF_PHOTO_BYTES", default_value_t = PHOTO_BYTES)]
    pub photo_bytes: u64,
    /// Scans of one user that may be under way.
    #[arg(long, env = "BFF_SCANS_UNDER_WAY", default_value_t = 50)]
    pub scans_under_way: i64,
}

fn named(text: &str) -> Result<(String, Url), String> {
    let (name, url) = text.split_once('=').ok_or("write name=https://...")?;
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    if !(1..=50).contains(&name.len()) || !name.bytes().all(plain) {
        return Err("a set's name is 1 to 50 letters, digits, -, _ and .".into());
    }
    Ok((name.to_owned(), url.parse().map_err(|e| format!("{e}"))?))
}

impl ScanArgs {
    /// # Errors
    /// Something that scans need is missing.
    pub async fn open(
        &self,
        db: &Db,
        cache: &Arc<dyn Cache>,
        clock: &Clock,
    ) -> Result<Option<Arc<Scans>>, ConfigError> {
        if self.vision_url.is_none() && self.sagemaker_endpoint.is_none() {
            return Ok(None);
        }
        let missing = |what: &str, step: &'static str| wrong(format!("{what} is not set"), step);
        let uploads = self
            .upload_bucket
            .as_ref()
            .ok_or_else(|| missing("BFF_UPLOAD_BUCKET", "name the bucket that phones upload to"))?;
        let media = self
            .bucket
            .as_ref()
            .ok_or_else(|| missing("BFF_BUCKET", "name the bucket that keeps photos of meals"))?;
        let public = self.public_url.clone().ok_or_else(|| {
            missing(
                "BFF_PUBLIC_URL",
                "give the address at which the vision service reaches this one",
            )
        })?;
        let uploads = Objects::new(uploads, self.s3_path_style).await;
        let buckets = Buckets {
            media: uploads.of_bucket(media),
            training: self.training_bucket.as_ref().map(|b| uploads.of_bucket(b)),
            uploads,
        };
        Ok(Some(Arc::new(Scans {
            db: db.clone(),
            cache: cache.clone(),
            clock: clock.clone(),
            vision: self.services(&buckets.media).await?,
            buckets,
            public: with_slash(public),
            rules: Rules {
                photo_bytes: self.photo_bytes,
                under_way: self.scans_under_way,
                ..Rules::default()
            },
            collecting: Places::default(),
        })))
    }

    async fn services(&self, inputs: &Objects) -> Result<Services, ConfigError> {
        let usual = match (&self.vision_url, self.vision) {
            (Some(url), VisionKind::Dragunov | VisionKind::Runpod) => self.job_api(url)?,
            (None, VisionKind::Dragunov | VisionKind::Runpod) => {
                return Err(wrong(
                    "BFF_VISION_URL is not set",
                    "give the address of its job API",
                ));
            }
            (_, VisionKind::Sagemaker) => self.sagemaker(inputs).await?,
        };
        let others: Result<BTreeMap<_, _>, ConfigError> = self
            .vision_sets
            .iter()
            .map(|(name, url)| Ok((name.clone(), self.job_api(url)?)))
            .collect();
        Ok(Services::new(usual, others?))
    }

    fn job_api(&self, url: &Url) -> Result<Arc<dyn Vision>, ConfigError> {
        let direct = |base: Url| {
            let url = with_slash(base).join("v1/recompute");
            url.map(Recompute::Direct)
                .map_err(|_| wrong("an address of the vision service is none", "write https://host"))
        };
        let recompute = match (&self.recompute_url, self.vision) {
            (Some(base), _) => direct(base.clone())?,
            (None, VisionKind::Dragunov) => direct(url.clone())?,
            (None, _) => Recompute::Job,
        };
        let signs = self.vision == VisionKind::Dragunov;
        let secret = self.webhook_secret.clone().filter(|_| signs);
        let api = JobApi::new(url.clone(), self.vision_key.clone(), recompute, secret);
        Ok(Arc::new(api.map_err(no_client)?))
    }

    async fn sagemaker(&self, inputs: &Objects) -> Result<Arc<dyn Vision>, ConfigError> {
        let name = self.sagemaker_endpoint.clone().ok_or_else(|| {
            wrong(
                "BFF_SAGEMAKER_ENDPOINT is not set",
                "name the endpoint of asynchronous inference",
            )
        })?;
        let shared = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        let step = "set AWS_REGION and credentials as for the AWS tools";
        let region = shared
            .region()
            .ok_or_else(|| wrong("no AWS region is set", step))?
            .to_string();
        let keys = shared
            .credentials_provider()
            .ok_or_else(|| wrong("no AWS credentials are set", step))?;
        let base = match &self.vision_url {
            Some(url) => with_slash(url.clone()),
            None => format!("https://runtime.sagemaker.{region}.amazonaws.com/")
                .parse()
                .map_err(|_| wrong("the AWS region is none", step))?,
        };
        let recompute = match &self.recompute_url {
            Some(url) => Some(self.job_api(url)?),
            None => None,
        };
        let service = SageMaker::new(base, name, region, keys, inputs.clone(), recompute);
        Ok(Arc::new(service.map_err(no_client)?))
    }

    /// The effective configuration as text, with secrets as `***`.
    pub fn shown(&self) -> String {
        let url = |u: &Option<Url>| u.as_ref().map_or("(not set)", Url::as_str).to_owned();
        let text = |t: &Option<String>| t.clone().unwrap_or_else(|| "(not set)".into());
        let hidden = |s: &Option<SecretString>| if s.is_some() { "***" } else { "(not set)" };
        let sets: Vec<String> = (self.vision_sets.iter())
            .map(|(n, u)| format!("{n}={u}"))
            .collect();
        [
            format!("vision = {:?} at {}", self.vision, url(&self.vision_url)).to_lowercase(),
            format!("vision-key = {}", hidden(&self.vision_key)),
            format!("vision-sets = {}", sets.join(",")),
            format!("recompute-url = {}", url(&self.recompute_url)),
            format!("sagemaker-endpoint = {}", text(&self.sagemaker_endpoint)),
            format!("webhook-secret = {}", hidden(&self.webhook_secret)),
            format!("public-url = {}", url(&self.public_url)),
            format!(
                "buckets = uploads {}, kept {}, training {}",
                text(&self.upload_bucket),
                text(&self.bucket),
                text(&self.training_bucket)
            ),
            format!("storage-events-token = {}", hidden(&self.storage_events_token)),
            format!("upload-queue-url = {}", text(&self.upload_queue_url)),
            format!(
                "scans = {} bytes a photo, {} under way",
                self.photo_bytes, self.scans_under_way
            ),
        ]
        .join("\n")
    }

    /// Buckets that may hold something of users, with scans or without.
    pub async fn holding_users(&self) -> Vec<Objects> {
        let mut found = Vec::new();
        for bucket in [&self.upload_bucket, &self.bucket].into_iter().flatten() {
            found.push(Objects::new(bucket, self.s3_path_style).await);
        }
        found
    }

    /// # Errors
    /// A token that could be guessed.
    pub fn hooks(&self) -> Result<Hooks, ConfigError> {
        match &self.storage_events_token {
            Some(token) if token.expose_secret().len() < 32 => Err(wrong(
                "BFF_STORAGE_EVENTS_TOKEN is shorter than 32 characters",
                "openssl rand -hex 32",
            )),
            token => Ok(Hooks {
                storage_events: token.clone(),
            }),
        }
    }

    pub async fn upload_queue(&self) -> Option<SqsQueue> {
        let url = self.upload_queue_url.as_ref()?;
        let shared = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
        Some(SqsQueue::new(aws_sdk_sqs::Client::new(&shared), url))
    }
}

fn no_client(_: reqwest::Error) -> ConfigError {
    wrong("no HTTP client can be made", "look at the system's certificates")
}

/// So that paths are joined behind it, not instead of its last part.
fn with_slash(mut url: Url) -> Url {
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_plain_names() {
        let (name, url) = named("large=https://v/x").expect("a set");
        assert_eq!((name.as_str(), url.as_str()), ("large", "https://v/x"));
        for bad in ["", "large", "=https://v", "a b=https://v", "a=nowhere"] {
            assert!(named(bad).is_err(), "{bad}");
        }
    }
}
