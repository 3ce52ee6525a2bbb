//! OpenTelemetry: traces leave when a collector is configured, and the process does not care if it is away.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use serde_json::json;

use crate::commands::Served;
use crate::patience::until;

#[tokio::test(flavor = "multi_thread")]
async fn spans_reach_the_collector() {
    let got: Arc<Mutex<Vec<u8>>> = Arc::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let take = async |State(got): State<Arc<Mutex<Vec<u8>>>>, body: Bytes| {
        got.lock().unwrap().extend_from_slice(&body);
    };
    let app = axum::Router::new()
        .route("/v1/traces", post(take))
        .with_state(got.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let service = Served::start(&[], &[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let (status, _) = service
        .post("/runsync", &json!({"input": {"mock_return": 1}}))
        .await;
    assert_eq!(status, 200);
    let log = service.stop().await;
    assert!(!log.contains("panic"), "{log}");
    until("spans arrive", async || !got.lock().unwrap().is_empty()).await;
    let spans = String::from_utf8_lossy(&got.lock().unwrap()).into_owned();
    // Protobuf holds its texts as they are.
    for word in ["dragunov", "request", "device", "/runsync", "request_id"] {
        assert!(spans.contains(word), "{word}: {spans:?}");
    }

    let nowhere = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let service = Served::start(&[], &[nowhere]).await;
    let (status, _) = service
        .post("/runsync", &json!({"input": {"mock_return": 1}}))
        .await;
    assert_eq!(status, 200);
    service.stop().await;
}
