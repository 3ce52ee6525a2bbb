//! Servers, a service in this process, and a client that speaks for a user.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bio_bff::auth::{Auth, JwksOptions, Provider};
use bio_bff::cache::{Cache, NoCache, RedisCache};
use bio_bff::clock::Clock;
pub use bio_bff::dev::servers::{After, Postgres, PostgresOptions, Redis, free_port};
use bio_bff::objects::Buckets;
use bio_bff::routes::{App, Hooks, Limits};
use bio_bff::scans::{Rules, Scans};
use bio_bff::store::{self, Db};
use bio_bff::vision::Services;
use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

pub use super::auth::idp::Idp;

/// For what comes by itself.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Both, shared by the tests of this binary.
pub struct Servers {
    pub postgres: Postgres,
    pub redis: Redis,
}

static SERVERS: OnceLock<Option<Servers>> = OnceLock::new();
static DATABASES: AtomicUsize = AtomicUsize::new(0);

const TEMPLATE: &str = "bff_template";

/// The servers, or `None` with a line that says so; in CI a failure.
pub fn servers() -> Option<&'static Servers> {
    let started = SERVERS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap().keep();
        let options = PostgresOptions {
            port: None,
            after: After::Remove,
            synchronous_commit: false,
        };
        let postgres = Postgres::start(&folder, &options).unwrap()?;
        let redis = Redis::start(free_port().unwrap()).unwrap()?;
        postgres.prepare(TEMPLATE).unwrap();
        let owner = store::options(&postgres.url("bio_owner", TEMPLATE)).unwrap();
        // A thread of its own: this may be called inside a runtime.
        std::thread::scope(|s| {
            s.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(store::migrate::migrate(&owner)).unwrap();
            });
        });
        Some(Servers { postgres, redis })
    });
    if started.is_none() {
        assert!(
            std::env::var("CI").is_err(),
            "CI must have PostgreSQL's and Redis's server binaries"
        );
        eprintln!("NOT RUN: needs the servers of PostgreSQL and Redis (scripts/install-test-packages)");
    }
    started.as_ref()
}

/// A fresh database with the schema.
pub fn database(postgres: &Postgres) -> String {
    static ONE_COPY: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let name = format!("t{}", DATABASES.fetch_add(1, Ordering::SeqCst));
    let _one = ONE_COPY.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    postgres
        .sql(
            "postgres",
            &format!("CREATE DATABASE {name} TEMPLATE {TEMPLATE} OWNER bio_owner"),
        )
        .unwrap();
    name
}

/// How a test wants the service.
pub struct Wish {
    pub limits: Limits,
    pub redis: bool,
    pub now: Option<jiff::Timestamp>,
    pub connections: u32,
    pub scans: Option<ScanParts>,
}

/// What scans need besides a database.
#[derive(Clone)]
pub struct ScanParts {
    pub buckets: Buckets,
    pub vision: Services,
    pub rules: Rules,
}

/// As usual, but with patience for an identity provider that has to share the machine.
fn patient_keys() -> JwksOptions {
    JwksOptions {
        timeout: PATIENCE,
        ..JwksOptions::default()
    }
}

/// Token of who brings storage's events.
pub const STORAGE_TOKEN: &str = "the orchestrator's token, thirty-two";

/// The usual limits, for a machine on which everything runs at once.
pub fn patient_limits() -> Limits {
    Limits {
        request_time: PATIENCE,
        ..Limits::default()
    }
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            limits: patient_limits(),
            redis: true,
            now: None,
            connections: 8,
            scans: None,
        }
    }
}

/// A running service.
pub struct Running {
    pub base: String,
    pub idp: Arc<Idp>,
    pub clock: Clock,
    pub app: Arc<App>,
    pub http: reqwest::Client,
    stop: CancellationToken,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A running service over a database of its own.
pub struct Service {
    pub servers: &'static Servers,
    pub database: String,
    running: Running,
}

impl std::ops::Deref for Service {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

/// Starts a service, or returns from the test.
macro_rules! service {
    () => {
        service!($crate::harness::Wish::default())
    };
    ($wish:expr) => {
        match $crate::harness::Service::start($wish).await {
            Some(service) => service,
            None => return,
        }
    };
}
pub(crate) use service;

impl Service {
    pub async fn start(wish: Wish) -> Option<Self> {
        let servers = servers()?;
        let database = database(&servers.postgres);
        let idp = Arc::new(Idp::start().await);
        Some(Self::over(servers, database, idp, wish).await)
    }

    /// Over a database that exists.
    pub async fn of_database(servers: &'static Servers, database: &str) -> Self {
        let idp = Arc::new(Idp::start().await);
        Self::over(servers, database.to_owned(), idp, Wish::default()).await
    }

    /// Another replica: the same database, cache and identity provider.
    pub async fn replica(&self, wish: Wish) -> Self {
        Self::over(self.servers, self.database.clone(), self.idp.clone(), wish).await
    }

    async fn over(servers: &'static Servers, database: String, idp: Arc<Idp>, wish: Wish) -> Self {
        let cache: Arc<dyn Cache> = if wish.redis {
            Arc::new(RedisCache::patient(&servers.redis.url(), PATIENCE).unwrap())
        } else {
            Arc::new(NoCache)
        };
        let url = servers.postgres.url("api_login", &database);
        Self {
            running: Running::start(&url, cache, idp, wish).await,
            servers,
            database,
        }
    }

    pub fn sql(&self, sql: &str) -> Vec<String> {
        self.servers.postgres.sql(&self.database, sql).unwrap()
    }
}

impl Running {
    pub async fn start(database: &str, cache: Arc<dyn Cache>, idp: Arc<Idp>, wish: Wish) -> Self {
        let db = Db::lazy(store::options(database).unwrap(), wish.connections, PATIENCE);
        let providers = vec![
            Provider::cognito(&idp.issuer, vec!["app".into()], Some(&idp.jwks_url)).unwrap(),
            Provider::firebase("proj", Some(&idp.jwks_url)).unwrap(),
        ];
        let secret = "test secret of more than thirty-two characters".to_owned();
        let auth = Auth::new(providers, secret.into(), &patient_keys()).unwrap();
        let clock = wish.now.map_or_else(Clock::default, Clock::fixed);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut app = App::new(db, auth, cache, clock.clone(), wish.limits);
        app.hooks = Hooks {
            storage_events: Some(STORAGE_TOKEN.to_owned().into()),
        };
        app.scans = wish.scans.map(|parts| {
            Arc::new(Scans {
                db: app.db.clone(),
                cache: app.cache.clone(),
                clock: clock.clone(),
                buckets: parts.buckets,
                vision: parts.vision,
                public: format!("{base}/").parse().unwrap(),
                rules: parts.rules,
                collecting: Default::default(),
            })
        });
        if wish.connections == 1 {
            // The server takes one connection: none is left to listen for notices.
            app.hub.closing.cancel();
        }
        let app = Arc::new(app);
        let stop = CancellationToken::new();
        let drain = bio_bff::serve::Drain {
            delay: Duration::ZERO,
            timeout: Duration::from_secs(5),
        };
        tokio::spawn(bio_bff::serve::serve(
            listener,
            app.clone(),
            drain,
            stop.clone().cancelled_owned(),
        ));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            base,
            idp,
            clock,
            app,
            http,
            stop,
        }
    }

    /// A client with a token of this subject.
    pub fn user(&self, subject: &str) -> Client {
        let token = self.idp.access(subject, self.clock.now().as_second());
        self.with_token(token)
    }

    pub fn with_token(&self, token: String) -> Client {
        Client {
            base: self.base.clone(),
            token,
            http: self.http.clone(),
        }
    }
}

/// Speaks for one user.
#[derive(Clone)]
pub struct Client {
    pub base: String,
    pub token: String,
    pub http: reqwest::Client,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {} {}", self.status, self.text))
    }

    pub fn etag(&self) -> String {
        self.headers["etag"].to_str().unwrap().to_owned()
    }

    /// The JSON of an answer with this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() {
            Value::Null
        } else {
            self.json()
        }
    }

    /// A refusal with this status and code, in the common shape.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Value {
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{}",
            self.text
        );
        let body = self.expect(status);
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert!(
            body["request_id"].is_string() && body["detail"].is_string(),
            "{body}"
        );
        body
    }
}

impl Client {
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let mut request = self.http.request(method, format!("{}{path}", self.base));
        if !self.token.is_empty() {
            request = request.bearer_auth(&self.token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        finish(request).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path, &[], None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, &[], Some(&body)).await
    }

    pub async fn post_once(&self, path: &str, key: &str, body: Value) -> Answer {
        self.call(Method::POST, path, &[("idempotency-key", key)], Some(&body))
            .await
    }

    /// PATCH from the version that is there now.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        let tag = self.get(path).await.etag();
        self.call(Method::PATCH, path, &[("if-match", &tag)], Some(&body))
            .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        let tag = self.get(path).await.etag();
        self.call(Method::DELETE, path, &[("if-match", &tag)], None).await
    }
}

/// A zone where it is noon: whatever takes some minutes from here on is of one day.
pub fn noon_zone() -> String {
    let hour = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour();
    // These names count westwards.
    format!("Etc/GMT{:+}", hour - 12)
}

/// Waits until something is so, with the patience that a machine needs on which everything runs at once.
pub async fn until(what: &str, so: impl AsyncFn() -> bool) {
    until_in(PATIENCE, what, so).await;
}

/// As [`until`], for what takes longer.
pub async fn until_in(patience: Duration, what: &str, so: impl AsyncFn() -> bool) {
    let begun = std::time::Instant::now();
    while !so().await {
        assert!(begun.elapsed() < patience, "not in {patience:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn finish(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    Answer {
        status,
        headers,
        text: response.text().await.unwrap(),
    }
}
