//! Logs and metrics. No value of a user, no token and no statement's parameters go into either.

use std::panic;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// Starts logging to stderr; panics are logged by place only, because their text may hold a value.
///
/// # Errors
/// The filter does not parse.
pub fn logs(filter: &str, json: bool) -> anyhow::Result<()> {
    // At its finest it writes out what passes through sockets, tokens among it.
    let filter = EnvFilter::try_new(filter)?.add_directive("tungstenite=info".parse()?);
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let outcome = if json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
    outcome.map_err(|e| anyhow::anyhow!("logging cannot be started: {e}"))?;
    quiet_panics();
    Ok(())
}

fn quiet_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(|l| format!("{}:{}", l.file(), l.line()));
        tracing::error!(place = place.as_deref().unwrap_or("unknown"), "panic");
    }));
}

/// Starts counting; the handle renders the Prometheus text.
///
/// # Errors
/// A recorder is installed already.
pub fn metrics() -> anyhow::Result<PrometheusHandle> {
    let buckets = [
        0.001, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    ];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &buckets)?
        .install_recorder()?;
    Ok(handle)
}
