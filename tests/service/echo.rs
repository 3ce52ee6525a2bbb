//! What a caller sent comes back in no error and no log: a photo and a long text are planted in every field of every
//! kind of request, and at most 80 characters of either may be repeated.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::app::png_base64;
use crate::commands::{Served, bare};
use crate::plane::{Answer, Plane};

/// An S3 that is not there.
const NOWHERE: &[(&str, &str)] = &[
    ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
    ("AWS_ACCESS_KEY_ID", "i"),
    ("AWS_SECRET_ACCESS_KEY", "s"),
    ("AWS_REGION", "us-east-1"),
];

/// Long and without a period, so that a window of it tells where it came from.
fn text() -> String {
    let mut state = 7_u32;
    (0..4000)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'a' + (state >> 24) as u8 % 26)
        })
        .collect()
}

/// A photo that no two windows of which are alike, in base64.
fn photo() -> String {
    use base64::Engine;
    let mut noise = text().into_bytes().into_iter().cycle();
    let picture = image::RgbImage::from_fn(48, 32, |x, y| {
        image::Rgb([0; 3].map(|_: u8| noise.next().unwrap().wrapping_mul(37) ^ (x * y) as u8))
    });
    let mut png = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    base64::engine::general_purpose::STANDARD.encode(png.into_inner())
}

/// Fails if more than 80 characters in a row of `planted` stand in `seen`.
fn clean(what: &str, seen: &str, planted: &[String]) {
    for value in planted {
        // 81 characters in a row hold one of these whole, and 80 from the start hold none.
        for at in (40..value.len() - 41).step_by(40) {
            if let Some(found) = seen.find(&value[at..at + 41]) {
                let from = seen.floor_char_boundary(found.saturating_sub(400));
                let to = seen.ceil_char_boundary((found + 200).min(seen.len()));
                panic!("{what} repeats what was sent: {}", &seen[from..to]);
            }
        }
    }
}

/// Scans with `value` in one place each.
fn scans(value: &str) -> Vec<Value> {
    let image = json!({"base64": "AA=="});
    let with = |field: &str, v: Value| {
        let mut scan = json!({ "image": image });
        scan[field] = v;
        scan
    };
    let mut scans = vec![
        json!(value),
        json!([value]),
        json!({ value: 1 }),
        json!({"image": [value]}),
    ];
    for image in ["base64", "url", "s3", "bytes", value] {
        scans.push(json!({"image": {image: value}}));
    }
    scans.push(json!({ "image": value }));
    for prefix in [
        "https://",
        "s3://meals/",
        "s3://",
        "data:image/png;base64,",
        "data:",
        "ftp://",
        "@",
    ] {
        scans.push(json!({"image": format!("{prefix}{value}")}));
    }
    for task in ["segment", "depth", "identify"] {
        scans.push(json!({"task": task, "image": value}));
        scans.push(json!({"task": task, "image": {value: 1}}));
        scans.push(json!({"task": task, "image": image, "options": value}));
        scans.push(json!({"task": task, "image": image, "options": {value: true}}));
    }
    for field in [
        "task",
        "pitch_deg",
        "roll_deg",
        "gravity",
        "camera",
        "reference",
        "hints",
        "options",
        value,
    ] {
        scans.push(with(field, json!(value)));
        scans.push(with(field, json!([value])));
        scans.push(with(field, json!({ value: value })));
    }
    for (field, inner) in [
        ("camera", "fov_long_deg"),
        ("camera", "focal_px"),
        ("reference", "kind"),
        ("reference", "diameter_cm"),
        ("hints", "items"),
        ("options", "masks"),
        ("options", "overlay"),
        ("options", "stream"),
    ] {
        scans.push(with(field, json!({ inner: value })));
    }
    for inner in ["label", "point", "box", value] {
        scans.push(with("hints", json!({"items": [{ inner: value }]})));
    }
    scans
}

fn jobs(value: &str) -> Vec<Value> {
    let mut jobs: Vec<Value> = scans(value)
        .into_iter()
        .map(|input| json!({ "input": input }))
        .collect();
    for (field, v) in [
        ("webhook", json!(value)),
        ("webhook", json!(format!("http://127.0.0.1:1/{value}"))),
        ("webhook", json!([value])),
        ("policy", json!(value)),
        ("policy", json!({"ttl": value})),
        ("policy", json!([value])),
        ("s3Config", json!(value)),
        ("s3Config", json!({"endpointUrl": value})),
        (
            "s3Config",
            json!({"endpointUrl": value, "bucketName": value, "accessId": value, "accessSecret": value}),
        ),
        (value, json!(value)),
    ] {
        let mut job = json!({"input": {"image": {"base64": "AA=="}}});
        job[field] = v;
        jobs.push(job);
    }
    jobs
}

#[tokio::test(flavor = "multi_thread")]
async fn serve_repeats_nothing() {
    let planted = [text(), photo()];
    let service = Served::start(&["--log", "debug"], NOWHERE).await;
    let at = |path: &str| format!("{}{path}", service.url);
    let mut refused = 0;
    for value in &planted {
        for job in jobs(value) {
            for (path, body) in [
                ("/runsync", &job),
                ("/v1/scan", &job["input"]),
                ("/v1/depth", &job["input"]),
            ] {
                let answer = service.http.post(at(path)).json(body).send().await.unwrap();
                let answer = answer.text().await.unwrap();
                refused += usize::from(answer.contains("error"));
                clean(path, &answer, &planted);
            }
        }
        let form = || reqwest::multipart::Form::new();
        let photo = || reqwest::multipart::Part::bytes(b"\x89PNG".to_vec());
        let named = |name: &str| form().part("image", photo()).text(name.to_owned(), value.clone());
        let forms = ["pitch_deg", "plate_cm", "request", value].map(named);
        for form in forms.into_iter().chain([form().text("image", value.clone())]) {
            let answer = service
                .http
                .post(at("/v1/scan"))
                .multipart(form)
                .send()
                .await
                .unwrap();
            clean("a form", &answer.text().await.unwrap(), &planted);
        }
        let attributes = format!("pitch_deg={value},{value}={value}");
        for (name, header) in [
            ("x-amzn-sagemaker-custom-attributes", attributes.as_str()),
            ("content-type", value),
            ("accept", value),
            ("x-request-id", value),
            ("content-encoding", value),
        ] {
            let request = service.http.post(at("/invocations")).header(name, header);
            let answer = request.body(value.clone()).send().await.unwrap();
            clean(name, &answer.text().await.unwrap(), &planted);
        }
        let short = &value[..value.len().min(2000)];
        for path in [
            format!("/status/{short}"),
            format!("/{short}"),
            format!("/status-sync/x?wait={short}"),
            format!("/stream/%ff{short}"),
        ] {
            let answer = service.http.get(at(&path)).send().await.unwrap();
            assert!(answer.status().is_client_error(), "{path}");
            assert_eq!(
                answer.headers()["content-type"],
                "application/problem+json",
                "{path}"
            );
            clean(&path[..12], &answer.text().await.unwrap(), &planted);
        }
        let odd = reqwest::Method::from_bytes(&value.as_bytes()[..200]);
        if let Ok(method) = odd {
            let answer = service.http.request(method, at("/run")).send().await.unwrap();
            clean("a method", &answer.text().await.unwrap(), &planted);
        }
    }
    assert!(refused > 200, "{refused}: the errors are not reached");
    let log = service.stop().await;
    assert!(log.contains("bad_request"), "the log does not reach that far");
    clean("the log", &log, &planted);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_worker_repeats_nothing() {
    let planted = [text(), photo()];
    let plane = Plane::start().await;
    let mut all: Vec<Value> = planted.iter().flat_map(|value| jobs(value)).collect();
    all.push(json!({"input": {}, "batchId": planted[0]}));
    for (i, job) in all.iter_mut().enumerate() {
        job["id"] = json!(format!("j{i}"));
    }
    let n = all.len();
    plane.script("take", all.into_iter().map(Answer::json));
    let mut vars: HashMap<String, String> = plane.env();
    for (name, value) in [
        ("RUNPOD_LOG_LEVEL", "DEBUG"),
        ("RUNPOD_MIN_MEMORY_GB", "0"),
        ("RUNPOD_MIN_DISK_PERCENT", "0"),
        ("DRAGUNOV_ENGINE", "stub"),
    ]
    .iter()
    .chain(NOWHERE)
    {
        vars.insert((*name).into(), (*value).into());
    }
    let vars: Vec<(&str, &str)> = vars.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let child = bare(&["worker"], &vars).spawn().unwrap();
    let pid = child.id().unwrap().to_string();
    let posts = plane.until_finals(n).await;
    let kill = std::process::Command::new("kill").args(["-TERM", &pid]).status();
    assert!(kill.unwrap().success());
    let out = child.wait_with_output().await.unwrap();
    for post in &posts {
        clean("a result", &post.body, &planted);
        assert!(
            !post.body.contains("openapi.json"),
            "the worker serves none: {}",
            post.body
        );
    }
    let log = [out.stdout, out.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    assert!(
        log[0].contains("bad_request") || log[0].contains("[batchId="),
        "{}",
        log[0]
    );
    clean("the log", &log.concat(), &planted);
}

/// A photo as a bare string, in every form that RunPod's users send.
#[tokio::test(flavor = "multi_thread")]
async fn images_may_be_bare_strings() {
    let service = Served::start(&["--allow-private-urls"], &[]).await;
    let photo = png_base64();
    let site = axum::Router::new().fallback(async || crate::app::png(64, 48));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a.png", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, site).await });
    for image in [
        photo.clone(),
        format!("data:image/png;base64,{photo}"),
        url.clone(),
    ] {
        for input in [
            json!({ "image": image }),
            json!({"task": "depth", "image": image}),
        ] {
            let (_, view) = service.post("/runsync", &json!({ "input": input })).await;
            assert_eq!(view["status"], "COMPLETED", "{view}");
        }
        let (status, body) = service.post("/v1/scan", &json!(image)).await;
        assert_eq!(status, 200, "{body}");
    }
    let (_, view) = service
        .post("/runsync", &json!({"input": {"image": "s3://B/none.jpg"}}))
        .await;
    assert!(
        view["error"].as_str().unwrap().contains("invalid_field"),
        "{view}"
    );
}
