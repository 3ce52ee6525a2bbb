//! `dragunov worker`

use std::net::{IpAddr, Ipv4Addr};
use std::process::exit;
use std::time::Duration;

use clap::Parser as _;
use clap::error::ContextKind;

use super::engine::{EngineArgs, stop_signal, tokio_runtime};
use super::serve;
use crate::config::{LogArgs, ServeArgs};
use crate::contract::quote::{self, said};
use crate::contract::{ErrorCode, ScanError};
use crate::runtime::Executor;
use crate::telemetry::logs::{self, LogFormat, LogGuard};
use crate::worker::fitness::Fitness;
use crate::worker::inflight::Inflight;
use crate::worker::ping::Pinger;
use crate::worker::refuse::refuse;
use crate::worker::{CannotWork, Ended, Timings, Worker, WorkerEnv, WorkerOptions, env, local};

/// Work for a RunPod serverless endpoint.
///
/// Its addresses, key and id come from the RUNPOD_* variables that the platform sets. Without them it runs one local
/// job, from --test_input or ./test_input.json.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Run this job (`{"input": {...}}`) and end.
    #[arg(long = "test_input", alias = "test-input", value_name = "JSON")]
    test_input: Option<String>,
    /// What the local job's output must be.
    #[arg(long = "test_output", alias = "test-output", value_name = "JSON")]
    test_output: Option<String>,
    /// Jobs in hand at a time; one GPU runs one (or --batch of them), the others have their photos fetched meanwhile.
    #[arg(long, env = "DRAGUNOV_CONCURRENCY", default_value_t = 1, value_name = "N")]
    concurrency: usize,
    /// End after every job, so that each starts on a fresh worker.
    #[arg(long, env = "DRAGUNOV_REFRESH_WORKER")]
    refresh_worker: bool,
    /// Streaming jobs repeat their chunks in the final result.
    #[arg(long, env = "DRAGUNOV_AGGREGATE_STREAM")]
    return_aggregate_stream: bool,
    /// From SIGTERM to the end, for everything: running jobs and their posts. Jobs over it are dropped without a post, for
    /// the platform to give to another worker.
    #[arg(long, env = "DRAGUNOV_DRAIN_TIMEOUT", default_value = "25s", value_parser = humantime::parse_duration)]
    drain_timeout: Duration,
    /// ERROR, WARN, INFO, DEBUG, TRACE or NOTSET; RUNPOD_LOG_LEVEL does the same.
    #[arg(long = "rp_log_level", value_name = "LEVEL")]
    log_level: Option<String>,
    /// Serve the job API over HTTP instead, as `dragunov serve` does.
    #[arg(long = "rp_serve_api")]
    serve_api: bool,
    /// Port of --rp_serve_api.
    #[arg(long = "rp_api_port", default_value_t = 8000, value_name = "PORT")]
    api_port: u16,
    /// Address of --rp_serve_api. One that others can reach needs DRAGUNOV_API_KEY or DRAGUNOV_ALLOW_NO_KEY.
    #[arg(long = "rp_api_host", default_value = "localhost", value_name = "HOST", value_parser = host)]
    api_host: IpAddr,
    /// Taken for the official worker's sake; has no effect.
    #[arg(long = "rp_api_concurrency", hide = true, value_name = "N")]
    api_concurrency: Option<u32>,
    /// Taken for the official worker's sake; has no effect.
    #[arg(long = "rp_debugger", hide = true)]
    debugger: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

fn host(text: &str) -> Result<IpAddr, String> {
    match text {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => text.parse().map_err(|_| "use an IP address or localhost".into()),
    }
}

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn config(error: env::EnvError) -> ScanError {
    ScanError::new(ErrorCode::ConfigInvalid, error.to_string())
}

/// Where the platform looks: JSON lines where there is an endpoint.
fn format(whole: bool) -> LogFormat {
    let json = var("RUNPOD_ENDPOINT_ID").is_some_and(|v| !v.is_empty());
    LogFormat::Runpod { json, whole }
}

fn start_log(filter: &str, whole: bool) -> Result<LogGuard, ScanError> {
    logs::init(filter, format(whole)).map_err(|e| ScanError::new(ErrorCode::ConfigInvalid, e.to_string()))
}

impl Args {
    pub(super) fn run(self) -> Result<(), ScanError> {
        if let Some((address, port, allow_no_key)) = self.local_api()? {
            return self.serve(address, port, allow_no_key);
        }
        let filter = self.filter();
        let env = match &self.test_input {
            Some(_) => None,
            None => WorkerEnv::read(var),
        };
        let Some(env) = env else {
            let _log = start_log(filter?, true)?;
            return self.local();
        };
        // A level that is none must not silence the reason for ending.
        let _log = start_log(filter.as_ref().unwrap_or(&"info"), false)?;
        self.hello();
        // The platform should hear of this worker before anything else begins.
        let jobs = Inflight::default();
        let pinger = Pinger::start(&env, jobs.clone());
        if let Err(error) = &pinger {
            tracing::error!("no thread for pings: {error}");
        }
        // A missing recorder costs the counters only.
        let _ = crate::telemetry::metrics::install();
        let runtime = tokio_runtime().unwrap_or_else(|error| {
            tracing::error!("{}", error.causes());
            exit(1)
        });
        runtime.block_on(async {
            let stop = stop_signal();
            tokio::pin!(stop);
            let checked = filter.map(drop).and_then(|()| env.check().map_err(config));
            let worked = match checked {
                Ok(()) => self.pull(&env, jobs, &mut stop).await,
                Err(error) => Err(CannotWork::config(error)),
            };
            if let Err(why) = worked {
                give_up(&env, &why, stop).await;
            }
        });
        drop(pinger);
        // A thread that hangs, in a name service or a decoder, must not hold up the end.
        runtime.shutdown_timeout(Duration::from_millis(500));
        Ok(())
    }

    fn filter(&self) -> Result<&'static str, ScanError> {
        env::log_filter(|name| match name {
            "RUNPOD_LOG_LEVEL" => self.log_level.clone().or_else(|| var(name)),
            _ => var(name),
        })
        .map_err(config)
    }

    fn hello(&self) {
        tracing::info!("Starting Serverless Worker | {}", crate::runpod::version());
        for flag in self.idle_flags() {
            tracing::warn!("{flag} has no effect here");
        }
    }

    /// Flags that are given and do nothing.
    fn idle_flags(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.debugger, "--rp_debugger"),
            (self.api_concurrency.is_some(), "--rp_api_concurrency"),
        ];
        all.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag)
    }

    fn local(&self) -> Result<(), ScanError> {
        self.hello();
        let dir = std::env::current_dir().unwrap_or_default();
        let (input, output) = (self.test_input.as_deref(), self.test_output.as_deref());
        let runtime = tokio_runtime()?;
        let executor = runtime.block_on(self.engine.executor())?;
        let ok = runtime.block_on(local::run(&executor, input, output, &dir));
        exit(i32::from(!ok))
    }

    /// Where to serve instead of pulling, and whether without a key.
    fn local_api(&self) -> Result<Option<(IpAddr, u16, bool)>, ScanError> {
        if self.serve_api {
            return Ok(Some((self.api_host, self.api_port, false)));
        }
        let port = var("RUNPOD_REALTIME_PORT").filter(|v| !matches!(v.trim(), "" | "0"));
        port.map(|text| {
            let port = text.trim().parse().map_err(|_| {
                let text = said(&text);
                let message = format!("RUNPOD_REALTIME_PORT={text:?}: not a port");
                ScanError::new(ErrorCode::ConfigInvalid, message)
            })?;
            // The platform's own gate asks for the key, and cannot send ours.
            Ok((Ipv4Addr::UNSPECIFIED.into(), port, true))
        })
        .transpose()
    }

    fn serve(self, address: IpAddr, port: u16, allow_no_key: bool) -> Result<(), ScanError> {
        #[derive(clap::Parser)]
        struct FromEnvironment {
            #[command(flatten)]
            serve: ServeArgs,
        }
        let log = LogArgs {
            log: self.filter()?.to_owned(),
            log_format: Some(format(false)),
        };
        let (address, port) = (format!("--host={address}"), format!("--port={port}"));
        let mut serve = FromEnvironment::parse_from(["worker", &address, &port]).serve;
        serve.allow_no_key |= allow_no_key;
        for flag in self.idle_flags() {
            eprintln!("note: {flag} has no effect here");
        }
        serve::Args {
            no_models: false,
            serve,
            engine: self.engine,
            log,
        }
        .run()
    }

    /// Works until told to end.
    async fn pull(
        &self,
        env: &WorkerEnv,
        jobs: Inflight,
        stop: &mut (impl Future<Output = ()> + Unpin),
    ) -> Result<(), CannotWork> {
        let timings = self.timings();
        let options = WorkerOptions {
            concurrency: self.concurrency,
            refresh: self.refresh_worker,
            aggregate: self.return_aggregate_stream,
            ..WorkerOptions::default()
        };
        tracing::info!(
            take = quote::urls(&env.urls.take(1, false)),
            pings = env.id_given,
            stream = env.urls.has_stream(),
            "platform"
        );
        let (fitness, host) = (Fitness::read(var), env.urls.host());
        let fit = tokio::select! {
            fit = fitness.check(self.engine.gpu(), host.as_ref()) => fit,
            () = &mut *stop => return Ok(()),
        };
        fit.map_err(|unfit| {
            tracing::error!("Fitness check failed: {} | {unfit}", unfit.check);
            CannotWork::unfit(unfit)
        })?;
        let start = async {
            let executor = self.engine.executor().await.map_err(CannotWork::config)?;
            ready(&executor).await.map(|()| executor)
        };
        let executor = tokio::select! {
            started = start => started?,
            () = &mut *stop => return Ok(()),
        };
        let worker = Worker::new(env, executor, jobs, options, timings).map_err(CannotWork::config)?;
        let ended = worker.run(stop).await;
        tracing::info!(refreshed = ended == Ended::Refreshed, "worker ended");
        if ended == Ended::DeviceLost {
            tracing::error!("Worker is unhealthy, exiting.");
            exit(1);
        }
        Ok(())
    }

    fn timings(&self) -> Timings {
        Timings {
            drain: self.drain_timeout,
            ..Timings::default()
        }
    }
}

async fn ready(executor: &Executor) -> Result<(), CannotWork> {
    let ready = executor.device().ready().await;
    ready.map(drop).map_err(|error| CannotWork {
        check: "_model_check",
        error,
        tell_one: true,
    })
}

async fn give_up(env: &WorkerEnv, why: &CannotWork, stop: impl Future<Output = ()>) -> ! {
    tracing::error!(code = why.error.code.as_str(), "{}", why.error.causes());
    refuse(env, Timings::default(), why, stop).await;
    tracing::error!("Worker is unhealthy, exiting.");
    exit(1)
}

/// A command line that cannot be read, in a place where nobody sees this process's output: told like everything else
/// that keeps a worker from starting. Returns where it is an ordinary command line.
pub(super) fn unreadable(error: &clap::Error) {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let local = ["--test_input", "--test-input", "--rp_serve_api"];
    let is_local = |arg: &String| local.iter().any(|flag| arg.starts_with(flag));
    if !error.use_stderr() || args.first().is_none_or(|a| a != "worker") || args.iter().any(is_local) {
        return;
    }
    let Some(env) = WorkerEnv::read(var) else {
        return;
    };
    let Ok(_log) = start_log("info", false) else {
        return;
    };
    let part = |kind| error.get(kind).map(ToString::to_string).unwrap_or_default();
    let (arg, value) = (part(ContextKind::InvalidArg), part(ContextKind::InvalidValue));
    let what = error.kind().as_str().unwrap_or("the command line cannot be read");
    let text = format!("{what}: {} {:?}", said(&arg), said(&value));
    let error = ScanError::new(ErrorCode::ConfigInvalid, text)
        .next_step("mend the endpoint's command or DRAGUNOV_ variables");
    let Ok(runtime) = tokio_runtime() else {
        return;
    };
    runtime.block_on(async { give_up(&env, &CannotWork::config(error), stop_signal()).await });
}
