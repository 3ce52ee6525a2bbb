//! What orchestrators and dashboards ask.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::SharedApp;
use super::problem::Problem;
use super::refusals::{OfReadiness, OfSwitch};
use crate::contract::ErrorCode;
use crate::runtime::{EngineInfo, EngineState, memory};
use crate::telemetry::names;

/// The process answers.
#[utoipa::path(get, path = "/livez", tag = "probes",
    responses((status = 200, description = "alive", body = String, content_type = "text/plain")))]
pub async fn livez() -> &'static str {
    "ok\n"
}

/// Loaded, warmed up and not draining.
#[utoipa::path(get, path = "/readyz", tag = "probes",
    responses((status = 200, description = "send work", body = String, content_type = "text/plain"), OfReadiness))]
pub async fn readyz(State(app): State<SharedApp>) -> Response {
    match not_ready(&app) {
        None => "ok\n".into_response(),
        Some(why) => Problem::new(ErrorCode::Draining, why).into_response(),
    }
}

/// 200 ready, 204 still loading, 503 never or no more: RunPod's load balancer and SageMaker ask this.
#[utoipa::path(get, path = "/ping", tag = "probes",
    responses((status = 200, description = "ready"), (status = 204, description = "loading"),
              (status = 503, description = "failed, or shutting down; no body")))]
pub async fn ping(State(app): State<SharedApp>) -> StatusCode {
    match app.executor.device().state() {
        _ if app.is_draining() || !app.store.is_well() => StatusCode::SERVICE_UNAVAILABLE,
        EngineState::Ready(_) => StatusCode::OK,
        EngineState::Loading | EngineState::WarmingUp => StatusCode::NO_CONTENT,
        EngineState::Failed(_) | EngineState::Lost(_) | EngineState::Stopped => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

/// What runs here.
#[derive(Debug, Serialize, ToSchema)]
pub struct Info {
    pub version: &'static str,
    /// Null while the models are being loaded.
    pub engine: Option<EngineInfo>,
    /// Whether accepted jobs outlive the process.
    pub durable_jobs: bool,
    pub memory: InfoMemory,
    pub limits: InfoLimits,
}

/// Bytes of main memory; null where the system does not tell.
#[derive(Debug, Serialize, ToSchema)]
pub struct InfoMemory {
    pub resident_bytes: Option<u64>,
    pub peak_resident_bytes: Option<u64>,
    pub total_bytes: Option<u64>,
    /// Pixels of the photos on the device and ahead of it, if all are as large as allowed.
    pub photos_at_most_bytes: u64,
    /// Inputs and outputs of jobs.
    pub jobs_at_most_bytes: usize,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct InfoLimits {
    /// Direct calls that may wait for the device.
    pub queue: usize,
    pub run_body_bytes: usize,
    pub runsync_body_bytes: usize,
    pub direct_body_bytes: usize,
    /// A direct call, waiting included.
    pub direct_time_s: u64,
}

/// Models, device, limits.
#[utoipa::path(get, path = "/info", tag = "probes",
    responses((status = 200, description = "models, device, limits", body = Info)))]
pub async fn info(State(app): State<SharedApp>) -> Json<Info> {
    let device = app.executor.device();
    Json(Info {
        version: env!("CARGO_PKG_VERSION"),
        engine: device.info().as_deref().cloned(),
        durable_jobs: app.store.is_durable(),
        memory: InfoMemory {
            resident_bytes: memory::resident(),
            peak_resident_bytes: memory::peak_resident(),
            total_bytes: memory::total(),
            photos_at_most_bytes: app.executor.intake().config().memory_bytes,
            jobs_at_most_bytes: app.store.limits().bytes,
        },
        limits: InfoLimits {
            queue: device.queue_limit(),
            run_body_bytes: app.options.run_body,
            runsync_body_bytes: app.options.runsync_body,
            direct_body_bytes: app.options.direct_body,
            direct_time_s: app.options.direct_time.as_secs(),
        },
    })
}

/// Prometheus text.
#[utoipa::path(get, path = "/metrics", tag = "probes",
    responses((status = 200, description = "Prometheus text", body = String, content_type = "text/plain"), OfSwitch))]
pub async fn metrics(State(app): State<SharedApp>) -> Result<Response, Problem> {
    let handle = app
        .metrics
        .as_ref()
        .ok_or_else(|| Problem::new(ErrorCode::NotFound, "metrics are off"))?;
    if let Some(bytes) = memory::resident() {
        metrics::gauge!(names::RESIDENT).set(bytes as f64);
    }
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    Ok((kind, handle.render()).into_response())
}

fn not_ready(app: &SharedApp) -> Option<&'static str> {
    match app.executor.device().state() {
        _ if app.is_draining() => Some("this instance is shutting down"),
        EngineState::Ready(_) if !app.store.is_well() => Some("accepted jobs cannot be written to disk"),
        EngineState::Ready(_) => None,
        EngineState::Loading => Some("the models are being loaded"),
        EngineState::WarmingUp => Some("the models are being warmed up"),
        EngineState::Failed(_) => Some("the engine did not start"),
        EngineState::Lost(_) => Some("the device is lost; this instance stops"),
        EngineState::Stopped => Some("the engine has stopped"),
    }
}
