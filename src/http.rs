//! The HTTP service: the job API of RunPod's cloud, direct calls, SageMaker's container contract, and the page.
//!
//! Every route is listed in [`router`]; a handler reads its request, calls one thing, answers.

pub mod auth;
pub mod body;
pub mod direct;
pub mod edge;
pub mod extract;
pub mod fields;
pub mod guard;
mod idle;
pub mod job_api;
pub mod listen;
pub mod multipart;
pub mod openapi;
pub mod page;
pub mod probes;
pub mod problem;
pub mod realtime;
pub mod server;
pub mod state;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, CorsLayer};

pub use guard::Guard;
pub use listen::ConnectionLimits;
pub use server::{ServeOptions, serve};
pub use state::{App, AppOptions, SharedApp};

/// The whole service.
pub fn router(app: SharedApp) -> Router {
    // The same job API at three places: the cloud's, the cloud's without its version, and the dev server's.
    let jobs = job_api_routes();
    let api = Router::new()
        .merge(jobs.clone())
        .nest("/v2/{endpoint}", jobs.clone())
        .nest("/{endpoint}", jobs)
        .merge(direct_routes())
        .route("/{endpoint}/realtime", post(realtime::realtime))
        .route("/info", get(probes::info))
        .route("/metrics", get(probes::metrics))
        .layer(from_fn_with_state(app.clone(), auth::require_key))
        .layer(from_fn_with_state(app.clone(), guard::own_pages));
    let open = Router::new()
        .route("/", get(page::page))
        .route("/livez", get(probes::livez))
        .route("/readyz", get(probes::readyz))
        .route("/ping", get(probes::ping))
        .merge(openapi::routes());
    let mut service = Router::new()
        .merge(api)
        .merge(open)
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(CompressionLayer::new());
    if !app.options.cors_origins.is_empty() {
        service = service.layer(
            CorsLayer::new()
                .allow_origin(app.options.cors_origins.clone())
                .allow_methods(AllowMethods::mirror_request())
                .allow_headers(AllowHeaders::mirror_request()),
        );
    }
    service
        .layer(CatchPanicLayer::custom(problem::from_panic))
        .layer(from_fn(edge::observe))
        .with_state(app)
}

fn job_api_routes() -> Router<SharedApp> {
    Router::new()
        .route("/run", post(job_api::run))
        .route("/runsync", post(job_api::runsync))
        .route("/status/{id}", get(job_api::status).post(job_api::status))
        .route(
            "/status-sync/{id}",
            get(job_api::status_sync).post(job_api::status_sync),
        )
        .route("/stream/{id}", get(job_api::stream).post(job_api::stream))
        .route("/cancel/{id}", post(job_api::cancel))
        .route("/retry/{id}", post(job_api::retry))
        .route("/purge-queue", post(job_api::purge_queue))
        .route("/health", get(job_api::health))
}

fn direct_routes() -> Router<SharedApp> {
    Router::new()
        .route("/v1/scan", post(direct::scan))
        .route("/v1/segment", post(direct::segment))
        .route("/v1/depth", post(direct::depth))
        .route("/v1/identify", post(direct::identify))
        .route("/invocations", post(direct::scan))
}
