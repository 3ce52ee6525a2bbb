//! The log, and traces where a collector is configured.

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::runpod_format::{JobIds, RunpodFormat};

/// Crates that write headers, keys or signed addresses at their lowest levels: they stay at INFO unless they are named.
const QUIET: &str = "aws_config=info,aws_runtime=info,aws_sdk_s3=info,aws_sigv4=info,aws_smithy_http_client=info,\
                     aws_smithy_runtime=info,aws_smithy_runtime_api=info,h2=info,hyper=info,hyper_util=info,\
                     opentelemetry=info,opentelemetry_sdk=info,opentelemetry_otlp=info,opentelemetry_http=info,\
                     reqwest=info,rustls=info,sqlx=info,tower_http=info";

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people, on stderr.
    Text,
    /// One JSON object a line, on stderr.
    Json,
    /// What RunPod's console reads, on stdout.
    #[value(skip)]
    Runpod { json: bool, whole: bool },
}

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log level is not understood: {0}")]
    Level(#[from] ParseError),
    #[error("the trace exporter could not be set up: {0}")]
    Exporter(#[from] opentelemetry_otlp::ExporterBuildError),
    #[error("a log is installed already: {0}")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// Keeps the exporter alive; flushes it when dropped.
#[derive(Debug)]
#[must_use]
pub struct LogGuard(Option<SdkTracerProvider>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            let _ = provider.shutdown();
        }
    }
}

/// Starts logging. `filter` is a level or a directive list (`info`, `dragunov=debug,axum=warn`). Traces go out when
/// `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
///
/// # Errors
/// [`LogError`].
pub fn init(filter: &str, format: LogFormat) -> Result<LogGuard, LogError> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .parse(format!("{QUIET},{filter}"))?;
    let lines = match format {
        LogFormat::Text => fmt::layer()
            .with_writer(std::io::stderr)
            .with_target(false)
            .boxed(),
        LogFormat::Json => fmt::layer()
            .json()
            .flatten_event(true)
            .with_writer(std::io::stderr)
            .boxed(),
        LogFormat::Runpod { json, whole } => fmt::layer()
            .event_format(RunpodFormat { json, whole })
            .with_writer(std::io::stdout)
            .boxed(),
    };
    let provider = exporter()?;
    let traces = provider
        .as_ref()
        .map(|p| tracing_opentelemetry::layer().with_tracer(p.tracer("dragunov")));
    tracing_subscriber::registry()
        .with(filter)
        .with(JobIds)
        .with(lines)
        .with(traces)
        .try_init()?;
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("unknown");
        tracing::error!(place, "panic: {text}");
    }));
    Ok(LogGuard(provider))
}

/// What a command that answers once and ends has to say beside its answer: warnings, on stderr.
pub fn warnings() {
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .without_time();
    // Whoever called this as a library may listen already.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(LevelFilter::WARN))
        .try_init();
}

fn exporter() -> Result<Option<SdkTracerProvider>, LogError> {
    let set = |key: &str| std::env::var(key).is_ok_and(|v| !v.is_empty());
    if !set("OTEL_EXPORTER_OTLP_ENDPOINT") && !set("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") {
        return Ok(None);
    }
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().build()?;
    let resource = opentelemetry_sdk::Resource::builder()
        .with_service_name("dragunov")
        .build();
    Ok(Some(
        SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build(),
    ))
}
