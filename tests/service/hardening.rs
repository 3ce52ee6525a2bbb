//! What hostile clients send: none of it crashes, fills or holds up the service.

use dragunov::http::problem::from_panic;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{TestApp, png_base64, read};
use crate::patience::until;
use crate::process::{Service, client};

/// Compressed bodies are not taken, so no small one becomes a large one.
#[tokio::test(flavor = "multi_thread")]
async fn compressed_bodies_are_refused() {
    let app = TestApp::spawn().await;
    for encoding in ["gzip", "br", "zstd", "deflate", "gzip, identity"] {
        for path in ["/run", "/runsync", "/v1/scan", "/invocations"] {
            let request = app
                .http
                .post(format!("{}{path}", app.url))
                .header("content-encoding", encoding)
                .body(vec![0x1f, 0x8b, 8, 0]);
            let (status, body) = read(request.send().await.unwrap()).await;
            assert_eq!(
                (status, &body["code"]),
                (415, &json!("bad_request")),
                "{encoding} {path}"
            );
        }
    }
}

/// Deep nesting ends in an error of the caller, not of the stack.
#[tokio::test(flavor = "multi_thread")]
async fn deep_json_is_refused() {
    let app = TestApp::spawn().await;
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    for (path, body) in [
        ("/v1/scan", format!("{{\"image\":{deep}}}")),
        ("/v1/depth", deep.clone()),
        ("/run", deep.clone()),
        ("/run", format!("{{\"input\":{{}},\"policy\":{deep}}}")),
        ("/run", format!("{{\"input\":{{}},\"webhook\":{deep}}}")),
        ("/run", format!("{{\"input\":{{}},\"s3Config\":{deep}}}")),
    ] {
        let request = app.http.post(format!("{}{path}", app.url)).body(body);
        assert_eq!(read(request.send().await.unwrap()).await.0, 400, "{path}");
    }
    // An input is kept as it came and read when it runs.
    let request = app
        .http
        .post(format!("{}/runsync", app.url))
        .body(format!("{{\"input\":{{\"image\":{deep}}}}}"));
    let (status, body) = read(request.send().await.unwrap()).await;
    assert!(status == 400 || body["status"] == "FAILED", "{status} {body}");
    assert_eq!(app.get("/livez").await.0, 200);
}

/// A photo of 144 million pixels in a small file costs neither memory nor time on its way to a refusal.
#[tokio::test(flavor = "multi_thread")]
async fn pixel_bombs_are_refused_before_they_are_decoded() {
    let app = TestApp::spawn().await;
    // A PNG head that promises 12000 x 12000 pixels, and no pixels.
    let mut head = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR".to_vec();
    head.extend(12_000_u32.to_be_bytes());
    head.extend(12_000_u32.to_be_bytes());
    head.extend([8, 2, 0, 0, 0]);
    head.extend(crc32(&head[12..]).to_be_bytes());
    head.extend(b"\0\0\0\x00IDAT\x35\xaf\x06\x1e");
    let request = app
        .http
        .post(format!("{}/v1/scan", app.url))
        .header("content-type", "image/png")
        .body(head);
    let (status, body) = read(request.send().await.unwrap()).await;
    assert_eq!(
        (status, &body["code"]),
        (413, &json!("image_too_large")),
        "{body}"
    );
}

fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = !0_u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1));
        }
    }
    !crc
}

/// Only the origins that were named may call from a browser, and never with a browser's own credentials.
#[tokio::test(flavor = "multi_thread")]
async fn browsers_of_other_origins_are_not_answered() {
    let app = TestApp::with(|k| k.app.cors_origins = vec!["https://app.example".parse().unwrap()]).await;
    let ask = async |origin: &str| {
        let request = app
            .http
            .request(reqwest::Method::OPTIONS, format!("{}/v1/scan", app.url))
            .header("origin", origin)
            .header("access-control-request-method", "POST");
        let headers = request.send().await.unwrap().headers().clone();
        assert!(!headers.contains_key("access-control-allow-credentials"));
        headers.get("access-control-allow-origin").cloned()
    };
    assert_eq!(ask("https://app.example").await.unwrap(), "https://app.example");
    assert!(ask("https://evil.example").await.is_none());
    let closed = TestApp::spawn().await;
    let request = closed
        .http
        .get(&closed.url)
        .header("origin", "https://app.example");
    let headers = request.send().await.unwrap().headers().clone();
    assert!(!headers.contains_key("access-control-allow-origin"));
    assert_eq!(headers["x-content-type-options"], "nosniff");
}

/// What a panic says stays inside.
#[test]
fn panics_are_told_without_their_text() {
    let response = from_panic(Box::new("a secret".to_owned()));
    assert_eq!(response.status(), 500);
    assert!(!format!("{response:?}").contains("secret"));
}

/// A job whose caller hangs up in the middle of `/run` is either accepted whole or not at all: nothing is left that
/// neither runs nor ends.
#[tokio::test(flavor = "multi_thread")]
async fn callers_that_hang_up_leave_no_half_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let app = TestApp::at(Some(dir.path()), |_| {}).await;
    let body = json!({"input": {"mock_return": 1}}).to_string();
    let head = format!(
        "POST /run HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    for _ in 0..40 {
        let mut stream = TcpStream::connect(&app.url[7..]).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body.as_bytes()).await.unwrap();
        drop(stream);
    }
    let last = app.run(json!({"image": {"base64": png_base64()}})).await;
    app.ended(&last).await;
    until("every job ends", async || app.app.store.unfinished() == 0).await;
    let health: Value = app.get("/health").await.1;
    assert_eq!(health["jobs"]["inQueue"], 0, "{health}");
}

/// A service without keys is called by its own machine's name, by its own page or by no page at all.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_reach_no_keyless_service() {
    let service = Service::start(&["--engine", "stub"]);
    let http = client();
    service.ready(&http).await;
    let job = json!({"input": {"mock_return": 1}}).to_string();
    let ask = async |headers: &[(&str, &str)]| {
        let mut request = http.post(format!("{}/runsync", service.url)).body(job.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (status, body) = read(request.send().await.unwrap()).await;
        if status != 200 {
            assert!(body["next_step"].is_string(), "{body}");
        }
        status
    };
    let json = ("content-type", "application/json");
    let port = service.url.rsplit(':').next().unwrap();
    let own = format!("http://127.0.0.1:{port}");
    let by_name = format!("localhost:{port}");
    for headers in [
        &[json][..],
        &[("content-type", "Application/JSON; charset=utf-8")],
        &[json, ("origin", &own), ("sec-fetch-site", "same-origin")],
        &[json, ("host", &by_name)],
    ] {
        assert_eq!(ask(headers).await, 200, "{headers:?}");
    }
    for headers in [
        &[json, ("origin", "https://evil.example")][..],
        &[json, ("origin", "null")],
        &[json, ("origin", "http://127.0.0.1:1")],
        &[json, ("sec-fetch-site", "cross-site")],
        &[json, ("host", "evil.example")],
        &[json, ("host", "127.0.0.1.evil.example")],
    ] {
        assert_eq!(ask(headers).await, 403, "{headers:?}");
    }
    // What a page may send without being asked for more.
    for headers in [
        &[][..],
        &[("content-type", "text/plain")],
        &[("content-type", "application/x-www-form-urlencoded")],
    ] {
        assert_eq!(ask(headers).await, 415, "{headers:?}");
    }
    for webhook in ["http://127.0.0.1:9/", "https://10.0.0.1/", "http://hook.example/"] {
        let body = json!({"input": {"mock_return": 1}, "webhook": webhook});
        let request = http.post(format!("{}/run", service.url)).json(&body);
        assert_eq!(read(request.send().await.unwrap()).await.0, 400, "{webhook}");
    }
}

/// Clients that send all before they listen hear that it was too much.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_heard_by_those_who_send_first() {
    let app = TestApp::spawn().await;
    for path in ["/run", "/v1/scan"] {
        let mut stream = TcpStream::connect(&app.url[7..]).await.unwrap();
        let size = 40 << 20;
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {size}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let body = vec![b' '; 1 << 20];
        for _ in 0..40 {
            stream.write_all(&body).await.unwrap();
        }
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 413"), "{path}: {said}");
    }
}

/// Every text of a request has its bound, and says so.
#[tokio::test(flavor = "multi_thread")]
async fn long_texts_are_refused() {
    let app = TestApp::spawn().await;
    let long = "x".repeat(100_000);
    let image = json!({"base64": png_base64()});
    let point = json!({"point": [10.0, 10.0]});
    for (name, scan) in [
        ("scan_id", json!({"image": image, "scan_id": long})),
        ("user_id", json!({"image": image, "user_id": long})),
        (
            "label",
            json!({"image": image, "hints": {"items": [{"label": long}]}}),
        ),
        (
            "hints.items",
            json!({"image": image, "hints": {"items": vec![point; 65]}}),
        ),
        (
            "point",
            json!({"image": image, "hints": {"items": [{"point": [1e300, 1.0]}]}}),
        ),
        (
            "box",
            json!({"image": image, "hints": {"items": [{"box": [0.0, 0.0, 1e300, 1.0]}]}}),
        ),
        (
            "image.url",
            json!({"image": {"url": format!("https://example.com/{long}")}}),
        ),
        (
            "image.s3",
            json!({"image": {"s3": format!("s3://bucket/{long}")}}),
        ),
        (
            "camera.height_cm",
            json!({"image": image, "camera": {"height_cm": 1e300}}),
        ),
        (
            "camera.focal_px",
            json!({"image": image, "camera": {"focal_px": 1e300}}),
        ),
        (
            "reference.diameter_cm",
            json!({"image": image, "reference": {"kind": "plate", "diameter_cm": 1e300}}),
        ),
        (
            "gravity",
            json!({"image": image, "gravity": [1e300, 1e300, -1e300]}),
        ),
    ] {
        let (status, body) = app.post("/v1/scan", &scan).await;
        assert_eq!(status, 422, "{name}: {body}");
        let detail = body["detail"].as_str().unwrap();
        assert!(detail.contains(name) && detail.len() < 400, "{name}: {detail}");
    }
    let keys = json!({"endpointUrl": "https://s3.example.com", "bucketName": long, "accessId": "a", "accessSecret": "b"});
    for (name, job) in [
        (
            "webhook",
            json!({"input": {"mock_return": 1}, "webhook": format!("https://h.example/{long}")}),
        ),
        ("s3Config", json!({"input": {"mock_return": 1}, "s3Config": keys})),
        (
            "policy",
            json!({"input": {"mock_return": 1}, "policy": {"ttl": u64::MAX}}),
        ),
    ] {
        let (status, body) = app.post("/run", &job).await;
        assert_eq!(status, 400, "{name}: {body}");
        assert!(body["detail"].as_str().unwrap().contains(name), "{name}: {body}");
    }
}

/// All that a job brings counts in the memory set aside for jobs: its webhook's address and its store's keys as well as its
/// input.
#[tokio::test(flavor = "multi_thread")]
async fn webhooks_and_keys_of_jobs_count_in_their_memory() {
    const MEMORY: usize = 100_000;
    let pad = |n: usize| "x".repeat(n);
    let keys = json!({"endpointUrl": "https://s3.example.com", "bucketName": "b", "accessId": pad(2000),
        "accessSecret": pad(2000)});
    for (more, bytes) in [
        (json!({"s3Config": keys}), 4000),
        (
            json!({"webhook": format!("https://h.example/{}", pad(2000))}),
            2000,
        ),
        (json!({}), 0),
    ] {
        let app = TestApp::with(|k| {
            k.limits.bytes = MEMORY;
            k.intake.allow_private_urls = false;
        })
        .await;
        let blocker = app.run(json!({"mock_delay": 300})).await;
        app.until_running(&blocker).await;
        let mut job = json!({"input": {"mock_return": 1}});
        let fields = job.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        let mut accepted = 0;
        let refused = loop {
            let (status, body) = app.post("/run", &job).await;
            if status != 200 {
                break (status, body["code"].clone());
            }
            accepted += 1;
            assert!(accepted < 1000, "{bytes} bytes each, and no end");
        };
        assert_eq!(refused, (429, json!("queue_full")));
        // A job weighs some 600 bytes beside what it brings.
        let most = MEMORY / (bytes + 400);
        assert!(
            (MEMORY / (bytes + 900)..=most).contains(&accepted),
            "{bytes} bytes each: {accepted} jobs"
        );
        app.post(&format!("/cancel/{blocker}"), &Value::Null).await;
    }
}

/// The page that shows the API runs its own scripts only and talks to this service only.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_page_keeps_to_itself() {
    let app = TestApp::spawn().await;
    let page = app.http.get(format!("{}/docs/", app.url)).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"]
        .to_str()
        .unwrap()
        .to_owned();
    for rule in [
        "default-src 'none'",
        "script-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(rule), "{policy}");
    }
    let html = page.text().await.unwrap();
    for script in html.split("<script").skip(1) {
        let (attributes, rest) = script.split_once('>').unwrap();
        assert!(
            attributes.contains("src=\"") && !attributes.contains("//"),
            "{attributes}"
        );
        assert!(
            rest.trim_start().starts_with("</script>"),
            "a script in the page would not run"
        );
    }
}
