//! `/openapi.json` tells what the service does: every status, content type, bound and key.

use std::time::Duration;

use dragunov::contract::bounds;
use dragunov::http::description;
use dragunov::jobs::Limits;
use dragunov::runtime::{DeviceOptions, StubEngine};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use crate::app::{TestApp, png, png_base64};

fn api(has_keys: bool) -> Value {
    serde_json::to_value(description(has_keys)).unwrap()
}

/// What was answered is described for that route: the status, and the content type where there is a body.
async fn assert_described(api: &Value, method: &Method, route: &str, response: reqwest::Response) -> u16 {
    let status = response.status().as_u16();
    let operation = &api["paths"][route][method.as_str().to_lowercase()];
    let described = &operation["responses"][status.to_string()];
    let kind = response
        .headers()
        .get("content-type")
        .map(|v| v.to_str().unwrap().to_owned());
    let body = response.text().await.unwrap();
    assert!(described.is_object(), "{method} {route} answers {status}: {body}");
    let Some(kind) = kind else {
        assert!(
            body.is_empty() && described["content"].is_null(),
            "{method} {route} {status}"
        );
        return status;
    };
    let kind = kind.split(';').next().unwrap();
    assert!(
        described["content"][kind].is_object(),
        "{method} {route} answers {status} with {kind}: {body}"
    );
    if status >= 400 {
        assert_eq!(kind, "application/problem+json", "{method} {route} {status}");
    }
    status
}

struct Case {
    method: Method,
    route: &'static str,
    path: String,
    kind: &'static str,
    body: Vec<u8>,
    expected: u16,
}

fn get(route: &'static str, expected: u16) -> Case {
    Case {
        method: Method::GET,
        route,
        path: route.to_owned(),
        kind: "application/json",
        body: Vec::new(),
        expected,
    }
}

fn post(route: &'static str, body: impl Into<Vec<u8>>, expected: u16) -> Case {
    Case {
        method: Method::POST,
        body: body.into(),
        ..get(route, expected)
    }
}

impl Case {
    fn at(self, path: &str) -> Self {
        let path = path.to_owned();
        Self { path, ..self }
    }

    fn of(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }
}

async fn check(app: &TestApp, api: &Value, cases: Vec<Case>) {
    for case in cases {
        let request = app
            .http
            .request(case.method.clone(), format!("{}{}", app.url, case.path))
            .header("content-type", case.kind)
            .body(case.body);
        let response = request.send().await.unwrap();
        let status = assert_described(api, &case.method, case.route, response).await;
        assert_eq!(status, case.expected, "{} {}", case.method, case.path);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_described() {
    let app = TestApp::with(|k| {
        k.app.run_body = 3000;
        k.app.runsync_body = 3000;
        k.app.direct_body = 3000;
        k.intake.allow_private_urls = false;
    })
    .await;
    let api = api(false);
    let image = json!({"base64": png_base64()});
    let scan = json!({ "image": image }).to_string();
    let job = json!({"input": {"mock_return": 1}}).to_string();
    let id = app.run(json!({"mock_return": 1})).await;
    app.ended(&id).await;
    let mut cases = vec![
        get("/", 200),
        get("/openapi.json", 200),
        get("/livez", 200),
        get("/readyz", 200),
        get("/ping", 200),
        get("/info", 200),
        get("/metrics", 200),
        get("/health", 200),
        post("/run", job.clone(), 200),
        post("/runsync", job.clone(), 200),
        post("/runsync", job, 400).at("/runsync?wait=soon"),
        post("/purge-queue", "", 200),
        post("/retry/{id}", "", 400).at(&format!("/retry/{id}")),
        get("/status-sync/{id}", 400).at(&format!("/status-sync/{id}?wait=-1")),
        post("/v1/scan", scan.clone(), 200),
        post("/v1/scan", png(64, 48), 200).of("image/png"),
        post("/v1/scan", "x", 400).of("multipart/form-data"),
        post("/invocations", scan, 200),
        post(
            "/invocations",
            json!({"task": "depth", "image": image}).to_string(),
            200,
        ),
    ];
    for route in ["/status/{id}", "/status-sync/{id}", "/stream/{id}"] {
        for method in [Method::GET, Method::POST] {
            for (name, expected) in [(id.as_str(), 200), ("nobody", 404), ("%ff", 400)] {
                let case = get(route, expected).at(&route.replace("{id}", name));
                let method = method.clone();
                cases.push(Case { method, ..case });
            }
        }
    }
    for route in ["/cancel/{id}", "/retry/{id}"] {
        for (name, expected) in [("nobody", 404), ("%ff", 400)] {
            cases.push(post(route, "", expected).at(&route.replace("{id}", name)));
        }
    }
    for route in ["/run", "/runsync"] {
        cases.extend([
            post(route, "{", 400),
            post(route, "x".repeat(4000), 413),
            post(
                route,
                json!({"input": {}, "s3Config": {"endpointUrl": "https://127.0.0.1", "bucketName": "b",
                       "accessId": "a", "accessSecret": "s"}})
                .to_string(),
                422,
            ),
        ]);
    }
    for route in [
        "/v1/scan",
        "/invocations",
        "/v1/segment",
        "/v1/depth",
        "/v1/identify",
    ] {
        let with = |image: Value| json!({ "image": image }).to_string();
        cases.extend([
            post(route, "[", 400),
            post(route, "[]", 400),
            post(route, with(json!({"base64": "AAAA"})), 415),
            post(route, with(json!({"base64": "iVBORw0KGgo="})), 422),
            post(route, with(json!({"url": "https://127.0.0.1/a.jpg"})), 422),
            post(route, "x".repeat(4000), 413),
        ]);
    }
    check(&app, &api, cases).await;

    let hasty = TestApp::with(|k| k.app.body_time = Duration::from_millis(500)).await;
    for route in ["/run", "/runsync", "/v1/scan", "/invocations", "/v1/depth"] {
        let to = format!("{}{route}", app.url);
        let packed = app.http.post(&to).header("content-encoding", "gzip").body("x");
        let status = assert_described(&api, &Method::POST, route, packed.send().await.unwrap()).await;
        assert_eq!(status, 415, "{route}");
        let never = futures::stream::pending::<Result<Vec<u8>, std::io::Error>>();
        let to = format!("{}{route}", hasty.url);
        let slow = hasty.http.post(to).body(reqwest::Body::wrap_stream(never));
        let status = assert_described(&api, &Method::POST, route, slow.send().await.unwrap()).await;
        assert_eq!(status, 408, "{route}");
    }
    for (route, item) in api["paths"].as_object().unwrap() {
        let wrong = app
            .http
            .delete(format!("{}{}", app.url, route.replace("{id}", "x")))
            .send()
            .await
            .unwrap();
        assert!(wrong.headers().contains_key("allow"), "{route}");
        let method: Method = item
            .as_object()
            .unwrap()
            .keys()
            .next()
            .unwrap()
            .to_uppercase()
            .parse()
            .unwrap();
        assert_eq!(
            assert_described(&api, &method, route, wrong).await,
            405,
            "{route}"
        );
    }
}

/// What happens only to a busy, a stopping or a guarded service is described as well.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_busy_and_guarded_services_are_described() {
    let scan = json!({"image": {"base64": png_base64()}}).to_string();
    let job = json!({"input": {"mock_delay": 5}}).to_string();
    let app = TestApp::with(|k| {
        k.engine = StubEngine::factory(Duration::from_secs(5));
        k.device = DeviceOptions {
            queue: 1,
            ..DeviceOptions::default()
        };
        k.limits = Limits {
            queued: 0,
            ..Limits::default()
        };
        k.app.direct_time = Duration::from_millis(300);
    })
    .await;
    let cases = vec![
        post("/v1/scan", scan.clone(), 504),
        post("/run", job.clone(), 429),
    ];
    check(&app, &api(false), cases).await;

    let app = TestApp::with(|k| k.app.api_keys = vec![SecretString::from("0123456789abcdef")]).await;
    let guarded = api(true);
    for (route, item) in guarded["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let to = format!("{}{}", app.url, route.replace("{id}", "x"));
            let response = app
                .http
                .request(method.clone(), to)
                .body("{}")
                .send()
                .await
                .unwrap();
            let needs = operation["security"].is_array();
            let status = assert_described(&guarded, &method, route, response).await;
            assert_eq!(status == 401, needs, "{method} {route}: {status}");
        }
    }
    let listed: Value = serde_json::from_str(
        &app.http
            .get(format!("{}/openapi.json", app.url))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
    )
    .unwrap();
    assert_eq!(listed, guarded);

    // Without keys a key is still taken, and not needed.
    let open = api(false);
    assert!(
        open["paths"]["/v1/scan"]["post"]["security"]
            .as_array()
            .unwrap()
            .contains(&json!({}))
    );
    for probe in ["/livez", "/readyz", "/ping", "/openapi.json", "/"] {
        assert!(open["paths"][probe]["get"]["security"].is_null(), "{probe}");
    }
}

#[test]
fn bounds_are_those_that_are_checked() {
    let api = api(false);
    let schemas = &api["components"]["schemas"];
    for (schema, field, range) in [
        ("ScanRequest", "pitch_deg", bounds::PITCH_DEG),
        ("ScanRequest", "roll_deg", bounds::ROLL_DEG),
        ("CameraHint", "fov_long_deg", bounds::FOV_LONG_DEG),
        ("CameraHint", "focal_px", bounds::FOCAL_PX),
        ("CameraHint", "f35_mm", bounds::F35_MM),
        ("CameraHint", "height_cm", bounds::CAMERA_HEIGHT_CM),
        (
            "Reference",
            "diameter_cm",
            *bounds::COIN_CM.start()..=*bounds::PLATE_CM.end(),
        ),
    ] {
        let field = &schemas[schema]["properties"][field];
        let limits = (field["minimum"].as_f64(), field["maximum"].as_f64());
        assert_eq!(
            limits,
            (Some(*range.start()), Some(*range.end())),
            "{schema}: {field}"
        );
    }
    for (field, low) in [("executionTimeout", 5_000), ("ttl", 10_000)] {
        let field = &schemas["Policy"]["properties"][field];
        assert_eq!(
            (&field["minimum"], &field["maximum"]),
            (&json!(low), &json!(7 * 86_400_000))
        );
    }
}

/// One name, one schema; one id, one operation; and what a document needs to be useful.
#[test]
fn names_do_not_collide() {
    let api = api(true);
    let schemas = &api["components"]["schemas"];
    assert_eq!(schemas["ScanStatus"]["enum"], json!(["pending_confirmation"]));
    assert_eq!(schemas["JobStatus"]["enum"].as_array().unwrap().len(), 6);
    assert_eq!(
        schemas["JobView"]["properties"]["status"]["$ref"],
        "#/components/schemas/JobStatus"
    );
    assert_eq!(
        schemas["ScanResult"]["properties"]["status"]["$ref"],
        "#/components/schemas/ScanStatus"
    );
    let mut ids = Vec::new();
    for (route, item) in api["paths"].as_object().unwrap() {
        for operation in item.as_object().unwrap().values() {
            ids.push(operation["operationId"].as_str().unwrap());
            assert!(!operation["summary"].as_str().unwrap().is_empty(), "{route}");
            for (status, response) in operation["responses"].as_object().unwrap() {
                assert!(
                    !response["description"].as_str().unwrap().is_empty(),
                    "{route} {status}"
                );
            }
        }
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
    // Every reference leads somewhere.
    let text = api.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(schemas[name].is_object(), "{name}");
    }
}
