//! Flags and environment: each flag has an environment twin, secrets are never shown.

mod menus;
mod push;
mod scans;

pub use menus::MenuArgs;
pub use push::{GatewayArgs, PushArgs};
pub use scans::{ScanArgs, VisionKind};

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::auth::{Provider, ProviderKind};
use crate::cache::{Cache, NoCache, RedisCache};
use crate::queue::{PostgresQueue, Queue, SqsQueue};
use crate::routes::Limits;
use crate::store::Db;

/// What is wrong with the configuration, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct ConfigError {
    pub what: String,
    pub next_step: &'static str,
}

fn wrong(what: impl Into<String>, next_step: &'static str) -> ConfigError {
    ConfigError {
        what: what.into(),
        next_step,
    }
}

fn duration(text: &str) -> Result<Duration, humantime::DurationError> {
    humantime::parse_duration(text)
}

fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(text.to_owned().into())
}

/// The database of the processes, not of its owner.
#[derive(Debug, Clone, Args)]
pub struct DatabaseArgs {
    /// postgres:// URL of a login that is a member of bio_api (serve) or bio_worker (worker).
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_parser = secret)]
    pub database_url: Option<SecretString>,
    /// Connections of this process. In Lambda: 1.
    #[arg(long, env = "BFF_DATABASE_CONNECTIONS", default_value_t = 16)]
    pub database_connections: u32,
    /// How long a request waits for a connection.
    #[arg(long, env = "BFF_DATABASE_WAIT", default_value = "3s", value_parser = duration)]
    pub database_wait: Duration,
}

impl DatabaseArgs {
    /// # Errors
    /// No URL, or one that does not parse.
    pub fn options(&self) -> Result<sqlx::postgres::PgConnectOptions, ConfigError> {
        let url = self
            .database_url
            .as_ref()
            .ok_or_else(|| wrong("no database is given", "set DATABASE_URL, or start `bio-bff dev`"))?;
        crate::store::options(url.expose_secret()).map_err(|_| {
            wrong(
                "DATABASE_URL does not parse",
                "write postgres://user:password@host:port/database",
            )
        })
    }
}

/// Where dashboards are kept for a while.
#[derive(Debug, Clone, Args)]
pub struct CacheArgs {
    /// redis:// or rediss:// URL, the same for all processes. Without it every dashboard is computed.
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_parser = secret)]
    pub redis_url: Option<SecretString>,
}

impl CacheArgs {
    /// # Errors
    /// The URL does not parse.
    pub fn open(&self) -> Result<Arc<dyn Cache>, ConfigError> {
        let Some(url) = &self.redis_url else {
            return Ok(Arc::new(NoCache));
        };
        let cache = RedisCache::new(url.expose_secret()).map_err(|_| {
            wrong(
                "REDIS_URL does not parse",
                "write redis://host:port, or rediss:// for TLS",
            )
        })?;
        Ok(Arc::new(cache))
    }
}

/// Where events go.
#[derive(Debug, Clone, Args)]
pub struct QueueArgs {
    /// URL of an SQS queue; without it the queue is in the database.
    #[arg(long, env = "BFF_QUEUE_URL")]
    pub queue_url: Option<String>,
    /// Tries of a message before it is dead; SQS has its own redrive policy.
    #[arg(long, env = "BFF_QUEUE_ATTEMPTS", default_value_t = 5)]
    pub queue_attempts: i32,
    /// How long a message is hidden from other workers while one handles it; what a dead worker had in hand comes back
    /// after this.
    #[arg(long, env = "BFF_QUEUE_VISIBILITY", default_value = "60s", value_parser = duration)]
    pub queue_visibility: Duration,
    /// Energy score below which the day's plan changes.
    #[arg(long, env = "BFF_ENERGY_THRESHOLD", default_value_t = crate::domain::energy::THRESHOLD)]
    pub energy_threshold: f64,
}

impl QueueArgs {
    pub async fn open(&self, db: &Db) -> Arc<dyn Queue> {
        match &self.queue_url {
            None => Arc::new(PostgresQueue::new(db.clone(), "events", self.queue_attempts)),
            Some(url) => {
                let shared = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
                Arc::new(SqsQueue::new(aws_sdk_sqs::Client::new(&shared), url))
            }
        }
    }
}

/// Whose tokens are accepted.
#[derive(Debug, Clone, Args)]
pub struct AuthArgs {
    /// Issuer of a Cognito user pool, `https://cognito-idp.<region>.amazonaws.com/<pool>`.
    #[arg(long, env = "BFF_COGNITO_ISSUER")]
    pub cognito_issuer: Option<String>,
    /// App client ids of the pool.
    #[arg(long, env = "BFF_COGNITO_CLIENT_IDS", value_delimiter = ',')]
    pub cognito_client_ids: Vec<String>,
    /// Where the pool's keys are, if not at the issuer.
    #[arg(long, env = "BFF_COGNITO_JWKS_URL")]
    pub cognito_jwks_url: Option<String>,
    /// Firebase project.
    #[arg(long, env = "BFF_FIREBASE_PROJECT")]
    pub firebase_project: Option<String>,
    /// Where Firebase's keys are, if not at Google's.
    #[arg(long, env = "BFF_FIREBASE_JWKS_URL")]
    pub firebase_jwks_url: Option<String>,
    /// Key of pseudonyms in logs and of the memory of erased accounts: at least 32 characters, the same everywhere,
    /// never changed.
    #[arg(long, env = "BFF_SECRET", hide_env_values = true, value_parser = secret)]
    pub secret: Option<SecretString>,
}

impl AuthArgs {
    /// # Errors
    /// Nothing is configured, or not rightly.
    pub fn providers(&self) -> Result<Vec<Provider>, ConfigError> {
        let mut providers = Vec::new();
        if let Some(issuer) = &self.cognito_issuer {
            let made = Provider::cognito(
                issuer,
                self.cognito_client_ids.clone(),
                self.cognito_jwks_url.as_deref(),
            );
            providers.push(made.map_err(|e| wrong(format!("Cognito: {e}"), "see --help, --cognito-*"))?);
        }
        if let Some(project) = &self.firebase_project {
            let made = Provider::firebase(project, self.firebase_jwks_url.as_deref());
            providers.push(made.map_err(|e| wrong(format!("Firebase: {e}"), "see --help, --firebase-*"))?);
        }
        if providers.is_empty() {
            return Err(wrong(
                "no identity provider is given",
                "set BFF_COGNITO_ISSUER and BFF_COGNITO_CLIENT_IDS, or BFF_FIREBASE_PROJECT",
            ));
        }
        Ok(providers)
    }

    /// # Errors
    /// Missing or short.
    pub fn secret(&self) -> Result<SecretString, ConfigError> {
        match &self.secret {
            Some(s) if s.expose_secret().chars().count() >= 32 => Ok(s.clone()),
            Some(_) => Err(wrong(
                "BFF_SECRET is shorter than 32 characters",
                "openssl rand -hex 32",
            )),
            None => Err(wrong(
                "BFF_SECRET is not set",
                "openssl rand -hex 32, once for all processes",
            )),
        }
    }
}

/// How the service answers.
#[derive(Debug, Clone, Args)]
pub struct HttpArgs {
    /// Address to listen on; port 0 takes a free one, which is printed.
    #[arg(long, env = "BFF_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// Origins that browsers may call from.
    #[arg(long, env = "BFF_CORS_ORIGINS", value_delimiter = ',')]
    pub cors_origins: Vec<String>,
    /// Requests a second that one user may make for long; the excess gets 429.
    #[arg(long, env = "BFF_RATE_PER_SECOND", default_value_t = 300)]
    pub rate_per_second: u32,
    /// Requests that one user may save up.
    #[arg(long, env = "BFF_RATE_BURST", default_value_t = 30_000)]
    pub rate_burst: u32,
    /// Requests under way at a time; the excess gets 503.
    #[arg(long, env = "BFF_IN_FLIGHT", default_value_t = 1024)]
    pub in_flight: usize,
    /// Time a request may take.
    #[arg(long, env = "BFF_REQUEST_TIME", default_value = "20s", value_parser = duration)]
    pub request_time: Duration,
    /// Bytes of a sync body on the wire.
    #[arg(long, env = "BFF_SYNC_WIRE_BYTES", default_value_t = 2 << 20)]
    pub sync_wire_bytes: usize,
    /// Bytes of a sync body unpacked.
    #[arg(long, env = "BFF_SYNC_BODY_BYTES", default_value_t = 16 << 20)]
    pub sync_body_bytes: usize,
    /// Records of one sync.
    #[arg(long, env = "BFF_SYNC_RECORDS", default_value_t = 10_000)]
    pub sync_records: usize,
    /// How much older than the account a record may be; 0 refuses everything older.
    #[arg(long, env = "BFF_SYNC_GRACE", default_value = "35days", value_parser = duration)]
    pub sync_grace: Duration,
    /// How long a request waits for a menu that is being fetched; then it says to come again.
    #[arg(long, env = "BFF_MENU_WAIT", default_value = "8s", value_parser = duration)]
    pub menu_wait: Duration,
    /// Menus that one user may cause to be fetched a day.
    #[arg(long, env = "BFF_MENU_BUDGET", default_value_t = 20)]
    pub menu_budget: u32,
    /// From "not ready" to "no new connections" at the end.
    #[arg(long, env = "BFF_DRAIN_DELAY", default_value = "0s", value_parser = duration)]
    pub drain_delay: Duration,
    /// For requests under way at the end.
    #[arg(long, env = "BFF_DRAIN_TIMEOUT", default_value = "30s", value_parser = duration)]
    pub drain_timeout: Duration,
}

impl HttpArgs {
    pub fn limits(&self) -> Limits {
        Limits {
            rate_per_second: self.rate_per_second,
            rate_burst: self.rate_burst,
            in_flight: self.in_flight,
            request_time: self.request_time,
            sync_wire_bytes: self.sync_wire_bytes,
            sync_body_bytes: self.sync_body_bytes,
            sync_records: self.sync_records,
            sync_grace: self.sync_grace,
            menu_wait: self.menu_wait,
            menu_budget: self.menu_budget,
        }
    }

    /// # Errors
    /// An origin that no header can hold.
    pub fn origins(&self) -> Result<Vec<axum::http::HeaderValue>, ConfigError> {
        let parse = |o: &String| {
            o.parse().map_err(|_| {
                wrong(
                    "an origin of --cors-origins is not one",
                    "write https://app.example.com",
                )
            })
        };
        self.cors_origins.iter().map(parse).collect()
    }
}

/// What logs look like.
#[derive(Debug, Clone, Args)]
pub struct LogArgs {
    /// Filter, as in RUST_LOG.
    #[arg(long, env = "RUST_LOG", default_value = "info")]
    pub log: String,
    /// JSON lines.
    #[arg(long, env = "BFF_LOG_JSON", default_value_t = false)]
    pub log_json: bool,
}

/// The effective configuration as text, with secrets as `***`.
pub fn shown(database: &DatabaseArgs, cache: &CacheArgs, auth: &AuthArgs, http: &HttpArgs) -> String {
    let hidden = |s: &Option<SecretString>| if s.is_some() { "***" } else { "(not set)" };
    let mut lines = vec![
        format!("database-url = {}", hidden(&database.database_url)),
        format!("database-connections = {}", database.database_connections),
        format!(
            "database-wait = {}",
            humantime::format_duration(database.database_wait)
        ),
        format!("redis-url = {}", hidden(&cache.redis_url)),
        format!("secret = {}", hidden(&auth.secret)),
    ];
    for p in auth.providers().unwrap_or_default() {
        let kind = match p.kind {
            ProviderKind::Cognito => "cognito",
            ProviderKind::Firebase => "firebase",
        };
        lines.push(format!(
            "{kind} = {} for {}, keys at {}",
            p.issuer,
            p.audience.join(","),
            p.jwks_url
        ));
    }
    lines.extend([
        format!("listen = {}", http.listen),
        format!("cors-origins = {}", http.cors_origins.join(",")),
        format!("rate = {}/s, burst {}", http.rate_per_second, http.rate_burst),
        format!("in-flight = {}", http.in_flight),
        format!("request-time = {}", humantime::format_duration(http.request_time)),
        format!(
            "sync = {} bytes on the wire, {} unpacked, {} records, grace {}",
            http.sync_wire_bytes,
            http.sync_body_bytes,
            http.sync_records,
            humantime::format_duration(http.sync_grace)
        ),
    ]);
    lines.join("\n")
}
