//! Amazon SageMaker's container contract, as its clients and its own gate use it.

use serde_json::{Value, json};

use crate::app::{TestApp, png, png_base64, read};
use crate::commands::{Served, bare, output};
use crate::s3::{KEY_ID, S3, SECRET};

const ATTRIBUTES: &str = "x-amzn-sagemaker-custom-attributes";

/// The scan's answer to a body under a content type, with attributes.
async fn invoke(app: &TestApp, kind: &str, attributes: Option<&str>, body: Vec<u8>) -> (u16, Value) {
    let mut request = app.http.post(format!("{}/invocations", app.url)).body(body);
    if !kind.is_empty() {
        request = request.header("content-type", kind);
    }
    if let Some(text) = attributes {
        request = request.header(ATTRIBUTES, text);
    }
    read(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn photos_come_under_any_type_in_any_case() {
    let app = TestApp::spawn().await;
    let mut jpeg = std::io::Cursor::new(Vec::new());
    let picture = image::load_from_memory(&png(64, 48)).unwrap();
    picture.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let heic = include_bytes!("../../fixtures/tiny/heif/420.heic").to_vec();
    for kind in [
        "application/x-image",
        "Application/X-Image",
        "image/png",
        "IMAGE/JPEG",
        "image/heic",
        " image/jpeg ; x=1",
        "application/octet-stream",
        "Application/Octet-Stream",
        "binary/octet-stream",
        "application/json",
        "application/x-www-form-urlencoded",
        "",
    ] {
        for photo in [png(64, 48), jpeg.clone(), heic.clone()] {
            let (status, body) = invoke(&app, kind, Some("pitch_deg=41.5"), photo).await;
            assert_eq!(
                (status, &body["camera"]["tilt_deg"]),
                (200, &json!(41.5)),
                "{kind}: {body}"
            );
        }
    }
    let scan = json!({"image": {"base64": png_base64()}, "pitch_deg": 41.5}).to_string();
    for kind in [
        "application/json",
        "APPLICATION/JSON; Charset=UTF-8",
        "text/plain",
        "application/octet-stream",
        "",
    ] {
        let (status, body) = invoke(&app, kind, None, scan.clone().into_bytes()).await;
        assert_eq!(
            (status, &body["camera"]["tilt_deg"]),
            (200, &json!(41.5)),
            "{kind}: {body}"
        );
    }
    // Not every body is a photo.
    for (kind, want) in [
        ("application/x-image", 415),
        ("image/png", 415),
        ("application/json", 400),
    ] {
        assert_eq!(
            invoke(&app, kind, None, b"no photo at all".to_vec()).await.0,
            want,
            "{kind}"
        );
    }
    // A form, whatever the case of its type.
    let form = "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n\r\n";
    let body = [form.as_bytes(), &png(64, 48), b"\r\n--B--\r\n"].concat();
    let (status, body) = invoke(
        &app,
        "Multipart/Form-Data; boundary=B",
        Some("pitch_deg=41.5"),
        body,
    )
    .await;
    assert_eq!(
        (status, &body["camera"]["tilt_deg"]),
        (200, &json!(41.5)),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_in_a_form_has_any_usual_name() {
    let app = TestApp::spawn().await;
    for name in ["image", "photo", "file", "upload"] {
        let part = reqwest::multipart::Part::bytes(png(64, 48)).file_name("a.png");
        let form = reqwest::multipart::Form::new()
            .part(name, part)
            .text("pitch_deg", "41.5");
        let sent = app.http.post(format!("{}/v1/scan", app.url)).multipart(form);
        let (status, body) = read(sent.send().await.unwrap()).await;
        assert_eq!(
            (status, &body["camera"]["tilt_deg"]),
            (200, &json!(41.5)),
            "{name}: {body}"
        );
    }
    let bare = reqwest::multipart::Part::bytes(png(64, 48));
    let form = reqwest::multipart::Form::new().part("file", bare);
    let sent = app.http.post(format!("{}/v1/scan", app.url)).multipart(form);
    assert_eq!(read(sent.send().await.unwrap()).await.0, 200);
}

/// AWS and its customers put whatever they like into the attributes.
#[tokio::test(flavor = "multi_thread")]
async fn attributes_are_opaque_but_for_our_names() {
    let app = TestApp::spawn().await;
    for text in [
        "c000b4f9-df62-4c85-a0bf-7c525f9104a4",
        "tfs-model-name=meals",
        "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1",
        "",
        ",,=,",
        "a=b=c",
        "{\"trace\": \"x\"}",
    ] {
        let (status, body) = invoke(&app, "image/png", Some(text), png(64, 48)).await;
        assert_eq!(status, 200, "{text}: {body}");
        assert!(body["camera"]["gravity_source"].is_null(), "{text}: {body}");
    }
    let mixed = "trace=1-2-3, pitch_deg=41.5,scan_id=s-7;x";
    let (status, body) = invoke(&app, "image/png", Some(mixed), png(64, 48)).await;
    assert_eq!(
        (status, &body["camera"]["tilt_deg"], &body["scan_id"]),
        (200, &json!(41.5), &json!("s-7"))
    );
    let (status, body) = invoke(&app, "image/png", Some("pitch_deg=steep"), png(64, 48)).await;
    assert_eq!((status, &body["code"]), (400, &json!("bad_request")));
}

/// Beside a JSON body they fill what the body does not say.
#[tokio::test(flavor = "multi_thread")]
async fn attributes_count_beside_json() {
    let app = TestApp::spawn().await;
    let image = json!({"base64": png_base64()});
    let whole = json!({"image": image, "pitch_deg": 41.5, "scan_id": "s-1",
        "reference": {"kind": "plate", "diameter_cm": 26.0}});
    let (_, want) = app.post("/invocations", &whole).await;
    let bare = json!({ "image": image }).to_string().into_bytes();
    let told = "pitch_deg=41.5,plate_cm=26,scan_id=s-1";
    let (status, got) = invoke(&app, "application/json", Some(told), bare).await;
    let timeless = |mut v: Value| {
        v["timings_ms"] = Value::Null;
        v
    };
    assert_eq!((status, timeless(got)), (200, timeless(want)));
    let said = json!({"image": image, "pitch_deg": 30}).to_string().into_bytes();
    let (_, body) = invoke(&app, "application/json", Some(told), said).await;
    assert_eq!(
        (&body["camera"]["tilt_deg"], &body["scan_id"]),
        (&json!(30.0), &json!("s-1"))
    );
}

/// The payload of an asynchronous call may be the photo's address.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_be_an_address() {
    let app = TestApp::spawn().await;
    let site = axum::Router::new().fallback(async || png(64, 48));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a.png", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, site).await });
    for (kind, body) in [
        ("text/plain", url.clone()),
        ("text/csv", format!("{url}\n")),
        ("", url.clone()),
        ("application/json", json!(url).to_string()),
        ("text/plain", png_base64()),
    ] {
        let (status, answer) = invoke(&app, kind, Some("pitch_deg=41.5"), body.into_bytes()).await;
        assert_eq!(
            (status, &answer["camera"]["tilt_deg"]),
            (200, &json!(41.5)),
            "{kind}: {answer}"
        );
    }
    let (status, answer) = invoke(&app, "text/plain", None, b"s3://B/x".to_vec()).await;
    assert_eq!(
        (status, &answer["code"]),
        (422, &json!("invalid_field")),
        "{answer}"
    );
}

/// An asynchronous call whose payload in S3 is an address: the object is read with the service's own keys, and what its
/// metadata say of the phone counts. Attributes win over them.
#[tokio::test(flavor = "multi_thread")]
async fn an_asynchronous_call_may_name_an_object() {
    let s3 = S3::start(&["meals"]).await;
    s3.put("meals", "u/1/a.png", &[("pitch-deg", "41.5")], png(64, 48))
        .await;
    let service = Served::start(
        &["--s3-path-style", "--s3-buckets", "meals"],
        &[
            ("AWS_ENDPOINT_URL", s3.url.as_str()),
            ("AWS_ACCESS_KEY_ID", KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ],
    )
    .await;
    let object = "s3://meals/u/1/a.png";
    for (kind, body) in [
        ("text/plain", object.to_owned()),
        ("text/csv; charset=utf-8", format!("{object}\n")),
        ("application/json", json!(object).to_string()),
        ("application/json", json!({"image": object}).to_string()),
        ("application/json", json!({"image": {"s3": object}}).to_string()),
    ] {
        for (attributes, tilt) in [("", 41.5), ("pitch_deg=30", 30.0)] {
            let request = service
                .http
                .post(format!("{}/invocations", service.url))
                .header("content-type", kind)
                .header(
                    "x-amzn-sagemaker-inference-id",
                    "c000b4f9-df62-4c85-a0bf-7c525f9104a4",
                )
                .header(ATTRIBUTES, attributes)
                .body(body.clone());
            let (status, answer) = read(request.send().await.unwrap()).await;
            assert_eq!(
                (status, &answer["camera"]["tilt_deg"]),
                (200, &json!(tilt)),
                "{kind} {attributes}: {answer}"
            );
        }
    }
}

/// What decides on the address: flags, then SageMaker, then RunPod's load balancer.
#[tokio::test(flavor = "multi_thread")]
async fn platforms_decide_on_the_address() {
    let check = async |args: &[&str], vars: &[(&str, &str)]| {
        let args = [&["config", "--engine", "stub"], args].concat();
        let (code, out, err) = output(&args, vars).await;
        assert_eq!(code, Some(0), "{args:?} {vars:?}: {err}");
        let shown: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{e}: {out}"));
        shown
            .pointer("/serve/address")
            .or(shown.get("address"))
            .unwrap_or_else(|| panic!("{out}"))
            .clone()
    };
    assert_eq!(check(&[], &[]).await, "127.0.0.1:8000");
    assert_eq!(check(&["--sagemaker"], &[]).await, "0.0.0.0:8080");
    assert_eq!(
        check(&[], &[("DRAGUNOV_SAGEMAKER", "true")]).await,
        "0.0.0.0:8080"
    );
    assert_eq!(
        check(&[], &[("SAGEMAKER_BIND_TO_PORT", "9090")]).await,
        "0.0.0.0:9090"
    );
    assert_eq!(
        check(&[], &[("PORT", "5000"), ("RUNPOD_POD_ID", "p")]).await,
        "0.0.0.0:5000"
    );
    assert_eq!(
        check(&["--port", "7000"], &[("PORT", "5000")]).await,
        "127.0.0.1:7000"
    );
    // Elsewhere an open address still needs a key.
    let out = bare(&["serve", "--engine", "stub", "--host", "0.0.0.0"], &[])
        .output()
        .await
        .unwrap();
    assert_eq!(out.status.code(), Some(2));
}
