//! S3: photos from it, pictures and large results into it, with the service's keys, RunPod's `BUCKET_*` variables and
//! a job's own `s3Config`, against a real server.

use dragunov::jobs::{Clock, Limits, Policy, Store, Submission};
use dragunov::s3::S3Keys;
use dragunov::worker::WorkerOptions;
use serde_json::{Value, json};

use crate::app::{TestApp, png};
use crate::commands::Served;
use crate::plane::{Answer, Plane, Running, quick};
use crate::s3::{KEY_ID, S3, SECRET};

const META: &[(&str, &str)] = &[("pitch", "41.5"), ("roll", "0")];

fn keys(s3: &S3, secret: &str) -> Value {
    json!({"endpointUrl": s3.url, "bucketName": "meals", "accessId": KEY_ID, "accessSecret": secret})
}

fn code(view: &Value) -> String {
    let text = view["error"].as_str().unwrap_or_else(|| panic!("{view}"));
    let error: Value = serde_json::from_str(text).unwrap();
    error["error_type"].as_str().unwrap().to_owned()
}

/// The whole way of a deployment: keys from the environment, path style by a flag, the pitch from the object.
#[tokio::test(flavor = "multi_thread")]
async fn the_services_own_keys_read_photos_with_their_pitch() {
    let s3 = S3::start(&["meals", "private"]).await;
    s3.put("meals", "u/1/a.png", META, png(64, 48)).await;
    s3.put("private", "a.png", META, png(64, 48)).await;
    let start = async |secret: &str| {
        Served::start(
            &["--s3-path-style", "--s3-buckets", "meals,absent"],
            &[
                ("AWS_ENDPOINT_URL", s3.url.as_str()),
                ("AWS_ACCESS_KEY_ID", KEY_ID),
                ("AWS_SECRET_ACCESS_KEY", secret),
                ("AWS_REGION", "us-east-1"),
                ("AWS_EC2_METADATA_DISABLED", "true"),
            ],
        )
        .await
    };
    let scan = |uri: &str| json!({"input": {"image": {"s3": uri}}});
    let service = start(SECRET).await;
    let (_, done) = service.post("/runsync", &scan("s3://meals/u/1/a.png")).await;
    assert_eq!(done["status"], "COMPLETED", "{done}");
    assert_eq!(done["output"]["camera"]["tilt_deg"], 41.5);
    assert_eq!(done["output"]["camera"]["gravity_source"], "s3_pitch");
    for (uri, want) in [
        ("s3://meals/u/1/none.png", "object_not_found"),
        ("s3://absent/u/1/a.png", "object_not_found"),
        ("s3://private/a.png", "url_refused"),
        ("s3://meals/../private/a.png", "invalid_field"),
    ] {
        let (_, view) = service.post("/runsync", &scan(uri)).await;
        assert_eq!(
            (&view["status"], code(&view).as_str()),
            (&json!("FAILED"), want),
            "{view}"
        );
    }
    // A pitch in the request wins over the object's.
    let mut own = scan("s3://meals/u/1/a.png");
    own["input"]["pitch_deg"] = json!(30);
    let (_, view) = service.post("/runsync", &own).await;
    assert_eq!(view["output"]["camera"]["gravity_source"], "client_pitch");

    let wrong = start("not-the-secret").await;
    let (_, view) = wrong.post("/runsync", &scan("s3://meals/u/1/a.png")).await;
    assert_eq!(code(&view), "storage");
    let log = wrong.stop().await;
    assert!(!log.contains("not-the-secret"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_brings_its_own_bucket() {
    let s3 = S3::start(&["meals"]).await;
    s3.put("meals", "u/1/a.png", META, png(64, 48)).await;
    let app = TestApp::spawn().await;
    let run = async |uri: &str, keys: Value| {
        let input = json!({"image": {"s3": uri}, "options": {"overlay": true, "depth": true}});
        app.post("/runsync", &json!({"input": input, "s3Config": keys}))
            .await
            .1
    };
    let done = run("s3://meals/u/1/a.png", keys(&s3, SECRET)).await;
    assert_eq!(done["status"], "COMPLETED", "{done}");
    assert_eq!(done["output"]["camera"]["gravity_source"], "s3_pitch");
    for picture in ["overlay", "depth"] {
        let link = done["output"][picture].as_str().unwrap();
        assert!(link.starts_with(&format!("{}/meals/sync-", s3.url)), "{link}");
        let got = app.http.get(link).send().await.unwrap();
        assert_eq!(got.status(), 200);
        assert_eq!(got.headers()["content-type"], "image/png");
        assert!(got.bytes().await.unwrap().starts_with(b"\x89PNG"));
    }
    // The keys are gone with the input.
    let record = app.app.store.record(done["id"].as_str().unwrap()).unwrap();
    assert!(record.s3.is_none() && record.input.is_none());

    let missing = run("s3://meals/u/1/none.png", keys(&s3, SECRET)).await;
    assert_eq!(code(&missing), "object_not_found");
    let refused = run("s3://meals/u/1/a.png", keys(&s3, "not-the-secret")).await;
    assert_eq!(code(&refused), "storage");
    assert!(
        refused["error"].as_str().unwrap().contains("HTTP 403"),
        "{refused}"
    );

    // A picture that cannot be stored stays in the answer, which says so.
    use base64::Engine as _;
    let photo = base64::engine::general_purpose::STANDARD.encode(png(64, 48));
    let input = json!({"image": {"base64": photo}, "options": {"overlay": true}});
    let body = json!({"input": input, "s3Config": keys(&s3, "not-the-secret")});
    let (_, kept) = app.post("/runsync", &body).await;
    assert_eq!(kept["status"], "COMPLETED");
    assert!(
        kept["output"]["overlay"].as_str().unwrap().starts_with("iVBOR"),
        "a PNG in base64"
    );
    let warnings = kept["output"]["warnings"].to_string();
    assert!(warnings.contains("picture_not_stored"), "{warnings}");

    for bad in [
        json!("s3"),
        json!({"endpointUrl": s3.url}),
        json!({"endpointUrl": 5, "bucketName": "b", "accessId": "i", "accessSecret": "s"}),
    ] {
        let (status, body) = app.post("/run", &json!({"input": {}, "s3Config": bad})).await;
        assert_eq!((status, &body["code"]), (400, &json!("bad_request")), "{body}");
    }
}

/// Whoever may not name private photo addresses may not name private stores either, and no connection is opened.
#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_bucket_is_public_or_refused() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let app = TestApp::with(|k| k.intake.allow_private_urls = false).await;
    for endpoint in [
        format!("http://127.0.0.1:{port}"),
        format!("https://localhost:{port}"),
        "https://169.254.169.254".into(),
        "http://s3.example.com".into(),
    ] {
        let keys = json!({"endpointUrl": endpoint, "bucketName": "b", "accessId": "i", "accessSecret": "s"});
        let (status, body) = app.post("/run", &json!({"input": {}, "s3Config": keys})).await;
        assert_eq!((status, &body["code"]), (422, &json!("url_refused")), "{body}");
    }
    assert!(
        futures::FutureExt::now_or_never(listener.accept()).is_none(),
        "a connection was opened"
    );
}

/// C19: what the platform would refuse goes into the job's bucket, or the operator's.
#[tokio::test(flavor = "multi_thread")]
async fn large_results_of_the_worker_are_uploaded() {
    let s3 = S3::start(&["meals", "results"]).await;
    let text = "y".repeat(5000);
    let input = json!({"mock_return": {"text": text}});
    let plane = Plane::start().await;
    let with = |id: &str, keys: Option<Value>| {
        let mut job = json!({"id": id, "input": input});
        if let Some(keys) = keys {
            job["s3Config"] = keys;
        }
        Answer::json(job)
    };
    plane.script(
        "take",
        [
            with("operators", None),
            with("own/../1", Some(keys(&s3, SECRET))),
            with("refused", Some(keys(&s3, "not-the-secret"))),
            with("unreadable", Some(json!({"accessSecret": "not-the-secret"}))),
        ],
    );
    let options = WorkerOptions {
        max_result: 1000,
        ..WorkerOptions::default()
    };
    let endpoint = s3.url.clone();
    let worker = Running::with(&plane, options, quick(), |env| {
        for (name, value) in [
            ("BUCKET_ENDPOINT_URL", endpoint.as_str()),
            ("BUCKET_NAME", "results"),
            ("BUCKET_ACCESS_KEY_ID", KEY_ID),
            ("BUCKET_SECRET_ACCESS_KEY", SECRET),
        ] {
            env.insert(name.into(), value.into());
        }
    });
    let finals = plane.until_finals(4).await;
    worker.stop().await;
    for (post, place) in [
        (&finals[0], "/results/operators/"),
        (&finals[1], "/meals/own____1/"),
    ] {
        let output = &post.json()["output"];
        let link = output["result_url"]
            .as_str()
            .unwrap_or_else(|| panic!("{}", post.body));
        assert!(link.contains(place), "{link}");
        let stored: Value = reqwest::get(link).await.unwrap().json().await.unwrap();
        assert_eq!(stored, json!({"text": text}));
        assert!(output["result_bytes"].as_u64().unwrap() > 5000);
    }
    let told = finals[2].json()["error"].as_str().unwrap().to_owned();
    assert!(
        told.starts_with("result too large: ") && told.ends_with("it could not be uploaded"),
        "{told}"
    );
    let told = finals[3].json()["error"].as_str().unwrap().to_owned();
    assert!(
        told.contains("bad_request") && !told.contains("not-the-secret"),
        "{told}"
    );
}

/// A restart keeps the keys of a job that has not run, in a file that only its owner reads; its end drops them.
#[tokio::test(flavor = "multi_thread")]
async fn a_jobs_keys_survive_a_restart_and_not_its_end() {
    use std::os::unix::fs::PermissionsExt;
    let s3 = S3::start(&["meals"]).await;
    s3.put("meals", "a.png", META, png(64, 48)).await;
    let dir = tempfile::tempdir().unwrap();
    let (store, _due) = Store::open(Some(dir.path()), Limits::default(), Clock::default(), "w").unwrap();
    let input = json!({"image": {"s3": "s3://meals/a.png"}});
    let submission = Submission {
        input: serde_json::value::to_raw_value(&input).unwrap().into(),
        webhook: None,
        policy: Policy::default(),
        s3: S3Keys::of_job(Some(keys(&s3, SECRET))).unwrap(),
        sync: false,
    };
    let accepted = store.submit(submission).await.unwrap();
    let id = accepted.id.as_str();
    let mode = std::fs::metadata(dir.path().join("jobs.redb"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    drop(store);
    let app = TestApp::at(Some(dir.path()), |_| {}).await;
    let done = app.ended(id).await;
    assert_eq!(done["output"]["camera"]["gravity_source"], "s3_pitch", "{done}");
    assert!(app.app.store.record(id).unwrap().s3.is_none());
}

/// A presigned address, or any other, tells the pitch as an S3 object does; both usual spellings are understood.
#[tokio::test(flavor = "multi_thread")]
async fn photos_by_url_bring_their_pitch() {
    let s3 = S3::start(&["meals"]).await;
    let app = TestApp::spawn().await;
    for (i, name) in ["pitch", "pitch_deg", "pitch-deg", "Pitch-Deg"]
        .into_iter()
        .enumerate()
    {
        let key = format!("{i}.png");
        s3.put("meals", &key, &[(name, "41.5"), ("roll-deg", "2")], png(64, 48))
            .await;
        let presigning =
            aws_sdk_s3::presigning::PresigningConfig::expires_in(std::time::Duration::from_secs(60));
        let signed = s3.client.get_object().bucket("meals").key(&key);
        let url = signed
            .presigned(presigning.unwrap())
            .await
            .unwrap()
            .uri()
            .to_owned();
        for input in [
            json!({"image": {"url": url}}),
            json!({"image": {"s3": format!("s3://meals/{key}")}}),
        ] {
            let body = json!({"input": input, "s3Config": keys(&s3, SECRET)});
            let (_, view) = app.post("/runsync", &body).await;
            assert_eq!(view["output"]["camera"]["tilt_deg"], 41.5, "{name}: {view}");
            assert_eq!(view["output"]["camera"]["gravity_source"], "s3_pitch", "{name}");
        }
    }
    s3.put("meals", "bad.png", &[("pitch_deg", "steep")], png(64, 48))
        .await;
    let body = json!({"input": {"image": "s3://meals/bad.png"}, "s3Config": keys(&s3, SECRET)});
    let (_, view) = app.post("/runsync", &body).await;
    assert!(
        view["error"].as_str().unwrap().contains("x-amz-meta-pitch_deg"),
        "{view}"
    );
}

/// A service without keys says that, instead of blaming the network.
#[tokio::test(flavor = "multi_thread")]
async fn missing_credentials_are_named() {
    let home = tempfile::tempdir().unwrap();
    let s3 = S3::start(&["meals"]).await;
    let service = Served::start(
        &["--s3-path-style"],
        &[
            ("AWS_ENDPOINT_URL", s3.url.as_str()),
            ("AWS_REGION", "us-east-1"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("HOME", home.path().to_str().unwrap()),
        ],
    )
    .await;
    let (_, view) = service
        .post("/runsync", &json!({"input": {"image": "s3://meals/a.png"}}))
        .await;
    assert_eq!(code(&view), "storage");
    let error = view["error"].as_str().unwrap();
    assert!(
        error.contains("no S3 credentials") && error.contains("AWS_ACCESS_KEY_ID"),
        "{error}"
    );
}
