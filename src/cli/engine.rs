//! Which engine a service runs, and where photos come from.

use std::sync::Arc;
use std::time::Duration;

use crate::config::QueueArgs;
use crate::contract::{ErrorCode, ScanError};
use crate::runtime::{Device, EngineFactory, Executor, InlineIntake, Intake, StubEngine};

/// Flags of the engine.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct EngineArgs {
    /// Checkpoint set by name, or a folder with `sam`, `depth` and `vlm` in the Hugging Face layout.
    #[arg(
        long,
        value_name = "SET|DIR",
        env = "DRAGUNOV_MODELS",
        default_value = "plate-tiny"
    )]
    pub(super) models: String,
    /// `cpu` or `cuda:N`.
    #[arg(long, env = "DRAGUNOV_DEVICE", default_value = "cpu")]
    pub(super) device: String,
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
            EngineKind::Models => Err(ScanError::new(
                ErrorCode::DeviceUnavailable,
                format!(
                    "cannot run {:?} on {:?}: no pipeline in this build",
                    self.models, self.device
                ),
            )),
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
        let intake: Arc<dyn Intake> = Arc::new(InlineIntake);
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
