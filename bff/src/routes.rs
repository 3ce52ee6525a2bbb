//! Every path of the service. A handler reads its request, calls one thing, answers; OpenAPI comes from the same list.

pub mod app;
mod around;
mod behind_gateway;
pub mod body;
mod caller;
mod consents;
mod consume;
mod dashboard;
mod describe;
mod devices;
mod diary;
mod energy;
mod etag;
mod export;
mod food_logs;
mod hooks;
mod idempotent;
mod leftovers;
mod me;
pub mod openapi;
mod pantry;
mod plan;
pub mod probes;
mod profile;
mod query;
mod resource;
mod restaurant;
mod scans;
mod socket;
mod sync;
mod ws;

pub use app::{App, Hooks, Limits};
pub use behind_gateway::on_message;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};
use tower_http::cors::{AllowHeaders, AllowMethods, CorsLayer, ExposeHeaders};
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::edge;
use crate::store::food_logs::FoodLog;
use crate::store::leftovers::Leftover;
use crate::store::pantry::PantryItem;

/// Bytes of an ordinary JSON body.
const BODY_BYTES: usize = 64 << 10;

/// Paths that need a token, all but sync.
fn user_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(me::account, me::erase))
        .routes(routes!(me::erasure))
        .routes(routes!(export::export))
        .routes(routes!(profile::read, profile::change))
        .routes(routes!(consents::list, consents::add))
        .merge(resource::edited::<PantryItem>())
        .merge(resource::edited::<Leftover>())
        .routes(routes!(consume::consume))
        .merge(resource::edited::<FoodLog>())
        .routes(routes!(scans::list, scans::add))
        .routes(routes!(scans::read, scans::change))
        .routes(routes!(scans::sign))
        .routes(routes!(scans::uploaded))
        .routes(routes!(scans::follow))
        .routes(routes!(scans::picture))
        .routes(routes!(scans::confirm))
        .routes(routes!(scans::reject))
        .routes(routes!(scans::reanalyse))
        .routes(routes!(plan::read))
        .routes(routes!(plan::accept))
        .routes(routes!(plan::reject))
        .routes(routes!(diary::read))
        .routes(routes!(dashboard::state))
        .routes(routes!(energy::read))
        .routes(routes!(energy::feel))
        .routes(routes!(devices::list, devices::register))
        .routes(routes!(devices::forget))
        .routes(routes!(restaurant::menu))
        .routes(routes!(sync::cursor))
        .routes(routes!(sync::sources))
        .routes(routes!(sync::forget))
        .layer(DefaultBodyLimit::max(BODY_BYTES))
}

/// Paths whose bodies may be large and packed: a limit on the wire, and one on what is unpacked.
fn sync_routes(limits: &Limits) -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(sync::batch))
        .routes(routes!(sync::adapter))
        .layer(DefaultBodyLimit::max(limits.sync_body_bytes))
        .layer(RequestDecompressionLayer::new())
        .layer(RequestBodyLimitLayer::new(limits.sync_wire_bytes))
}

/// Paths that other machines call.
fn hook_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(hooks::webhook))
        .layer(DefaultBodyLimit::max(hooks::CALL_BYTES))
        .merge(
            OpenApiRouter::default()
                .routes(routes!(hooks::storage_event))
                .layer(DefaultBodyLimit::max(1 << 20)),
        )
}

fn open_routes() -> OpenApiRouter<Arc<App>> {
    OpenApiRouter::default()
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::metrics))
}

/// All paths and their description.
pub fn api(limits: &Limits) -> (Router<Arc<App>>, utoipa::openapi::OpenApi) {
    let (paths, description) = OpenApiRouter::with_openapi(openapi::ApiDoc::openapi())
        .merge(user_routes())
        .merge(sync_routes(limits))
        .merge(hook_routes())
        .merge(open_routes())
        .split_for_parts();
    (paths, openapi::with_common_answers(description))
}

/// The whole service.
pub fn router(app: Arc<App>) -> Router {
    let (paths, description) = api(&app.limits);
    let text: Arc<str> = description.to_json().unwrap_or_default().into();
    let pages = utoipa_swagger_ui::SwaggerUi::new("/docs")
        .config(utoipa_swagger_ui::Config::from("/openapi.json").validator_url("none"));
    let beside = app.beside.clone().unwrap_or_default();
    let mut service = paths
        .route(
            "/openapi.json",
            get(move || async move { ([("content-type", "application/json")], text.to_string()) }),
        )
        .route("/ws", get(ws::open))
        .merge(beside.with_state::<Arc<App>>(()))
        .merge(Router::<Arc<App>>::from(pages))
        .fallback(edge::no_such_path)
        .method_not_allowed_fallback(edge::wrong_method)
        // Answers are small; under a kilobyte packing costs more than it saves.
        .layer(
            CompressionLayer::new().compress_when(
                SizeAbove::new(1024)
                    .and(NotForContentType::new("application/zip"))
                    .and(NotForContentType::SSE),
            ),
        )
        .layer(from_fn_with_state(app.clone(), around::around));
    if !app.cors_origins.is_empty() {
        service = service.layer(
            CorsLayer::new()
                .allow_origin(app.cors_origins.clone())
                .allow_methods(AllowMethods::mirror_request())
                .allow_headers(AllowHeaders::mirror_request())
                .expose_headers(ExposeHeaders::list(
                    ["etag", "retry-after", "idempotency-replayed", "x-request-id"]
                        .map(axum::http::HeaderName::from_static),
                )),
        );
    }
    service.with_state(app)
}
