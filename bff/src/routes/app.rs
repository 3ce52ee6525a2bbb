//! What every handler can reach.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::HeaderValue;
use axum::http::request::Parts;
use governor::{DefaultKeyedRateLimiter, Quota};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;

use super::dashboard::Flights;
use super::scans::Watch;
use crate::auth::{Auth, Subject};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::edge::Meters;
use crate::notify::hub::Hub;
use crate::problem::{Code, Problem};
use crate::scans::Scans;
use crate::store::{Db, UserId};

/// What clients may ask of one process.
#[derive(Debug, Clone)]
pub struct Limits {
    pub rate_per_second: u32,
    pub rate_burst: u32,
    pub in_flight: usize,
    pub request_time: Duration,
    pub sync_wire_bytes: usize,
    pub sync_body_bytes: usize,
    pub sync_records: usize,
    pub sync_grace: Duration,
    /// How long a request waits for a menu that is fetched.
    pub menu_wait: Duration,
    /// Fetches of menus that one user may cause a day.
    pub menu_budget: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate_per_second: 300,
            rate_burst: 30_000,
            in_flight: 1024,
            request_time: Duration::from_secs(20),
            sync_wire_bytes: 2 << 20,
            sync_body_bytes: 16 << 20,
            sync_records: 10_000,
            sync_grace: Duration::from_secs(35 * 24 * 3600),
            menu_wait: Duration::from_secs(8),
            menu_budget: 20,
        }
    }
}

/// Who may bring news from outside.
#[derive(Debug, Clone, Default)]
pub struct Hooks {
    /// Bearer token of the orchestrator that brings storage's events; without one the path is closed.
    pub storage_events: Option<secrecy::SecretString>,
}

/// Users by subject, for a little while: an erased user sees nothing even while remembered here.
const REMEMBERED: Duration = Duration::from_secs(60);
const USERS: u64 = 100_000;

/// The service's parts.
#[derive(Debug)]
pub struct App {
    pub db: Db,
    pub auth: Auth,
    pub cache: Arc<dyn Cache>,
    pub clock: Clock,
    pub limits: Limits,
    pub cors_origins: Vec<HeaderValue>,
    pub metrics: Option<PrometheusHandle>,
    /// `None` where no vision service is configured.
    pub scans: Option<Arc<Scans>>,
    pub hooks: Hooks,
    pub(super) watch: Watch,
    /// Paths beside the service's own.
    pub beside: Option<axum::Router>,
    /// Sockets of this process.
    pub hub: Arc<Hub>,
    pub users: moka::sync::Cache<Subject, UserId>,
    rate: DefaultKeyedRateLimiter<UserId>,
    pub(super) flights: Flights,
    pub(super) in_flight: Semaphore,
    pub(super) meters: Meters,
    draining: AtomicBool,
}

impl App {
    pub fn new(db: Db, auth: Auth, cache: Arc<dyn Cache>, clock: Clock, limits: Limits) -> Self {
        let at_least_one = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(at_least_one(limits.rate_per_second))
            .allow_burst(at_least_one(limits.rate_burst));
        Self {
            db,
            auth,
            cache,
            clock,
            cors_origins: Vec::new(),
            metrics: None,
            scans: None,
            hooks: Hooks::default(),
            watch: Watch::default(),
            beside: None,
            hub: Arc::default(),
            users: moka::sync::Cache::builder()
                .max_capacity(USERS)
                .time_to_live(REMEMBERED)
                .build(),
            rate: DefaultKeyedRateLimiter::keyed(quota),
            flights: Flights::default(),
            in_flight: Semaphore::new(limits.in_flight),
            meters: Meters::default(),
            draining: AtomicBool::new(false),
            limits,
        }
    }

    /// One more request of this user, or 429; on paths of exporters 503, because they throw a chunk away on any 4xx.
    ///
    /// # Errors
    /// `rate_limited`, `overloaded`.
    pub fn admit(&self, user: UserId, parts: &Parts) -> Result<(), Problem> {
        if self.rate.check_key(&user).is_ok() {
            return Ok(());
        }
        let code = if parts.uri.path().starts_with("/sync/") {
            Code::Overloaded
        } else {
            Code::RateLimited
        };
        let mut problem = Problem::new(code, "too many requests of this user");
        problem.retry_after_s = Some(1);
        Err(problem)
    }

    /// Forgets users who have been quiet; called now and then.
    pub fn tidy(&self) {
        self.rate.retain_recent();
        self.rate.shrink_to_fit();
        if let Some(metrics) = &self.metrics {
            metrics.run_upkeep();
        }
    }

    /// Whatever shows on the dashboard of this user has changed and is committed.
    pub async fn changed(&self, user: UserId) {
        self.cache.invalidate(user).await;
    }

    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }
}
