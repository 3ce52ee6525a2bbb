//! What the service was asked to do: flags and environment, read once by clap, checked once here.
//!
//! A section is a group of flags. `check()` of a section names the flag that is wrong; nothing is read from the
//! environment later.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use axum::http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use crate::contract::quote::said;
use crate::contract::{ErrorCode, ScanError};
use crate::http::{AppOptions, ConnectionLimits, Guard, ServeOptions};
use crate::jobs::Limits;
use crate::jobs::webhook::WebhookOptions;
use crate::runtime::DeviceOptions;
use crate::telemetry::logs::LogFormat;

fn wrong(flag: &str, why: impl std::fmt::Display) -> ScanError {
    ScanError::new(ErrorCode::ConfigInvalid, format!("{flag}: {why}"))
}

/// The log.
#[derive(Debug, Clone, clap::Args)]
pub struct LogArgs {
    /// Level, or a list such as `info,dragunov=debug`.
    #[arg(long, env = "DRAGUNOV_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
    /// Text for people, JSON for collectors; JSON if stderr is not a terminal.
    #[arg(long, env = "DRAGUNOV_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

impl LogArgs {
    pub fn format(&self) -> LogFormat {
        use std::io::IsTerminal;
        self.log_format.unwrap_or(if std::io::stderr().is_terminal() {
            LogFormat::Text
        } else {
            LogFormat::Json
        })
    }
}

/// The queue in front of the device.
#[derive(Debug, Clone, clap::Args)]
pub struct QueueArgs {
    /// Direct calls and fetched jobs that may wait for the device; the next caller is told 429. A short queue refuses
    /// early, a long one makes everybody wait.
    #[arg(long, env = "DRAGUNOV_QUEUE", default_value_t = 64, value_name = "JOBS")]
    pub queue: usize,
    /// Photos fetched and decoded ahead of the device; each may hold up to 150 MB of pixels.
    #[arg(long, env = "DRAGUNOV_PHOTOS_AHEAD", default_value_t = 4, value_name = "N")]
    pub ahead: usize,
    /// Memory for photos that are decoded or wait for the device, MiB; a photo of 12 megapixels takes 110 while it is
    /// decoded and 36 after it.
    #[arg(long, env = "DRAGUNOV_PHOTO_MEMORY_MIB", default_value_t = 512, value_name = "MIB",
        value_parser = clap::value_parser!(u64).range(64..=1 << 20))]
    pub photo_memory_mib: u64,
    /// Waiting scans whose encoders run as one batch, which needs as much more memory; a GPU with small models gains by
    /// it. Raises --photos-ahead to as many. 1: each scan alone.
    #[arg(long, env = "DRAGUNOV_BATCH", default_value_t = 1, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=32))]
    pub batch: usize,
    /// Be ready as soon as the models are loaded, without a first run: the first user waits instead.
    #[arg(long, env = "DRAGUNOV_NO_WARM_UP")]
    pub no_warm_up: bool,
}

impl QueueArgs {
    pub fn device(&self) -> DeviceOptions {
        DeviceOptions {
            queue: self.queue,
            warm_up: !self.no_warm_up,
            batch: self.batch,
        }
    }

    /// Photos prepared ahead of the device: a batch of them must be able to wait.
    pub fn photos_ahead(&self) -> usize {
        self.ahead.max(self.batch)
    }

    /// Jobs in hand at a time: one batch runs, the next one's photos are fetched meanwhile.
    pub fn in_hand(&self) -> usize {
        self.batch + 1
    }
}

/// `dragunov serve`.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeArgs {
    /// Address to listen on [default: 127.0.0.1]. One that others can reach needs --api-key-file or DRAGUNOV_API_KEY.
    #[arg(long, env = "DRAGUNOV_HOST", value_name = "IP")]
    pub host: Option<IpAddr>,
    /// Port; 0 picks a free one and prints it [default: PORT, else 8000].
    #[arg(long, env = "DRAGUNOV_PORT")]
    pub port: Option<u16>,
    /// As Amazon SageMaker starts containers: 0.0.0.0, port 8080 or SAGEMAKER_BIND_TO_PORT, no key (callers are checked
    /// before they get here). On by itself where SageMaker's variables are set.
    #[arg(long, env = "DRAGUNOV_SAGEMAKER")]
    pub sagemaker: bool,
    /// Keys that callers must send, separated by commas. Flags show in process lists: prefer the environment.
    #[arg(long, env = "DRAGUNOV_API_KEY", hide_env_values = true, value_name = "KEYS")]
    pub api_key: Option<SecretString>,
    /// File with one key a line.
    #[arg(long, env = "DRAGUNOV_API_KEY_FILE", value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Listen for others without any key.
    #[arg(long, env = "DRAGUNOV_ALLOW_NO_KEY")]
    pub allow_no_key: bool,
    /// Keep accepted jobs and their results here, through crashes. Without it they live in memory.
    #[arg(long, env = "DRAGUNOV_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// If the job database in --state-dir is damaged, keep it beside under another name and begin anew.
    #[arg(long, env = "DRAGUNOV_SET_ASIDE_DAMAGED_STATE")]
    pub set_aside_damaged_state: bool,
    /// Jobs of the job API that may wait; the next one is told 429.
    #[arg(long, env = "DRAGUNOV_MAX_JOBS", default_value_t = 1000, value_name = "JOBS")]
    pub max_jobs: usize,
    /// Memory for inputs and results of jobs, MiB.
    #[arg(
        long,
        env = "DRAGUNOV_JOB_MEMORY_MIB",
        default_value_t = 256,
        value_name = "MIB"
    )]
    pub job_memory_mib: usize,
    /// How long a finished `/run` job can be asked for.
    #[arg(long, env = "DRAGUNOV_RETENTION", default_value = "30m", value_parser = humantime::parse_duration)]
    pub retention: Duration,
    /// The most time a direct call may take, waiting included.
    #[arg(long, env = "DRAGUNOV_REQUEST_TIMEOUT", default_value = "5m", value_parser = humantime::parse_duration)]
    pub request_timeout: Duration,
    /// From "not ready" to closing the listener: longer than your load balancer's health interval.
    #[arg(long, env = "DRAGUNOV_DRAIN_DELAY", default_value = "0s", value_parser = humantime::parse_duration)]
    pub drain_delay: Duration,
    /// For what is under way when the listener closes.
    #[arg(long, env = "DRAGUNOV_DRAIN_TIMEOUT", default_value = "60s", value_parser = humantime::parse_duration)]
    pub drain_timeout: Duration,
    /// Pages of this origin may call from a browser; may be given several times.
    #[arg(
        long,
        env = "DRAGUNOV_CORS_ORIGIN",
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    pub cors_origin: Vec<String>,
    /// Signs webhooks (`webhook-signature`).
    #[arg(
        long,
        env = "DRAGUNOV_WEBHOOK_SECRET",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub webhook_secret: Option<SecretString>,
    /// Seconds between tries of a webhook.
    #[arg(long, env = "DRAGUNOV_WEBHOOK_PAUSE", default_value = "10s", value_parser = humantime::parse_duration)]
    pub webhook_pause: Duration,
    /// Webhooks may go to private addresses and plain http.
    #[arg(long, env = "DRAGUNOV_PRIVATE_WEBHOOKS")]
    pub private_webhooks: bool,
}

/// Variables that SageMaker sets in containers.
const SAGEMAKER: [&str; 4] = [
    "SAGEMAKER_BIND_TO_PORT",
    "SAGEMAKER_SAFE_PORT_RANGE",
    "SAGEMAKER_CONTAINER_LOG_LEVEL",
    "SAGEMAKER_PROGRAM",
];

/// What the place where the service runs decides.
struct Surroundings {
    address: SocketAddr,
    /// The platform checks callers before they get here.
    gate: bool,
}

/// The checked form of [`ServeArgs`].
#[derive(Debug, Clone)]
pub struct ServeConfig {
    pub address: SocketAddr,
    pub state_dir: Option<PathBuf>,
    pub set_aside_damaged_state: bool,
    pub app: AppOptions,
    pub limits: Limits,
    pub serve: ServeOptions,
}

impl ServeArgs {
    /// # Errors
    /// `config_invalid`, naming the flag.
    pub fn check(&self) -> Result<ServeConfig, ScanError> {
        let Surroundings { address, gate } = self.surroundings(|name| std::env::var(name).ok())?;
        let host = address.ip();
        let api_keys = self.keys(host)?;
        let local = host.is_loopback();
        if api_keys.is_empty() && !local && !self.allow_no_key && !gate {
            return Err(wrong(
                "--host",
                format!("{host} can be reached by others, and there is no key"),
            )
            .next_step("set DRAGUNOV_API_KEY or --api-key-file, or say --allow-no-key"));
        }
        if self.max_jobs == 0 {
            return Err(wrong("--max-jobs", "must be at least 1"));
        }
        let cors_origins = self
            .cors_origin
            .iter()
            .map(|text| origin(text))
            .collect::<Result<_, _>>()?;
        let api_keys_given = !api_keys.is_empty();
        Ok(ServeConfig {
            address,
            state_dir: self.state_dir.clone(),
            set_aside_damaged_state: self.set_aside_damaged_state,
            app: AppOptions {
                api_keys,
                direct_time: self.request_timeout,
                cors_origins,
                guard: match (api_keys_given || gate, local) {
                    (true, _) => Guard::Off,
                    (false, true) => Guard::OwnPagesByOwnName,
                    (false, false) => Guard::OwnPages,
                },
                private_webhooks: self.private_webhooks,
                ..AppOptions::default()
            },
            limits: Limits {
                queued: self.max_jobs,
                bytes: self.job_memory_mib << 20,
                retention: self.retention,
                ..Limits::default()
            },
            serve: ServeOptions {
                drain_delay: self.drain_delay,
                drain_timeout: self.drain_timeout,
                connections: ConnectionLimits::default().within_file_limit(),
                webhooks: WebhookOptions {
                    secret: self.webhook_secret.clone(),
                    pause: self.webhook_pause,
                    ..WebhookOptions::default()
                },
                ..ServeOptions::default()
            },
        })
    }

    /// The address, from the flags, else from the platform that runs this process.
    fn surroundings(&self, get: impl Fn(&str) -> Option<String>) -> Result<Surroundings, ScanError> {
        let get = |name: &str| get(name).filter(|v| !v.trim().is_empty());
        let sagemaker = self.sagemaker || SAGEMAKER.iter().any(|name| get(name).is_some());
        // RunPod's load balancer tells its workers the port that it calls.
        let balanced = !sagemaker && get("PORT").is_some() && get("RUNPOD_POD_ID").is_some();
        let told = |name: &'static str| {
            let port = |text: String| {
                let bad = |_| wrong(name, format!("{:?} is not a port", said(&text)));
                text.trim().parse::<u16>().map_err(bad)
            };
            get(name).map(port).transpose()
        };
        let port = match self.port {
            Some(port) => port,
            None if sagemaker => told("SAGEMAKER_BIND_TO_PORT")?.unwrap_or(8080),
            None => told("PORT")?.unwrap_or(8000),
        };
        let gate = sagemaker || balanced;
        let usual = if gate {
            Ipv4Addr::UNSPECIFIED
        } else {
            Ipv4Addr::LOCALHOST
        };
        Ok(Surroundings {
            address: SocketAddr::new(self.host.unwrap_or(usual.into()), port),
            gate,
        })
    }

    fn keys(&self, host: IpAddr) -> Result<Vec<SecretString>, ScanError> {
        let mut keys: Vec<SecretString> = Vec::new();
        if let Some(given) = &self.api_key {
            keys.extend(split_keys(given.expose_secret(), ','));
        }
        if let Some(path) = &self.api_key_file {
            let text = std::fs::read_to_string(path)
                .map_err(|e| wrong("--api-key-file", format!("cannot read {}", path.display())).source(e))?;
            let before = keys.len();
            keys.extend(split_keys(&text, '\n'));
            if keys.len() == before {
                return Err(wrong(
                    "--api-key-file",
                    format!("{} holds no key", path.display()),
                ));
            }
        }
        if let Some(short) = keys.iter().find(|k| k.expose_secret().len() < 16)
            && !host.is_loopback()
        {
            let n = short.expose_secret().len();
            return Err(wrong(
                "--api-key",
                format!("a key of {n} characters can be guessed; use 16 or more"),
            ));
        }
        Ok(keys)
    }
}

impl ServeConfig {
    /// What is in force, secrets as `***`.
    pub fn shown(&self) -> Value {
        json!({
            "address": self.address.to_string(),
            "api_keys": vec!["***"; self.app.api_keys.len()],
            "state_dir": self.state_dir,
            "max_jobs": self.limits.queued,
            "job_memory_mib": self.limits.bytes >> 20,
            "retention_s": self.limits.retention.as_secs(),
            "request_timeout_s": self.app.direct_time.as_secs(),
            "drain_delay_s": self.serve.drain_delay.as_secs_f64(),
            "drain_timeout_s": self.serve.drain_timeout.as_secs_f64(),
            "cors_origins": self.app.cors_origins.iter().filter_map(|o| o.to_str().ok()).collect::<Vec<_>>(),
            "webhook_secret": self.serve.webhooks.secret.as_ref().map(|_| "***"),
            "private_webhooks": self.app.private_webhooks,
        })
    }
}

fn split_keys(text: &str, by: char) -> impl Iterator<Item = SecretString> {
    text.split(by)
        .map(str::trim)
        .filter(|key| !key.is_empty())
        .map(SecretString::from)
}

fn origin(text: &str) -> Result<HeaderValue, ScanError> {
    let flag = "--cors-origin";
    let url = url::Url::parse(text)
        .map_err(|e| wrong(flag, format!("{:?} is not an origin", said(text))).source(e))?;
    let plain = url.origin().ascii_serialization();
    if plain != text.trim_end_matches('/') {
        return Err(wrong(
            flag,
            format!(
                "{:?} is not an origin; did you mean {}?",
                said(text),
                said(&plain)
            ),
        ));
    }
    HeaderValue::from_str(&plain).map_err(|e| wrong(flag, said(text)).source(e))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        serve: ServeArgs,
    }

    fn check(flags: &[&str]) -> Result<ServeConfig, ScanError> {
        Line::parse_from(["x"].iter().chain(flags)).serve.check()
    }

    #[test]
    fn others_need_a_key() {
        assert!(check(&[]).is_ok());
        let error = check(&["--host", "0.0.0.0"]).unwrap_err();
        assert_eq!(error.code, ErrorCode::ConfigInvalid);
        assert!(check(&["--host", "0.0.0.0", "--allow-no-key"]).is_ok());
        assert!(check(&["--host", "0.0.0.0", "--api-key", "short"]).is_err());
        let keyed = check(&["--host", "::", "--api-key", "0123456789abcdef,fedcba9876543210"]).unwrap();
        assert_eq!(keyed.app.api_keys.len(), 2);
        assert!(!keyed.app.private_webhooks && !check(&[]).unwrap().app.private_webhooks);
        assert!(check(&["--private-webhooks"]).unwrap().app.private_webhooks);
        assert_eq!(keyed.app.guard, Guard::Off);
        assert_eq!(check(&[]).unwrap().app.guard, Guard::OwnPagesByOwnName);
        let open = check(&["--host", "0.0.0.0", "--allow-no-key"]).unwrap();
        assert_eq!(open.app.guard, Guard::OwnPages);
    }

    #[test]
    fn platforms_decide_on_the_address() {
        let at = |flags: &[&str], vars: &[(&str, &str)]| {
            let serve = Line::parse_from(["x"].iter().chain(flags)).serve;
            let get = |name: &str| {
                vars.iter()
                    .find(|(k, _)| *k == name)
                    .map(|(_, v)| (*v).to_owned())
            };
            serve.surroundings(get).map(|s| (s.address.to_string(), s.gate))
        };
        let is = |flags: &[&str], vars: &[(&str, &str)], address: &str, gate: bool| {
            assert_eq!(
                at(flags, vars).unwrap(),
                (address.to_owned(), gate),
                "{flags:?} {vars:?}"
            );
        };
        is(&[], &[], "127.0.0.1:8000", false);
        is(&[], &[("PORT", "80")], "127.0.0.1:80", false);
        let runpod = [("PORT", "5000"), ("RUNPOD_POD_ID", "p")];
        is(&[], &runpod, "0.0.0.0:5000", true);
        is(&["--port", "0"], &runpod, "0.0.0.0:0", true);
        is(&["--sagemaker"], &[("PORT", "80")], "0.0.0.0:8080", true);
        is(&[], &[("SAGEMAKER_BIND_TO_PORT", "9000")], "0.0.0.0:9000", true);
        is(
            &["--sagemaker", "--host", "127.0.0.1"],
            &[],
            "127.0.0.1:8080",
            true,
        );
        assert!(at(&[], &[("PORT", "tcp://10.0.0.1:80")]).is_err());
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = check(&[
            "--api-key",
            "canary-key-canary",
            "--webhook-secret",
            "canary-hook",
        ])
        .unwrap();
        let all = format!("{config:?}{}", config.shown());
        assert!(!all.contains("canary"), "{all}");
    }

    #[test]
    fn an_origin_is_no_page() {
        assert!(check(&["--cors-origin", "https://app.example"]).is_ok());
        let error = check(&["--cors-origin", "https://app.example/page"]).unwrap_err();
        assert!(
            error.message.contains("did you mean https://app.example?"),
            "{error}"
        );
    }
}
