//! Secrets are planted everywhere a secret can stand; none may come out in a log line at any level, an error body or
//! a metric.

use std::collections::HashMap;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::app::png_base64;
use crate::commands::{Served, bare};
use crate::plane::{Answer, Plane};
use crate::s3::S3;

/// In every secret below.
const CANARY: &str = "CANARY";

/// Answers every request with this status.
async fn answering(status: u16) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let app = axum::Router::new().fallback(async move || StatusCode::from_u16(status).unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

fn clean(what: &str, text: &str) {
    if let Some(at) = text.find(CANARY) {
        let from = text.floor_char_boundary(at.saturating_sub(300));
        let to = text.ceil_char_boundary((at + 200).min(text.len()));
        panic!("a secret in {what}: ...{}...", &text[from..to]);
    }
}

fn bad_jobs(s3: &S3, gone: &str, closed: &str) -> Vec<Value> {
    let signed = "X-Amz-Credential=CANARY-cred&X-Amz-Signature=CANARY-sig";
    let keys = |secret: &str| json!({"endpointUrl": s3.url, "bucketName": "meals", "accessId": "CANARY-id", "accessSecret": secret});
    let url = |base: &str| json!({"image": {"url": format!("{base}/a.jpg?{signed}")}});
    vec![
        json!({"input": url(gone)}),
        json!({"input": url(closed)}),
        json!({"input": url("ftp://x")}),
        json!({"input": {"image": format!("{gone}/a.jpg?{signed}")}}),
        json!({"input": {"image": {"url": 5, "bytes": format!("{gone}?{signed}")}}}),
        json!({"input": {"task": format!("{gone}?{signed}"), "image": {"base64": ""}}}),
        json!({"input": {"image": {"url": format!("http://user:CANARY-pw@{}", &gone[7..])}}}),
        json!({"input": {"image": {"s3": "s3://meals/none.png"}}, "s3Config": keys("CANARY-secret")}),
        json!({"input": {"image": {"s3": "s3://meals/none.png"}}}),
        json!({"input": {"image": {"base64": png_base64()}, "options": {"overlay": true}},
               "s3Config": keys("CANARY-secret")}),
        json!({"input": {}, "s3Config": {"accessSecret": "CANARY-secret"}}),
        json!({"input": {}, "s3Config": "CANARY-secret"}),
        json!({"input": {}, "policy": format!("{gone}?{signed}")}),
        json!({"input": {"mock_raise": "boom"}, "webhook": format!("{gone}/hook?token=CANARY-hook")}),
        json!({"input": {}, "webhook": format!("ftp://x/?{signed}")}),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_keeps_secrets() {
    let s3 = S3::start(&["meals"]).await;
    let gone = answering(404).await;
    let closed = "http://127.0.0.1:1";
    let vars = [
        ("DRAGUNOV_API_KEY", "CANARY-api-key-0123456789"),
        ("DRAGUNOV_WEBHOOK_SECRET", "CANARY-webhook-secret"),
        ("DRAGUNOV_ALLOW_PRIVATE_URLS", "true"),
        ("DRAGUNOV_PRIVATE_WEBHOOKS", "true"),
        ("DRAGUNOV_S3_PATH_STYLE", "true"),
        ("DRAGUNOV_VLM_KEY", "CANARY-vlm"),
        ("AWS_ENDPOINT_URL", s3.url.as_str()),
        ("AWS_ACCESS_KEY_ID", "CANARY-aws-id"),
        ("AWS_SECRET_ACCESS_KEY", "CANARY-aws-secret"),
        ("AWS_REGION", "us-east-1"),
        ("BUCKET_ENDPOINT_URL", s3.url.as_str()),
        ("BUCKET_NAME", "meals"),
        ("BUCKET_ACCESS_KEY_ID", "CANARY-bucket-id"),
        ("BUCKET_SECRET_ACCESS_KEY", "CANARY-bucket-secret"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", gone.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=CANARY-otel"),
    ];
    let service = Served::start(&["--log", "trace", "--webhook-pause", "10ms"], &vars).await;
    let send = async |path: &str, key: &str, body: &Value| {
        let request = service
            .http
            .post(format!("{}{path}", service.url))
            .header("authorization", format!("Bearer {key}"))
            .header("cookie", "session=CANARY-cookie")
            .json(body);
        request.send().await.unwrap().text().await.unwrap()
    };
    let right = "CANARY-api-key-0123456789";
    for job in bad_jobs(&s3, &gone, closed) {
        for path in ["/runsync", "/v2/e/run"] {
            clean(path, &send(path, right, &job).await);
        }
        clean("/v1/scan", &send("/v1/scan", right, &job["input"]).await);
        clean("a 401", &send("/run", "CANARY-wrong-key", &job).await);
    }
    let path = format!("{}/no/such?key=CANARY-query", service.url);
    clean(
        "a 404",
        &service.http.get(path).send().await.unwrap().text().await.unwrap(),
    );
    let metrics = service
        .http
        .get(format!("{}/metrics", service.url))
        .header("authorization", right);
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("dragunov_requests_total"));
    clean("metrics", &metrics);
    service.until_logged("webhook not taken").await;
    let log = service.stop().await;
    for line in [
        "job ended",
        "webhook not taken",
        "\"level\":\"TRACE\"",
        "object_not_found",
    ] {
        assert!(
            log.contains(line),
            "the log does not reach that far: {line}\n{log}"
        );
    }
    clean("the log", &log);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_keeps_secrets() {
    let s3 = S3::start(&["meals"]).await;
    let gone = answering(404).await;
    let plane = Plane::start().await;
    let jobs: Vec<Value> = bad_jobs(&s3, &gone, "http://127.0.0.1:1")
        .into_iter()
        .enumerate()
        .map(|(i, mut job)| {
            job["id"] = json!(format!("j{i}"));
            job
        })
        .collect();
    let n = jobs.len();
    plane
        .script("take", [Answer::status(500), Answer::reset()])
        .script("take", jobs.into_iter().map(Answer::json))
        .script("done", [Answer::status(500), Answer::status(401)])
        .script("ping", [Answer::status(500)]);
    let mut vars: HashMap<String, String> = plane.env();
    for (name, value) in [
        ("RUNPOD_AI_API_KEY", "CANARY-platform-key"),
        ("RUNPOD_LOG_LEVEL", "TRACE"),
        ("RUNPOD_MIN_MEMORY_GB", "0"),
        ("RUNPOD_MIN_DISK_PERCENT", "0"),
        ("DRAGUNOV_ENGINE", "stub"),
        ("DRAGUNOV_ALLOW_PRIVATE_URLS", "true"),
        ("AWS_ENDPOINT_URL", s3.url.as_str()),
        ("AWS_ACCESS_KEY_ID", "CANARY-aws-id"),
        ("AWS_SECRET_ACCESS_KEY", "CANARY-aws-secret"),
        ("AWS_REGION", "us-east-1"),
    ] {
        vars.insert(name.into(), value.into());
    }
    for name in ["RUNPOD_WEBHOOK_GET_JOB", "RUNPOD_WEBHOOK_PING"] {
        vars.get_mut(name).unwrap().push_str("&token=CANARY-token");
    }
    let vars: Vec<(&str, &str)> = vars.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let child = bare(&["worker"], &vars).spawn().unwrap();
    let pid = child.id().unwrap().to_string();
    // Some of the refused posts are progress, some are results.
    let mut finals = plane.until_finals(n).await;
    while finals
        .iter()
        .all(|post| post.headers["x-request-id"] != format!("j{}", n - 1))
    {
        finals = plane.until_finals(finals.len() + 1).await;
    }
    std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status()
        .unwrap();
    let out = child.wait_with_output().await.unwrap();
    let log = format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    assert!(log.contains("HTTP 500") && log.contains("Results sent."), "{log}");
    clean("the log", &log);
    for post in finals.iter().filter(|p| p.body.contains("\"error\"")) {
        clean("an error", &post.body);
    }
}
