//! Corrections, notes, several photos, depth and poses that cannot be: each is refused with a code, its field and a next step.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::app::{TestApp, png_base64};

fn recompute_with(edit: Value) -> Value {
    let mut body: Value =
        serde_json::from_str(include_str!("../../fixtures/contract/recompute_request.json")).unwrap();
    body["edits"] = json!([edit]);
    body
}

fn scan_with(field: &str, value: Value) -> Value {
    let mut body = json!({"image": {"base64": png_base64()}, "pitch_deg": 30});
    body[field] = value;
    body
}

fn depth(values: usize, with: &[(&str, Value)]) -> Value {
    let bytes: Vec<u8> = std::iter::repeat_n(0.4_f32.to_le_bytes(), values)
        .flatten()
        .collect();
    let mut map = json!({"data": {"base64": STANDARD.encode(bytes)}, "format": "f32", "width": 24, "height": 18, "unit": "metres"});
    for (field, value) in with {
        map[*field] = value.clone();
    }
    scan_with("depth", map)
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_that_cannot_be_is_refused_with_its_field_and_a_next_step() {
    let app = TestApp::spawn().await;
    let item = recompute_with(json!({}))["original"]["items"][0]["id"].clone();
    let long = "x".repeat(10_000);
    let image = json!({"base64": png_base64()});
    let seven: Vec<Value> = (0..7).map(|_| json!({"image": image})).collect();
    for (path, body, field) in [
        (
            "/v1/recompute",
            recompute_with(json!({"item": "nobody", "grams": 5})),
            "edits[0].item",
        ),
        (
            "/v1/recompute",
            recompute_with(json!({"item": item, "grams": 0})),
            "edits[0].grams",
        ),
        (
            "/v1/recompute",
            recompute_with(json!({"item": item, "grams": 50_000})),
            "edits[0].grams",
        ),
        (
            "/v1/recompute",
            recompute_with(json!({"item": item, "note": long})),
            "edits[0].note",
        ),
        (
            "/v1/recompute",
            recompute_with(json!({"item": item, "label": long})),
            "edits[0].label",
        ),
        (
            "/v1/recompute",
            recompute_with(json!({"item": item, "portion": 9})),
            "edits[0].portion",
        ),
        (
            "/v1/recompute",
            recompute_with(json!({"item": item, "weight": 9})),
            "weight",
        ),
        (
            "/v1/recompute",
            recompute_with(json!({"add": true, "point": [1, 1]})),
            "photo",
        ),
        ("/v1/scan", scan_with("note", json!(long)), "note"),
        ("/v1/scan", json!({"images": seven}), "images"),
        ("/v1/scan", json!({"images": []}), "images"),
        (
            "/v1/scan",
            scan_with("images", json!([{"image": image}])),
            "image",
        ),
        (
            "/v1/scan",
            scan_with("hints", json!({"items": [{"label": "x", "photo": 1}]})),
            "hints.items[0].photo",
        ),
        (
            "/v1/scan",
            scan_with("camera", json!({"pose": {"transform": vec![0; 16]}})),
            "camera.pose.transform",
        ),
        (
            "/v1/scan",
            scan_with("camera", json!({"pose": {"transform": [1, 0]}})),
            "array of length 16",
        ),
        ("/v1/scan", depth(431, &[]), "depth.data"),
        ("/v1/scan", depth(432, &[("unit", json!("feet"))]), "feet"),
        (
            "/v1/scan",
            depth(432, &[("width", json!(1_000_000))]),
            "depth.width",
        ),
        (
            "/v1/scan",
            depth(432, &[("format", json!("png16"))]),
            "depth.data",
        ),
        (
            "/v1/scan",
            depth(432, &[("orientation", json!(9))]),
            "depth.orientation",
        ),
    ] {
        let (status, problem) = app.post(path, &body).await;
        assert!((400..500).contains(&status), "{field}: {status} {problem}");
        let said = problem["detail"].as_str().unwrap();
        assert!(said.contains(field), "{field}: {problem}");
        assert!(said.len() < 400, "{problem}");
        assert!(
            problem["code"].is_string() && problem["next_step"].as_str().is_some_and(|s| !s.is_empty()),
            "{problem}"
        );
    }
    // The same are taken where they can be.
    let (status, _) = app
        .post("/v1/scan", &scan_with("note", json!("x".repeat(500))))
        .await;
    assert_eq!(status, 200);
    let (status, _) = app
        .post(
            "/v1/recompute",
            &recompute_with(json!({"item": item, "grams": 0.5})),
        )
        .await;
    assert_eq!(status, 200);
}
