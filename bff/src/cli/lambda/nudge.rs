//! A function is frozen as soon as it has answered, so nothing relays what it has written to the outbox. After each request
//! that may have written something the worker is told to look; its schedule is the net.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use serde_json::json;

use crate::queue::{Outgoing, Queue};

pub(super) fn after_writes(router: Router, queue: Arc<dyn Queue>) -> Router {
    router.layer(from_fn_with_state(queue, look))
}

async fn look(State(queue): State<Arc<dyn Queue>>, request: Request, next: Next) -> Response {
    // A look at a menu may ask for one.
    let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && !request.uri().path().starts_with("/bff/restaurant/");
    let response = next.run(request).await;
    if !reads && response.status().is_success() {
        nudge(&*queue).await;
    }
    response
}

/// Asks the worker to relay the outbox. A queue that is away costs time only.
pub(super) async fn nudge(queue: &dyn Queue) {
    let look = Outgoing {
        body: json!({ "relay": true }),
        dedup_key: None,
        delay: Duration::ZERO,
    };
    if let Err(error) = queue.send(&[look]).await {
        tracing::warn!("the worker was not told to look: {error}");
    }
}
