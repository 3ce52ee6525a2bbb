//! What happens around every request, in one layer, because each costs every request an allocation and a copy of all that
//! lie below it: an id, a place among those under way, an end in time, the common shape of refusals, metrics and a line.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use tracing::Instrument;

use super::App;
use crate::edge;
use crate::problem::{Code, Problem};

pub(super) async fn around(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = edge::request_id(&request);
    let method = edge::method_label(request.method());
    // Never the raw path: it holds ids.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let span = tracing::info_span!("request", request_id = id, method, route);
    let mut response = answered(&app, request, next).instrument(span.clone()).await;
    let problem = response.extensions_mut().remove::<Problem>();
    edge::finish(&mut response, problem.as_ref(), &id);
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    app.meters.note(route, method, status, took);
    span.in_scope(|| {
        let code = problem.as_ref().map_or("", |p| p.code.as_str());
        tracing::info!(status, code, ms = took.as_secs_f64() * 1e3, "answered");
    });
    response
}

/// Bounds the requests under way, and each one's time. Probes always pass.
async fn answered(app: &App, request: Request, next: Next) -> Response {
    let probe = matches!(request.uri().path(), "/livez" | "/readyz" | "/metrics");
    let place = app.in_flight.try_acquire();
    if place.is_err() && !probe {
        return Problem::new(Code::Overloaded, "too many requests are under way").into_response();
    }
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(app.limits.request_time, answer).await {
        Ok(Ok(response)) => edge::in_common_shape(response),
        // Without its text, which may hold values.
        Ok(Err(_)) => {
            tracing::error!("a request handler panicked");
            Problem::new(Code::Internal, "the service failed in an unforeseen way").into_response()
        }
        Err(_) => Problem::new(Code::Timeout, "the request took too long").into_response(),
    }
}
