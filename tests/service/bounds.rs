//! Every text, number and list of a request has its bound. Requests that say all there is to say are held against the
//! description, so that no field is forgotten; then each of their leaves in turn is made far too large.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dragunov::http::description;
use serde_json::{Value, json};

use crate::app::{TestApp, png_base64};

/// Bytes of a text, and elements of a list, that no field may have; the number that none may be.
const TEXT: usize = 100_000;
const LIST: usize = 500;
const NUMBER: f64 = 1e300;

/// JSON pointers of the texts, numbers and lists in `value`.
fn places(value: &Value, at: &str, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields {
                places(inner, &format!("{at}/{name}"), out);
            }
        }
        Value::Array(items) => {
            out.push(at.to_owned());
            for (i, inner) in items.iter().enumerate() {
                places(inner, &format!("{at}/{i}"), out);
            }
        }
        Value::String(_) | Value::Number(_) => out.push(at.to_owned()),
        Value::Null | Value::Bool(_) => {}
    }
}

/// `request` with one place made far too large, in each way that its kind allows.
fn enlarged(request: &Value, at: &str) -> Vec<Value> {
    let here = request.pointer(at).unwrap();
    let instead = match here {
        Value::String(_) => vec![json!("x".repeat(TEXT))],
        Value::Number(_) => vec![json!(NUMBER), json!(-NUMBER)],
        Value::Array(items) if !items.is_empty() => vec![json!(vec![&items[0]; LIST])],
        _ => Vec::new(),
    };
    let with = |value| {
        let mut changed = request.clone();
        *changed.pointer_mut(at).unwrap() = value;
        changed
    };
    instead.into_iter().map(with).collect()
}

/// Properties of a schema that none of the examples says.
fn unsaid(api: &Value, schema: &Value, examples: &[&Value], at: &str, out: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        // What a scan answered is sent back as it came, without what it had no reason to say.
        if !name.ends_with("/ScanResult") {
            unsaid(api, api.pointer(&name[1..]).unwrap(), examples, at, out);
        }
        return;
    }
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let said: Vec<&Value> = examples.iter().filter_map(|e| e.get(name)).collect();
        let at = format!("{at}/{name}");
        match said.is_empty() {
            true => out.push(at),
            false => unsaid(api, inner, &said, &at, out),
        }
    }
    if schema["items"].is_object() {
        let items: Vec<&Value> = examples.iter().filter_map(|e| e.as_array()).flatten().collect();
        unsaid(api, &schema["items"], &items, at, out);
    }
    for of_all in schema["allOf"].as_array().into_iter().flatten() {
        unsaid(api, of_all, examples, at, out);
    }
    // Of several forms one is enough.
    let forms = ["oneOf", "anyOf"].map(|key| schema[key].as_array().into_iter().flatten());
    let forms = forms.into_iter().flatten().filter(|form| form["type"] != "null");
    let least = forms.map(|form| {
        let mut missing = Vec::new();
        unsaid(api, form, examples, at, &mut missing);
        missing
    });
    out.extend(least.min_by_key(Vec::len).unwrap_or_default());
}

/// Looks straight down from 40 cm above the table.
fn camera() -> Value {
    json!({
        "fov_long_deg": 67.0, "focal_px": 50.0, "f35_mm": 26.0, "height_cm": 40.0,
        "pose": {
            "transform": [1, 0, 0, 0, 0, 0, -1, 0, 0, 1, 0, 0, 0.1, 0.5, 0.1, 1],
            "table_y_m": 0.1,
        },
    })
}

fn depth() -> Value {
    let metres: Vec<u8> = [0.4_f32; 16 * 16].iter().flat_map(|v| v.to_le_bytes()).collect();
    json!({
        "data": {"base64": STANDARD.encode(metres)}, "format": "f32", "width": 16, "height": 16, "unit": "metres",
        "orientation": 1, "sigma_rel": 0.01,
        "intrinsics": {"fx": 12.0, "fy": 12.0, "cx": 8.0, "cy": 8.0, "width": 16.0, "height": 16.0},
        "confidence": {"data": {"base64": STANDARD.encode([2; 16 * 16])}, "least": 1},
    })
}

fn photo() -> Value {
    json!({
        "image": {"base64": png_base64()}, "pitch_deg": 1.0, "roll_deg": 0.5, "gravity": [0.0, -0.02, -1.0],
        "camera": camera(), "depth": depth(),
    })
}

fn scan() -> Value {
    let mut scan = photo();
    let rest = json!({
        "reference": {"kind": "plate", "diameter_cm": 26.0},
        "hints": {"items": [{"label": "rice", "point": [20.0, 24.0], "box": [4.0, 5.0, 40.0, 40.0], "photo": 0}]},
        "note": "half of it", "options": {"masks": "rle", "overlay": true, "depth": true, "stream": false},
        "scan_id": "s-1", "user_id": "u-1",
    });
    let fields = scan.as_object_mut().unwrap();
    fields.extend(rest.as_object().unwrap().clone());
    scan
}

fn meal() -> Value {
    json!({"images": [photo(), photo()], "hints": {"items": [{"label": "rice", "photo": 1}]}})
}

fn call() -> Value {
    json!({
        "image": {"base64": png_base64()}, "box": [4.0, 5.0, 40.0, 40.0], "point": [20.0, 24.0],
        "options": {"stream": false},
    })
}

/// Edits of every kind of what the service answered.
async fn correction(app: &TestApp) -> Value {
    let plain = json!({"image": {"base64": png_base64()}, "pitch_deg": 1.0});
    let (status, original) = app.post("/v1/scan", &plain).await;
    assert_eq!(status, 200, "{original}");
    let place = original["items"][0]["box"].clone();
    let edits = json!([
        {"item": "item-1", "label": "fried rice", "grams": 150.0, "remove": false},
        {"item": "item-2", "portion": 0.5, "note": "half",
         "answers": [{"question": "oil", "option": "a little"}]},
        {"add": true, "label": "apple", "point": [24.0, 25.0], "box": place},
    ]);
    json!({
        "original": original, "edits": edits, "photo": photo(),
        "reference": {"kind": "plate", "diameter_cm": 26.0},
    })
}

/// The request is taken as it is, and refused with any of its places too large.
async fn check(app: &TestApp, path: &str, request: &Value, looked_at: impl Fn(&str) -> bool) -> usize {
    let (status, body) = app.post(path, request).await;
    assert_eq!(status, 200, "{path}: {body}");
    let mut all = Vec::new();
    places(request, "", &mut all);
    all.retain(|at| looked_at(at));
    let mut taken = Vec::new();
    for at in &all {
        for changed in enlarged(request, at) {
            let (status, body) = app.post(path, &changed).await;
            let told = body["detail"].as_str().unwrap_or_default();
            if !matches!(status, 400 | 413 | 415 | 422) {
                taken.push(format!("{at}: {status}"));
            }
            assert!(told.len() < 600, "{at}: the refusal has {} bytes", told.len());
        }
    }
    assert!(taken.is_empty(), "{path} takes {taken:#?}");
    all.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_field_is_without_a_bound() {
    let app = TestApp::spawn().await;
    let api = serde_json::to_value(description(false)).unwrap();
    let correction = correction(&app).await;
    let (scan, meal, call) = (scan(), meal(), call());
    for (schema, examples) in [
        ("ScanRequest", &[&scan, &meal][..]),
        ("ModelCall", &[&call]),
        ("RecomputeRequest", &[&correction]),
    ] {
        let mut missing = Vec::new();
        unsaid(
            &api,
            &api["components"]["schemas"][schema],
            examples,
            schema,
            &mut missing,
        );
        assert!(missing.is_empty(), "not tried: {missing:#?}");
    }
    let any = |_: &str| true;
    let mut n = check(&app, "/v1/scan", &scan, any).await;
    // A further photo that is none is left out, and the answer says so.
    n += check(&app, "/v1/scan", &meal, |at| {
        !(at.starts_with("/images/1") && at.ends_with("/base64"))
    })
    .await;
    n += check(&app, "/v1/segment", &call, any).await;
    n += check(&app, "/v1/recompute", &correction, |at| {
        // The scale of what was measured is that of the foods that are added by their place.
        !at.starts_with("/original") || at == "/original/scale/camera_height_cm/p50"
    })
    .await;
    let job = json!({
        "input": {"mock_return": 1}, "webhook": "http://127.0.0.1:1/hook",
        "policy": {"executionTimeout": 5000, "ttl": 10_000, "lowPriority": true},
        "s3Config": {"endpointUrl": "http://127.0.0.1:1", "bucketName": "b", "accessId": "i", "accessSecret": "s"},
    });
    n += check(&app, "/run", &job, |at| !at.starts_with("/input")).await;
    let realtime = json!({"id": "r-1", "input": {"mock_return": 1}});
    n += check(&app, "/e/realtime", &realtime, |at| at == "/id").await;
    assert!(n > 150, "only {n} places were tried");
}

/// Every estimate of an answer's items and totals is there and in order.
fn is_sound(answer: &Value) -> bool {
    let estimates = |of: &Value| -> Vec<[Option<f64>; 3]> {
        let fields = of.as_object().into_iter().flatten().map(|(_, v)| v);
        let estimates = fields.filter(|v| v.get("p50").is_some());
        estimates
            .map(|v| ["p10", "p50", "p90"].map(|key| v[key].as_f64()))
            .collect()
    };
    let items = answer["items"].as_array().unwrap().iter();
    items
        .chain([&answer["totals"]])
        .flat_map(estimates)
        .all(|e| match e {
            [Some(low), Some(middle), Some(high)] => 0.0 <= low && low <= middle && middle <= high,
            _ => false,
        })
}

/// What a scan answered comes back through strangers: any number in it may be another. It is refused, or the new
/// numbers are numbers.
#[tokio::test(flavor = "multi_thread")]
async fn an_original_of_a_strangers_is_refused_or_harmless() {
    let app = TestApp::spawn().await;
    let request: Value =
        serde_json::from_str(include_str!("../../fixtures/contract/recompute_request.json")).unwrap();
    let mut all = Vec::new();
    places(&request["original"], "/original", &mut all);
    let mut unsound = Vec::new();
    for at in &all {
        for changed in enlarged(&request, at) {
            let (status, body) = app.post("/v1/recompute", &changed).await;
            let fine = match status {
                200 => is_sound(&body),
                other => matches!(other, 400 | 413 | 422),
            };
            if !fine {
                unsound.push(format!("{at}: {status}"));
            }
        }
    }
    assert!(all.len() > 100, "{}", all.len());
    assert!(unsound.is_empty(), "{unsound:#?}");
}
