//! Webhooks (H14, H15): three tries, signed, the whole job.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use dragunov::jobs::webhook::signature;
use serde_json::{Value, json};

use crate::app::TestApp;
use crate::patience::until;

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<(Instant, HeaderMap, Bytes)>>>);

/// Answers 500 until `fail` calls have come.
async fn receiver(fail: usize) -> (String, Seen) {
    let seen = Seen::default();
    let handler = move |State(seen): State<Seen>, headers: HeaderMap, body: Bytes| async move {
        let mut calls = seen.0.lock().unwrap();
        calls.push((Instant::now(), headers, body));
        if calls.len() <= fail {
            StatusCode::INTERNAL_SERVER_ERROR
        } else {
            StatusCode::OK
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let app = axum::Router::new()
        .route("/hook", post(handler))
        .with_state(seen.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, seen)
}

async fn calls(seen: &Seen, n: usize) -> Vec<(Instant, HeaderMap, Bytes)> {
    until("the webhook is called", async || {
        seen.0.lock().unwrap().len() >= n
    })
    .await;
    seen.0.lock().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_tried_again_and_signed() {
    let (url, seen) = receiver(2).await;
    let app = TestApp::with(|k| {
        k.serve.webhooks.pause = Duration::from_millis(200);
        k.serve.webhooks.secret = Some("shared".into());
    })
    .await;
    let job = json!({"input": {"mock_return": {"a": "é"}}, "webhook": url});
    let (_, accepted) = app.post("/run", &job).await;
    let got = calls(&seen, 3).await;
    assert!(got[1].0 - got[0].0 >= Duration::from_millis(190));
    assert_eq!(got[0].2, got[2].2, "every try sends the same bytes");
    let (_, headers, body) = &got[2];
    let id = headers["webhook-id"].to_str().unwrap();
    assert_eq!(id, accepted["id"]);
    let stamp = headers["webhook-timestamp"].to_str().unwrap().parse().unwrap();
    assert_eq!(
        headers["webhook-signature"],
        signature(&"shared".into(), id, stamp, body).as_str()
    );
    let told: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(told["status"], "COMPLETED");
    assert_eq!(told["output"], json!({"a": "é"}));
    assert_eq!(told["input"], json!({"mock_return": {"a": "é"}}));
    assert_eq!(told["webhook"], url.as_str());
    assert!(told["executionTime"].is_u64());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        seen.0.lock().unwrap().len(),
        3,
        "a delivered webhook is left alone"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_told_too_and_tries_end() {
    let (url, seen) = receiver(usize::MAX).await;
    let app = TestApp::with(|k| k.serve.webhooks.pause = Duration::from_millis(20)).await;
    app.post("/run", &json!({"input": {"mock_error": "soft"}, "webhook": url}))
        .await;
    let got = calls(&seen, 3).await;
    let told: Value = serde_json::from_slice(&got[0].2).unwrap();
    assert_eq!(
        (&told["status"], &told["error"]),
        (&json!("FAILED"), &json!("soft"))
    );
    assert!(!got[0].1.contains_key("webhook-signature"));
    tokio::time::sleep(Duration::from_millis(150)).await;
    assert_eq!(seen.0.lock().unwrap().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_service_sends_to_named_https_hosts_only() {
    let app = TestApp::with(|k| k.app.private_webhooks = false).await;
    for url in [
        "http://example.com/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest",
    ] {
        let (status, body) = app.post("/run", &json!({"input": {}, "webhook": url})).await;
        assert_eq!(status, 400, "{url}: {body}");
    }
}

/// A name that leads into this network is not called: no connection is even opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_of_a_private_address_is_not_called() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = TestApp::with(|k| {
        k.app.private_webhooks = false;
        k.serve.webhooks.pause = Duration::from_millis(10);
    })
    .await;
    let job = json!({"input": {"mock_return": 1}, "webhook": format!("https://localhost:{port}/")});
    let (_, accepted) = app.post("/run", &job).await;
    app.ended(accepted["id"].as_str().unwrap()).await;
    let connection = tokio::time::timeout(Duration::from_millis(400), listener.accept()).await;
    assert!(connection.is_err(), "a connection was opened");
}
