//! `dragunov worker`

use std::process::exit;

use super::engine::{EngineArgs, stop_signal, tokio_runtime};
use crate::contract::{ErrorCode, ScanError};
use crate::runtime::Executor;
use crate::telemetry::logs::{self, LogFormat};
use crate::telemetry::{self, redact};
use crate::worker::fitness::Fitness;
use crate::worker::inflight::Inflight;
use crate::worker::ping::{self, Pinger};
use crate::worker::{Ended, Timings, Worker, WorkerEnv, WorkerOptions, env, local};

/// Work for a RunPod serverless endpoint.
///
/// Its addresses, key and id come from the RUNPOD_* variables that the platform sets. Without them it runs one local
/// job, from --test_input or ./test_input.json.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run this job (`{"input": {...}}`) and end.
    #[arg(long = "test_input", alias = "test-input", value_name = "JSON")]
    test_input: Option<String>,
    /// Jobs in hand at a time; one GPU runs one (or --batch of them), the others have their photos fetched meanwhile.
    #[arg(long, env = "DRAGUNOV_CONCURRENCY", default_value_t = 1, value_name = "N")]
    concurrency: usize,
    /// End after every job, so that each starts on a fresh worker.
    #[arg(long, env = "DRAGUNOV_REFRESH_WORKER")]
    refresh_worker: bool,
    /// Streaming jobs repeat their chunks in the final result.
    #[arg(long, env = "DRAGUNOV_AGGREGATE_STREAM")]
    return_aggregate_stream: bool,
    /// For running jobs after SIGTERM; without it, as long as they need.
    #[arg(long, env = "DRAGUNOV_DRAIN_TIMEOUT", value_parser = humantime::parse_duration)]
    drain_timeout: Option<std::time::Duration>,
    /// ERROR, WARN, INFO, DEBUG, TRACE or NOTSET; RUNPOD_LOG_LEVEL does the same.
    #[arg(long = "rp_log_level", value_name = "LEVEL")]
    log_level: Option<String>,
    #[command(flatten)]
    engine: EngineArgs,
}

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        let config = |e: env::EnvError| ScanError::new(ErrorCode::ConfigInvalid, e.to_string()).source(e);
        let filter = env::log_filter(|name| match name {
            "RUNPOD_LOG_LEVEL" => self.log_level.clone().or_else(|| var(name)),
            _ => var(name),
        })
        .map_err(config)?;
        let json = var("RUNPOD_ENDPOINT_ID").is_some_and(|v| !v.is_empty());
        let _log = logs::init(filter, LogFormat::Runpod { json })
            .map_err(|e| ScanError::new(ErrorCode::ConfigInvalid, e.to_string()))?;
        tracing::info!(
            "Starting Serverless Worker | {}",
            crate::runtime::outcome::version()
        );
        let env = match &self.test_input {
            Some(_) => None,
            None => WorkerEnv::read(var).map_err(config)?,
        };
        // The platform should hear of this worker before anything else begins.
        let jobs = Inflight::default();
        let pinger = match &env {
            Some(env) => Pinger::start(env, jobs.clone())
                .map_err(|e| ScanError::new(ErrorCode::Internal, "no thread for pings").source(e))?,
            None => None,
        };
        if var("RUNPOD_REALTIME_PORT").is_some_and(|v| !matches!(v.trim(), "" | "0")) {
            tracing::warn!("RUNPOD_REALTIME_PORT is ignored: use `dragunov serve` for direct calls");
        }
        // A missing recorder costs the counters only.
        let _ = telemetry::metrics::install();
        let runtime = tokio_runtime()?;
        match env {
            None => {
                let executor = runtime.block_on(self.engine.executor())?;
                let dir = std::env::current_dir().unwrap_or_default();
                let ok = runtime.block_on(local::run(&executor, self.test_input.as_deref(), &dir));
                exit(i32::from(!ok))
            }
            Some(env) => runtime.block_on(self.pull(&env, jobs, pinger)),
        }
    }

    async fn pull(self, env: &WorkerEnv, jobs: Inflight, pinger: Option<Pinger>) -> Result<(), ScanError> {
        let timings = Timings {
            drain: self.drain_timeout,
            ..Timings::default()
        };
        let options = WorkerOptions {
            concurrency: self.concurrency,
            refresh: self.refresh_worker,
            aggregate: self.return_aggregate_stream,
            ..WorkerOptions::default()
        };
        tracing::info!(
            take = redact::urls(&env.urls.take(1, false)),
            pings = env.id_given,
            stream = env.urls.has_stream(),
            "platform"
        );
        let stop = stop_signal();
        tokio::pin!(stop);
        let fit = Fitness::read(var);
        if let Err(unfit) = fit.check(self.engine.gpu(), env.urls.host().as_ref()).await {
            tracing::error!("Fitness check failed: {} | {unfit}", unfit.check);
            ping::unhealthy(
                env,
                unfit.check,
                &format!("FitnessError: {unfit}"),
                timings.unhealthy_ping,
            )
            .await;
            tracing::error!("Worker is unhealthy, exiting.");
            exit(1);
        }
        let executor = match self.ready_executor(&mut stop).await? {
            Ok(Some(executor)) => executor,
            Ok(None) => return Ok(()),
            Err(Unready { executor, error }) => {
                let reason = format!("{}: {error}", error.code.as_str());
                ping::unhealthy(env, "_model_check", &reason, timings.unhealthy_ping).await;
                Worker::new(env, executor, jobs, options, timings)?
                    .fail_one(&error)
                    .await;
                tracing::error!("Worker is unhealthy, exiting.");
                exit(1);
            }
        };
        let ended = Worker::new(env, executor, jobs, options, timings)?
            .run(stop)
            .await;
        drop(pinger);
        tracing::info!(refreshed = ended == Ended::Refreshed, "worker ended");
        Ok(())
    }

    /// The executor once its engine is ready; none if the worker was told to end first.
    async fn ready_executor(
        &self,
        stop: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<Result<Option<Executor>, Unready>, ScanError> {
        let executor = self.engine.executor().await?;
        let device = executor.device().clone();
        Ok(tokio::select! {
            ready = device.ready() => match ready {
                Ok(_) => Ok(Some(executor)),
                Err(error) => Err(Unready { executor, error }),
            },
            () = stop => Ok(None),
        })
    }
}

/// The engine did not start.
struct Unready {
    executor: Executor,
    error: std::sync::Arc<ScanError>,
}
