//! Calls that hold the line, SageMaker's contract, and overload.

use std::time::Duration;

use dragunov::runtime::{DeviceOptions, StubEngine};
use serde_json::{Value, json};

use crate::app::{TestApp, png, png_base64, read};
use crate::patience::{PATIENCE, until};

#[tokio::test(flavor = "multi_thread")]
async fn scan_takes_json_forms_and_images() {
    let app = TestApp::spawn().await;
    let (status, json_answer) = app
        .post(
            "/v1/scan",
            &json!({"image": {"base64": png_base64()}, "pitch_deg": 41.5}),
        )
        .await;
    assert_eq!((status, &json_answer["camera"]["tilt_deg"]), (200, &json!(41.5)));
    assert_eq!(json_answer["items"][0]["mask"]["size"], json!([48, 64]));

    let form = reqwest::multipart::Form::new()
        .part(
            "image",
            reqwest::multipart::Part::bytes(png(64, 48)).file_name("a.png"),
        )
        .text("pitch_deg", "41.5")
        .text("plate_cm", "26");
    let url = format!("{}/v1/scan", app.url);
    let (status, form_answer) = read(app.http.post(&url).multipart(form).send().await.unwrap()).await;
    assert_eq!(
        (status, untimed(form_answer)),
        (200, untimed(json_answer.clone()))
    );

    let image = app
        .http
        .post(format!("{}/invocations", app.url))
        .header("content-type", "image/png")
        .header("x-amzn-sagemaker-custom-attributes", "pitch_deg=41.5")
        .body(png(64, 48));
    let response = image.send().await.unwrap();
    assert!(
        response.headers()["server-timing"]
            .to_str()
            .unwrap()
            .contains("total;dur=")
    );
    let (status, image_answer) = read(response).await;
    let times = image_answer["timings_ms"].as_object().unwrap();
    for stage in ["intake", "decode", "depth", "nourish", "total"] {
        assert!(times[stage].as_f64().unwrap() >= 0.0, "{stage}");
    }
    assert_eq!((status, untimed(image_answer)), (200, untimed(json_answer)));

    let broken = reqwest::multipart::Form::new()
        .part("image", reqwest::multipart::Part::bytes(png(8, 8)))
        .text("pitch_deg", "steep");
    let (status, body) = read(app.http.post(&url).multipart(broken).send().await.unwrap()).await;
    assert_eq!(status, 400);
    assert!(body["detail"].as_str().unwrap().contains("pitch_deg"), "{body}");
}

/// Two answers never take the same time.
fn untimed(mut answer: Value) -> Value {
    answer.as_object_mut().unwrap().remove("timings_ms");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn one_model_alone() {
    let app = TestApp::spawn().await;
    for (task, key) in [("segment", "masks"), ("depth", "picture"), ("identify", "label")] {
        let mut call = json!({"image": {"base64": png_base64()}, "point": [3, 4]});
        let path = format!("/v1/{task}");
        let (status, body) = app.post(&path, &call).await;
        assert!(status == 200 && !body[key].is_null(), "{body}");
        // SageMaker has one path for all of them.
        call["task"] = json!(task);
        let (status, same) = app.post("/invocations", &call).await;
        assert_eq!((status, same), (200, body));
        // A scan's path answers scans.
        let (status, problem) = app.post("/v1/scan", &call).await;
        assert!(
            status == 400 && problem["detail"].to_string().contains(&path),
            "{problem}"
        );
        for (key, wrong, expected) in [
            ("prompt", json!("?"), 400),
            ("point", json!([-1, 4]), 422),
            ("box", json!([9, 9, 3, 3]), 422),
            ("box", json!([9, 9, 3]), 400),
        ] {
            let mut call = json!({"image": {"base64": png_base64()}});
            call[key] = wrong;
            let (status, problem) = app.post(&path, &call).await;
            assert_eq!(status, expected, "{problem}");
            assert!(
                problem["detail"].to_string().contains(key) || status == 400,
                "{problem}"
            );
        }
    }
    assert_eq!(app.post("/v1/depth", &json!({})).await.0, 400);
}

/// A scan error keeps its code, status and next step.
#[tokio::test(flavor = "multi_thread")]
async fn scan_errors_become_problems() {
    let app = TestApp::with(|k| k.intake.allow_private_urls = false).await;
    let image = json!({"base64": png_base64()});
    for (body, status, code) in [
        (json!({"image": image, "pitch_deg": 80}), 422, "tilt_too_large"),
        (json!({"image": {"base64": "AAAA"}}), 415, "image_format"),
        (json!({"image": {"base64": "*"}}), 400, "bad_request"),
        (
            json!({"image": {"url": "https://127.0.0.1/a.jpg"}}),
            422,
            "url_refused",
        ),
        (json!({"pitch_deg": 3}), 400, "bad_request"),
    ] {
        let (got, problem) = app.post("/v1/scan", &body).await;
        assert_eq!((got, &problem["code"]), (status, &json!(code)), "{problem}");
        assert_eq!(problem["fault"], "client");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_the_stages_and_then_the_result() {
    let app = TestApp::spawn().await;
    let events = |body: Value| {
        let request = app
            .http
            .post(format!("{}/v1/scan", app.url))
            .header("accept", "text/event-stream")
            .json(&body);
        async move {
            let text = request.send().await.unwrap().text().await.unwrap();
            let names: Vec<String> = text
                .lines()
                .filter_map(|l| l.strip_prefix("event: ").map(str::to_owned))
                .collect();
            (names, text)
        }
    };
    let (names, text) = events(json!({"image": {"base64": png_base64()}})).await;
    assert_eq!(names, [vec!["stage"; 7], vec!["result"]].concat());
    assert!(text.contains(r#""stage":"depth""#), "{text}");
    let (names, text) = events(json!({"image": {"base64": png_base64()}, "pitch_deg": 88})).await;
    assert_eq!(names.last().map(String::as_str), Some("problem"));
    assert!(text.contains("tilt_too_large"));
}

/// The queue refuses at once; a caller who hangs up frees the device.
#[tokio::test(flavor = "multi_thread")]
async fn overload_is_429_and_abandoned_work_is_skipped() {
    let app = TestApp::with(|k| {
        k.device = DeviceOptions {
            queue: 2,
            ..DeviceOptions::default()
        };
        // Only a scan that is given up ends in the time of this test.
        k.engine = StubEngine::factory(2 * PATIENCE);
    })
    .await;
    let scan = app
        .http
        .post(format!("{}/v1/scan", app.url))
        .json(&json!({"image": {"base64": png_base64()}}));
    // The first is on the device, and no longer in the queue, once a stage of the device is told.
    let watched = scan.try_clone().unwrap().header("accept", "text/event-stream");
    let mut running = watched.send().await.unwrap();
    let mut told = Vec::new();
    while !String::from_utf8_lossy(&told).contains(r#""stage":"depth""#) {
        told.extend(
            running
                .chunk()
                .await
                .unwrap()
                .expect("events until the scan ends"),
        );
    }
    let calls: Vec<_> = (0..2)
        .map(|_| tokio::spawn(scan.try_clone().unwrap().send()))
        .collect();
    until("the queue is full", async || {
        app.app.executor.device().waiting() == 2
    })
    .await;
    let response = scan.send().await.unwrap();
    assert_eq!(response.status(), 429);
    assert!(response.headers().contains_key("retry-after"));
    drop(running);
    for call in &calls {
        call.abort();
    }
    until("the queue is empty", async || {
        app.app.executor.device().waiting() == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_direct_call_has_a_deadline() {
    let app = TestApp::with(|k| {
        k.app.direct_time = Duration::from_millis(200);
        k.engine = StubEngine::factory(2 * PATIENCE);
    })
    .await;
    let (status, body) = app
        .post("/v1/scan", &json!({"image": {"base64": png_base64()}}))
        .await;
    assert_eq!((status, &body["code"]), (504, &json!("deadline_exceeded")));
    // The engine stopped as well: the next job starts.
    assert_eq!(
        app.post("/runsync", &json!({"input": {"mock_return": 1}}))
            .await
            .1["status"],
        "COMPLETED"
    );
}

/// A panic of the engine is one job's failure; the next job finds a new engine.
#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_panics_is_replaced() {
    let app = TestApp::spawn().await;
    let (_, failed) = app
        .post("/runsync", &json!({"input": {"mock_panic": true}}))
        .await;
    assert_eq!(failed["status"], "FAILED");
    assert!(
        !failed["error"].as_str().unwrap().contains("scripted"),
        "the panic's text stays inside"
    );
    let (_, next) = app.post("/runsync", &json!({"input": {"mock_return": 1}})).await;
    assert_eq!(next["status"], "COMPLETED");
}
