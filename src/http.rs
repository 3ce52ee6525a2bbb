//! The HTTP service: the job API of RunPod's cloud, direct calls, SageMaker's container contract, and the page.
//!
//! Every route is listed at the end of this file; a handler reads its request, calls one thing, answers.

pub mod auth;
pub mod body;
pub mod direct;
#[cfg(test)]
mod docs;
pub mod edge;
pub mod extract;
pub mod fields;
pub mod foods;
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
mod refusals;
pub mod server;
pub mod state;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, CorsLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use guard::Guard;
pub use listen::ConnectionLimits;
pub use server::{ServeOptions, serve};
pub use state::{App, AppOptions, SharedApp};

/// The whole service.
pub fn router(app: SharedApp) -> Router {
    // The same job API at three places: the cloud's, the cloud's without its version, and the dev server's.
    let jobs = Router::from(job_routes());
    let keyed = Router::from(keyed_routes())
        .nest("/v2/{endpoint}", jobs.clone())
        .nest("/{endpoint}", jobs)
        .layer(from_fn_with_state(app.clone(), auth::require_key))
        .layer(from_fn_with_state(app.clone(), guard::own_pages));
    let mut service = Router::new()
        .merge(keyed)
        .merge(Router::from(open_routes()))
        .merge(openapi::pages())
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

/// The OpenAPI document of a service that has API keys or has none.
pub fn description(has_keys: bool) -> utoipa::openapi::OpenApi {
    openapi::describe(
        open_routes().into_openapi(),
        keyed_routes().into_openapi(),
        has_keys,
    )
}

/// What anybody may ask.
fn open_routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::default()
        .routes(routes!(page::page))
        .routes(routes!(openapi::document))
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::ping))
}

/// What needs a key, if there are any.
fn keyed_routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::default()
        .routes(routes!(direct::scan))
        .routes(routes!(direct::invocations))
        .routes(routes!(direct::recompute))
        .routes(routes!(foods::foods))
        .routes(routes!(direct::segment))
        .routes(routes!(direct::depth))
        .routes(routes!(direct::identify))
        .routes(routes!(realtime::realtime))
        .merge(job_routes())
        .routes(routes!(probes::info))
        .routes(routes!(probes::metrics))
}

fn job_routes() -> OpenApiRouter<SharedApp> {
    OpenApiRouter::default()
        .routes(routes!(job_api::run))
        .routes(routes!(job_api::runsync))
        .routes(routes!(job_api::status))
        .routes(routes!(job_api::status_sync))
        .routes(routes!(job_api::stream))
        .routes(routes!(job_api::cancel))
        .routes(routes!(job_api::retry))
        .routes(routes!(job_api::purge_queue))
        .routes(routes!(job_api::health))
}
