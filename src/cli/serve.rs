//! `dragunov serve`

use std::io::Write;

use tokio::net::TcpListener;

use super::engine::{EngineArgs, stop_signal, tokio_runtime};
use crate::config::{LogArgs, ServeArgs, ServeConfig};
use crate::contract::{ErrorCode, ScanError};
use crate::http::{App, serve};
use crate::jobs::disk::Disk;
use crate::jobs::{Clock, Store};
use crate::runpod::WorkerIdentity;
use crate::runtime::Executor;
use crate::telemetry;

/// Serve the job API, direct calls and the web page over HTTP.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Open no weights and no device: corrections (`/v1/recompute`) and food look-ups (`/v1/foods`) are answered, photos are
    /// refused.
    #[arg(long, env = "DRAGUNOV_NO_MODELS")]
    pub(super) no_models: bool,
    #[command(flatten)]
    pub(super) serve: ServeArgs,
    #[command(flatten)]
    pub(super) engine: EngineArgs,
    #[command(flatten)]
    pub(super) log: LogArgs,
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        let mut config = self.serve.check()?;
        config.serve.in_hand = self.engine.queue.in_hand();
        let _log = telemetry::logs::init(&self.log.log, self.log.format())
            .map_err(|e| ScanError::new(ErrorCode::ConfigInvalid, format!("--log: {e}")))?;
        let metrics = telemetry::metrics::install()
            .map_err(|e| ScanError::new(ErrorCode::Internal, "metrics cannot be installed").source(e))?;
        tokio_runtime()?.block_on(async {
            let executor = if self.no_models {
                self.engine.executor_without_models().await?
            } else {
                self.engine.executor().await?
            };
            run(config, executor, metrics).await
        })
    }
}

async fn run(
    config: ServeConfig,
    executor: Executor,
    metrics: metrics_exporter_prometheus::PrometheusHandle,
) -> Result<(), ScanError> {
    let stop = stop_signal();
    let worker_id = format!("local-{}", std::process::id());
    let disk = (config.state_dir.as_deref())
        .map(|dir| Disk::open(dir, config.set_aside_damaged_state))
        .transpose()
        .map_err(|e| ScanError::new(ErrorCode::ConfigInvalid, format!("--state-dir: {e}")).source(e))?;
    let (store, due) = Store::over(disk, config.limits, Clock::default(), &*worker_id);
    let listener = TcpListener::bind(config.address).await.map_err(|e| {
        ScanError::new(
            ErrorCode::ConfigInvalid,
            format!("cannot listen on {}: {e}", config.address),
        )
        .next_step("choose another --port, or 0 for a free one")
        .source(e)
    })?;
    let address = listener.local_addr().unwrap_or(config.address);
    // The one line scripts read: with --port 0 it is the only way to learn the port. A reader that is gone stops nothing.
    let _ = writeln!(std::io::stdout(), "listening on http://{address}");
    tracing::info!(%address, keys = config.app.api_keys.len(), durable = store.is_durable(), "listening");
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(std::time::Duration::from_secs(5));
        loop {
            tick.tick().await;
            upkeep.run_upkeep();
        }
    });
    let app = App::new(
        config.app,
        executor,
        store,
        WorkerIdentity::new(worker_id),
        Some(metrics),
    );
    serve(listener, app, due, config.serve, stop).await
}
