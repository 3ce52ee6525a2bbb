//! The API's own description, and a page to try it.

use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use utoipa::{OpenApi, ToSchema};

use super::{SharedApp, direct, job_api, probes, realtime};
use crate::contract;

/// Body of `/run` and `/runsync`.
#[derive(Debug, ToSchema)]
#[schema(as = JobRequest)]
pub struct JobRequest {
    /// A scan request, or with `"task": "segment" | "depth" | "identify"` a call of one model.
    pub input: contract::ScanRequest,
    /// Called when the job has ended.
    pub webhook: Option<String>,
    pub policy: Option<crate::jobs::Policy>,
}

/// How a job stands. Keys without a value are left out.
#[derive(Debug, ToSchema)]
#[schema(as = JobView)]
pub struct JobView {
    pub id: String,
    pub status: crate::jobs::Status,
    /// The result, or the latest progress while the job runs.
    pub output: Option<Value>,
    /// JSON as text: `error_type` is the stable code, `error_message`, `next_step`, `retryable`.
    pub error: Option<String>,
    /// Milliseconds in the queue.
    #[schema(rename = "delayTime")]
    pub delay_time: Option<u64>,
    /// Milliseconds on the device.
    #[schema(rename = "executionTime")]
    pub execution_time: Option<u64>,
    #[schema(rename = "workerId")]
    pub worker_id: Option<String>,
}

/// New elements of a job's stream.
#[derive(Debug, ToSchema)]
#[schema(as = JobStream)]
pub struct JobStream {
    pub id: String,
    pub status: crate::jobs::Status,
    /// `{"output": ...}` each.
    pub stream: Vec<Value>,
}

/// Body of a one-model call; other keys are the model's own.
#[derive(Debug, ToSchema)]
#[schema(as = ModelCall)]
pub struct ModelCall {
    pub image: contract::request::ImageSource,
}

/// RFC 9457, with the service's own code.
#[derive(Debug, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemDoc {
    /// Stable; part of the API.
    pub code: String,
    pub title: String,
    pub status: u16,
    pub detail: String,
    pub next_step: Option<String>,
    /// `client`, `service` or `upstream`.
    pub fault: String,
    pub retryable: bool,
    pub request_id: String,
}

#[derive(Debug, OpenApi)]
#[openapi(
    info(title = "dragunov", description = "Meal photo in; volume, grams, kcal and macros out, with intervals. \
        The job API is also served under /v2/{endpoint}/ and /{endpoint}/."),
    paths(
        job_api::run, job_api::runsync, job_api::status, job_api::status_sync, job_api::stream, job_api::cancel,
        job_api::retry, job_api::purge_queue, job_api::health, realtime::realtime,
        direct::scan, direct::segment, direct::depth, direct::identify,
        probes::livez, probes::readyz, probes::ping, probes::info, probes::metrics,
    ),
    modifiers(&BearerKey)
)]
pub struct ApiDoc;

struct BearerKey;

impl utoipa::Modify for BearerKey {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
        let scheme = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        api.components
            .get_or_insert_default()
            .add_security_scheme("key", scheme);
        api.security = Some(vec![SecurityRequirement::new("key", Vec::<String>::new())]);
    }
}

/// The page's own files only, and calls of this service only; its styles are written into it.
async fn keep_to_itself(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
        img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

pub(super) fn routes() -> Router<SharedApp> {
    let pages = utoipa_swagger_ui::SwaggerUi::new("/docs")
        .config(utoipa_swagger_ui::Config::from("/openapi.json").validator_url("none"));
    Router::new()
        .route("/openapi.json", get(|| async { Json(ApiDoc::openapi()) }))
        .merge(Router::<SharedApp>::from(pages).layer(map_response(keep_to_itself)))
}
