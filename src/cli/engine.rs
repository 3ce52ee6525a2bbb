//! Which engine a service runs, and where photos come from.

use std::sync::Arc;
use std::time::Duration;

use dragunov_models::device::DeviceChoice;
use serde_json::{Value, json};
use tokio::signal::unix::Signal;

use super::choose::ModelArgs;
use crate::config::QueueArgs;
use crate::contract::{ErrorCode, ScanError};
use crate::food_store::FoodStore;
use crate::intake::{Intake, IntakeConfig, RequestLimits};
use crate::runtime::{Device, EngineFactory, Executor, NoModels, StubEngine};
use crate::s3::{Buckets, S3Config, S3Keys};

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
    /// Address S3 objects as `endpoint/bucket/key`: for MinIO and the like. The endpoint comes from `AWS_ENDPOINT_URL`,
    /// the keys from where the AWS tools find them.
    #[arg(long, env = "DRAGUNOV_S3_PATH_STYLE")]
    s3_path_style: bool,
    /// Buckets that photos may be read from, beside the result bucket; without the flag any that the service's own keys
    /// reach, with an empty list no other.
    #[arg(
        long,
        env = "DRAGUNOV_S3_BUCKETS",
        value_delimiter = ',',
        value_name = "BUCKETS"
    )]
    s3_buckets: Option<Vec<String>>,
    /// Development only: photos and jobs' own buckets may be in private networks, over plain http, on any port.
    #[arg(long, env = "DRAGUNOV_ALLOW_PRIVATE_URLS")]
    allow_private_urls: bool,
    /// How often --foods is read again: a changed row is used by the next scan after it.
    #[arg(long, env = "DRAGUNOV_FOODS_REFRESH", default_value = "30s", value_name = "TIME",
        value_parser = humantime::parse_duration)]
    foods_refresh: Duration,
    /// Hints of one request; each with a point or box costs a mask.
    #[arg(long, env = "DRAGUNOV_MAX_HINTS", default_value_t = 64, value_name = "N",
        value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(0..=1000))]
    max_hints: usize,
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
    pub(super) fn factory(&self, foods: FoodStore) -> Result<EngineFactory, ScanError> {
        match self.engine {
            EngineKind::Stub => Ok(StubEngine::factory(self.stub_latency)),
            EngineKind::Models => Ok(self.choose.factory(foods)),
        }
    }

    /// What is in force, with nothing loaded and no secret.
    ///
    /// # Errors
    /// What is wrong with the set, the device or the result bucket.
    pub(super) fn check(&self) -> Result<Value, ScanError> {
        let models = match self.engine {
            EngineKind::Stub => "stub".to_owned(),
            EngineKind::Models => self.choose.check()?,
        };
        let (own, _) = self.buckets()?;
        let foods = self.choose.foods.read()?.current();
        Ok(json!({
            "foods": foods.info,
            "foods_warning": foods.warning.map(|w| w.message),
            "models": models,
            "device": self.choose.device.to_string(),
            "queue": self.queue.queue,
            "photos_ahead": self.queue.photos_ahead(),
            "photo_memory_mib": self.queue.photo_memory_mib,
            "batch": self.queue.batch,
            "s3_path_style": self.s3_path_style,
            "s3_buckets": self.readable(own.as_ref()),
            "result_bucket": own.map(|keys| keys.bucket()),
            "allow_private_urls": self.allow_private_urls,
        }))
    }

    fn buckets(&self) -> Result<(Option<S3Keys>, Buckets), ScanError> {
        let own = S3Keys::from_env(|name| std::env::var(name).ok())?;
        let buckets = Buckets::new(own.as_ref(), self.allow_private_urls)?;
        Ok((own, buckets))
    }

    /// Buckets that photos may be read from; none: any.
    fn readable(&self, own: Option<&S3Keys>) -> Option<Vec<String>> {
        let named = self
            .s3_buckets
            .as_ref()?
            .iter()
            .map(|name| name.trim().to_owned());
        let own = own.map(S3Keys::bucket);
        Some(named.filter(|name| !name.is_empty()).chain(own).collect())
    }

    fn intake(&self, own: Option<&S3Keys>) -> IntakeConfig {
        let s3 = S3Config {
            force_path_style: self.s3_path_style,
            buckets: self.readable(own),
            ..S3Config::default()
        };
        IntakeConfig {
            s3,
            allow_private_urls: self.allow_private_urls,
            request: RequestLimits {
                hints: self.max_hints,
            },
            memory_bytes: self.queue.photo_memory_mib << 20,
            ..IntakeConfig::default()
        }
    }

    /// Starts the device's thread and puts an executor in front of it.
    ///
    /// # Errors
    /// `config_invalid` for a result bucket that is half configured or a food table that cannot be read; if the system
    /// gives no thread.
    pub(super) async fn executor(&self) -> Result<Executor, ScanError> {
        let (own, buckets) = self.buckets()?;
        let foods = self.choose.foods.watch(self.foods_refresh).await?;
        // A set that cannot be opened is a failure of loading, told where such failures are told.
        let (args, of_engine) = (self.clone(), foods.clone());
        let factory: EngineFactory = Arc::new(move || (args.factory(of_engine.clone())?)());
        let device = Device::start(factory, self.queue.device()).map_err(no_thread)?;
        Ok(Executor::new(
            device,
            Intake::new(self.intake(own.as_ref())),
            buckets,
            self.queue.photos_ahead(),
        )
        .with_foods(foods)
        .takes_scripts(self.engine == EngineKind::Stub))
    }

    /// An executor that looks at no photo: no weights are opened and no device.
    ///
    /// # Errors
    /// As [`Self::executor`].
    pub(super) async fn executor_without_models(&self) -> Result<Executor, ScanError> {
        let (own, buckets) = self.buckets()?;
        let foods = self.choose.foods.watch(self.foods_refresh).await?;
        let device =
            Device::start(NoModels::factory(foods.clone()), self.queue.device()).map_err(no_thread)?;
        let intake = Intake::new(self.intake(own.as_ref()));
        Ok(Executor::new(device, intake, buckets, self.queue.photos_ahead())
            .with_foods(foods)
            .takes_photos(false))
    }

    /// The GPU that the models are to run on.
    pub(super) fn gpu(&self) -> Option<usize> {
        match (self.engine, self.choose.device) {
            (EngineKind::Models, DeviceChoice::Cuda(ordinal)) => Some(ordinal),
            _ => None,
        }
    }
}

fn no_thread(error: std::io::Error) -> ScanError {
    ScanError::new(ErrorCode::Internal, "no thread for the device").source(error)
}

/// The async side of a service: two threads are enough, the work is on the device's own.
pub(super) fn tokio_runtime() -> Result<tokio::runtime::Runtime, ScanError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| ScanError::new(ErrorCode::Internal, "no threads for the service").source(e))
}

/// Resolves at the first SIGTERM or SIGINT from this call on; the second ends the process at once. Call it inside a runtime, before
/// any job is taken: a signal that nobody waits for yet would end the process as if it had crashed.
pub(super) fn stop_signal() -> impl Future<Output = ()> + Send {
    use tokio::signal::unix::{SignalKind, signal};
    caught(signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
}

async fn caught(term: std::io::Result<Signal>, int: std::io::Result<Signal>) {
    let (Ok(mut term), Ok(mut int)) = (term, int) else {
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
