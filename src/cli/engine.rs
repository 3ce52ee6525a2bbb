//! Which engine a service runs, and where photos come from.

use std::sync::Arc;
use std::time::Duration;

use super::choose::ModelArgs;
use crate::config::QueueArgs;
use crate::contract::{ErrorCode, ScanError};
use crate::intake::{IntakeConfig, S3Config};
use crate::runtime::{Device, EngineFactory, Executor, InlineIntake, Intake, StubEngine};

/// Flags of the engine.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct EngineArgs {
    #[command(flatten)]
    pub(super) choose: ModelArgs,
    /// `models`, or `stub` for load tests: made-up answers and scripted jobs.
    #[arg(
        long,
        env = "DRAGUNOV_ENGINE",
        default_value = "models",
        hide = true,
        value_enum
    )]
    pub(super) engine: EngineKind,
    /// Time a scan of the stub takes.
    #[arg(long, default_value = "0ms", hide = true, value_parser = humantime::parse_duration)]
    pub(super) stub_latency: Duration,
    /// Address S3 objects as `endpoint/bucket/key`: for MinIO and the like. The endpoint comes from `AWS_ENDPOINT_URL`.
    #[arg(long, env = "DRAGUNOV_S3_PATH_STYLE")]
    s3_path_style: bool,
    #[command(flatten)]
    pub(super) queue: QueueArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum EngineKind {
    Models,
    Stub,
}

impl EngineArgs {
    /// # Errors
    /// What is wrong with the set or the device, before anything is loaded.
    pub(super) fn factory(&self) -> Result<EngineFactory, ScanError> {
        match self.engine {
            EngineKind::Stub => Ok(StubEngine::factory(self.stub_latency)),
            EngineKind::Models => Ok(self.choose.factory()),
        }
    }

    fn intake(&self) -> IntakeConfig {
        let s3 = S3Config {
            force_path_style: self.s3_path_style,
            ..S3Config::default()
        };
        IntakeConfig {
            s3,
            ..IntakeConfig::default()
        }
    }

    /// Starts the device's thread and puts an executor in front of it.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(super) fn executor(&self) -> Result<Executor, ScanError> {
        // A set that cannot be opened is a failure of loading, told where such failures are told.
        let args = self.clone();
        let factory: EngineFactory = Arc::new(move || (args.factory()?)());
        let device = Device::start(factory, self.queue.device())
            .map_err(|e| ScanError::new(ErrorCode::Internal, "no thread for the device").source(e))?;
        let intake: Arc<dyn Intake> = match self.engine {
            EngineKind::Stub => Arc::new(InlineIntake),
            EngineKind::Models => Arc::new(crate::intake::Intake::new(self.intake())),
        };
        Ok(Executor::new(device, intake, self.queue.fetches).takes_scripts(self.engine == EngineKind::Stub))
    }
}

/// The async side of a service: two threads are enough, the work is on the device's own.
pub(super) fn tokio_runtime() -> Result<tokio::runtime::Runtime, ScanError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| ScanError::new(ErrorCode::Internal, "no threads for the service").source(e))
}

/// Resolves at the first SIGTERM or SIGINT; the second ends the process at once.
pub(super) async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be caught; the process will not drain");
        return std::future::pending().await;
    };
    let name = tokio::select! { _ = term.recv() => "SIGTERM", _ = int.recv() => "SIGINT" };
    tracing::info!("{name}");
    tokio::spawn(async move {
        let code = tokio::select! { _ = term.recv() => 143, _ = int.recv() => 130 };
        std::process::exit(code);
    });
}
