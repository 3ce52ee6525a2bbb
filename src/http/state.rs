//! What every handler shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;

use super::Guard;
use super::body::BodyMemory;
use crate::contract::{ErrorCode, ScanError};
use crate::jobs::Store;
use crate::runpod::WorkerIdentity;
use crate::runtime::Executor;

/// Settings of the HTTP front.
#[derive(Debug, Clone)]
pub struct AppOptions {
    /// Accepted keys; none means that anybody may call.
    pub api_keys: Vec<SecretString>,
    /// Bodies of `/run`, bytes.
    pub run_body: usize,
    /// Bodies of `/runsync`, bytes.
    pub runsync_body: usize,
    /// Bodies of direct calls, bytes.
    pub direct_body: usize,
    /// From the head of a request to the end of its body.
    pub body_time: Duration,
    /// A direct call, waiting included.
    pub direct_time: Duration,
    /// Pages of these origins may call from a browser.
    pub cors_origins: Vec<HeaderValue>,
    /// What is asked of callers where there are no keys.
    pub guard: Guard,
    /// Bodies being read or in use, all together, bytes.
    pub body_memory: usize,
    /// Webhooks may go to loopback and private addresses, by plain http.
    pub private_webhooks: bool,
}

impl Default for AppOptions {
    fn default() -> Self {
        Self {
            api_keys: Vec::new(),
            run_body: 10 << 20,
            runsync_body: 20 << 20,
            direct_body: 26 << 20,
            body_time: Duration::from_secs(60),
            direct_time: Duration::from_secs(300),
            cors_origins: Vec::new(),
            guard: Guard::Off,
            body_memory: 192 << 20,
            private_webhooks: false,
        }
    }
}

#[derive(Debug)]
pub struct App {
    pub options: AppOptions,
    pub executor: Executor,
    pub store: Store,
    pub identity: WorkerIdentity,
    pub metrics: Option<PrometheusHandle>,
    pub bodies: BodyMemory,
    draining: AtomicBool,
    /// Ends long waits (`/runsync`) when the process is about to go.
    pub closing: CancellationToken,
}

pub type SharedApp = Arc<App>;

impl App {
    pub fn new(
        options: AppOptions,
        executor: Executor,
        store: Store,
        identity: WorkerIdentity,
        metrics: Option<PrometheusHandle>,
    ) -> SharedApp {
        Arc::new(Self {
            bodies: BodyMemory::new(options.body_memory),
            options,
            executor,
            store,
            identity,
            metrics,
            draining: AtomicBool::new(false),
            closing: CancellationToken::new(),
        })
    }

    /// From now on the service is not ready, though it still answers.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// # Errors
    /// `draining` where a new job would be lost with this process.
    pub fn check_accepting(&self) -> Result<(), ScanError> {
        if self.is_draining() && !self.store.is_durable() {
            return Err(
                ScanError::new(ErrorCode::Draining, "this instance is shutting down")
                    .next_step("send it again; another instance will take it"),
            );
        }
        Ok(())
    }
}
