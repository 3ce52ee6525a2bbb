//! Keys, probes, drain, metrics, the API's description and the page.

use std::sync::Arc;
use std::time::Duration;

use dragunov::contract::{ErrorCode, ScanError};
use dragunov::jobs::Status;
use dragunov::runtime::EngineFactory;
use serde_json::{Value, json};

use crate::app::{TestApp, read};
use crate::patience::until;

/// H7.
#[tokio::test(flavor = "multi_thread")]
async fn keys_guard_everything_but_probes_and_the_page() {
    let app = TestApp::with(|k| k.app.api_keys = vec!["right-key".into()]).await;
    for path in ["/health", "/status/x", "/v2/e/health", "/metrics", "/info"] {
        let (status, body) = app.get(path).await;
        assert_eq!((status, &body["error"]), (401, &json!("Unauthorized")), "{path}");
    }
    for path in ["/v1/scan", "/run", "/v2/e/runsync", "/invocations"] {
        assert_eq!(app.post(path, &json!({})).await.0, 401, "{path}");
    }
    for path in ["/", "/livez", "/readyz", "/ping", "/openapi.json"] {
        assert_ne!(app.get(path).await.0, 401, "{path}");
    }
    for (header, value, want) in [
        ("authorization", "Bearer right-key", 200),
        ("authorization", "right-key", 200),
        ("x-api-key", "right-key", 200),
        ("authorization", "Bearer wrong-key", 401),
        ("authorization", "Bearer right-key-and-more", 401),
    ] {
        let request = app.http.get(format!("{}/health", app.url)).header(header, value);
        assert_eq!(
            read(request.send().await.unwrap()).await.0,
            want,
            "{header}: {value}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_follows_the_engine() {
    let (loaded, load) = std::sync::mpsc::channel::<()>();
    let load = std::sync::Mutex::new(load);
    let slow: EngineFactory = Arc::new(move || {
        let _ = load.lock().unwrap().recv();
        Ok(Box::new(dragunov::runtime::StubEngine::default()))
    });
    let app = TestApp::with(|k| k.engine = slow).await;
    assert_eq!(app.get("/livez").await.0, 200);
    assert_eq!(app.get("/readyz").await.0, 503);
    assert_eq!(app.get("/ping").await.0, 204);
    // Accepted while loading, run once loaded.
    let id = app.run(json!({"mock_return": 1})).await;
    loaded.send(()).unwrap();
    assert_eq!(app.ended(&id).await["status"], "COMPLETED");
    assert_eq!(app.get("/readyz").await.0, 200);
    assert_eq!(app.get("/ping").await.0, 200);
    assert_eq!(app.get("/info").await.1["engine"]["set"], "stub");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_does_not_start_ends_the_service() {
    let broken: EngineFactory =
        Arc::new(|| Err(ScanError::new(ErrorCode::CheckpointInvalid, "sam: no such file")));
    let app = TestApp::with(|k| k.engine = broken).await;
    until("the service ends", async || app.app.is_draining()).await;
    let error = app.stop().await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeviceUnavailable);
    assert!(error.message.contains("sam: no such file"));
}

/// Not ready first, still serving; then the accepted job is finished before the process ends.
#[tokio::test(flavor = "multi_thread")]
async fn draining_finishes_what_was_accepted() {
    let app = TestApp::with(|k| k.serve.drain_delay = Duration::from_secs(8)).await;
    let first = app.run(json!({"mock_delay": 0.5})).await;
    let second = app.run(json!({"mock_delay": 0.1})).await;
    app.until_running(&first).await;
    app.begin_stop();
    while app.get("/readyz").await.0 != 503 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(app.get("/livez").await.0, 200);
    let (status, body) = app.post("/run", &json!({"input": {"mock_return": 1}})).await;
    assert_eq!((status, &body["code"]), (503, &json!("draining")));
    let store = app.app.store.clone();
    app.stop().await.unwrap();
    for id in [first, second] {
        assert_eq!(store.view(&id).unwrap().status, Status::Completed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_use_routes_never_paths() {
    let app = TestApp::spawn().await;
    let id = app.run(json!({"mock_return": 1})).await;
    app.ended(&id).await;
    app.get("/no/such/thing").await;
    let (status, text) = app.get("/metrics").await;
    assert_eq!(status, 200);
    let text = text.as_str().unwrap().to_owned();
    for name in [
        "dragunov_requests_total{",
        "dragunov_request_duration_seconds_bucket{",
        "dragunov_inference_seconds_bucket{",
        "dragunov_queue_duration_seconds_bucket{",
        "dragunov_jobs_ended_total{",
        "dragunov_build_info{",
    ] {
        assert!(text.contains(name), "{name}");
    }
    assert!(text.contains(r#"route="/status/{id}""#));
    assert!(
        !text.contains(&id) && !text.contains("/no/such"),
        "a path became a label"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_kept_if_harmless() {
    let app = TestApp::spawn().await;
    let echoed = async |given: &str| {
        let request = app
            .http
            .get(format!("{}/livez", app.url))
            .header("x-request-id", given);
        let response = request.send().await.unwrap();
        response.headers()["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(echoed("abc-123").await, "abc-123");
    for bad in ["a b", "x\"y", &"a".repeat(65)] {
        assert_ne!(echoed(bad).await, bad);
    }
}

/// Every route that is served is described; the description is complete JSON.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_describes_itself() {
    let app = TestApp::spawn().await;
    let (status, api) = app.get("/openapi.json").await;
    assert_eq!(status, 200);
    for path in [
        "/run",
        "/runsync",
        "/status/{id}",
        "/stream/{id}",
        "/v1/scan",
        "/v1/depth",
        "/readyz",
    ] {
        assert!(api["paths"][path].is_object(), "{path}");
    }
    let schemas = &api["components"]["schemas"];
    for name in ["ScanRequest", "ScanResult", "JobView", "Problem"] {
        assert!(schemas[name].is_object(), "{name}");
    }
    let docs = app.http.get(format!("{}/docs/", app.url)).send().await.unwrap();
    assert_eq!(docs.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_runs_its_own_script_only() {
    let app = TestApp::spawn().await;
    let response = app.http.get(&app.url).send().await.unwrap();
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    assert!(
        policy.contains("script-src 'sha256-") && !policy.contains("unsafe"),
        "{policy}"
    );
    let html = response.text().await.unwrap();
    assert_eq!(html.matches("<script").count(), 1);
    assert!(
        !html.contains("https://"),
        "the page loads nothing from elsewhere"
    );
}

/// Slow and silent senders do not hold a connection for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_has_a_deadline() {
    let app = TestApp::with(|k| k.app.body_time = Duration::from_millis(200)).await;
    let never = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
    let request = app
        .http
        .post(format!("{}/run", app.url))
        .body(reqwest::Body::wrap_stream(never));
    let (status, body) = read(request.send().await.unwrap()).await;
    assert_eq!(
        (status, body["code"].as_str()),
        (408, Some("bad_request")),
        "{body}"
    );
    let _: Value = body;
}
