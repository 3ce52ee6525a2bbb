//! The client for SageMaker's asynchronous inference, against a double of its runtime and a real S3 server.

use std::sync::{Arc, Mutex};

use aws_sdk_s3::config::{Credentials, SharedCredentialsProvider};
use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use bio_bff::dev::s3::S3;
use bio_bff::vision::{Job, JobPhoto, JobState, SageMaker, Vision};
use serde_json::{Value, json};
use uuid::Uuid;

type Seen = Arc<Mutex<Vec<HeaderMap>>>;

async fn runtime(seen: Seen) -> String {
    let invoke = move |headers: HeaderMap| {
        seen.lock().unwrap().push(headers);
        let locations = [
            ("x-amzn-sagemaker-outputlocation", "s3://answers/out/1.out"),
            ("x-amzn-sagemaker-failurelocation", "s3://answers/out/1-error.out"),
        ];
        async move { (StatusCode::ACCEPTED, locations, r#"{"InferenceId":"x"}"#) }
    };
    let router = Router::new().route("/endpoints/meals/async-invocations", post(invoke));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

#[tokio::test]
async fn a_job_is_an_object_and_so_is_its_answer() {
    let folder = tempfile::tempdir().unwrap();
    let s3 = S3::start(folder.path(), &["media", "answers"], Arc::new(|_| {}))
        .await
        .unwrap();
    let (seen, media) = (Seen::default(), s3.objects("media"));
    let keys = SharedCredentialsProvider::new(Credentials::new("AKID", "secret", None, None, "test"));
    let base = runtime(seen.clone()).await.parse().unwrap();
    let service = SageMaker::new(
        base,
        "meals".into(),
        "eu-central-1".into(),
        keys,
        media.clone(),
        None,
    )
    .unwrap();
    let job = Job {
        scan: Uuid::from_u128(1),
        user: Uuid::from_u128(2),
        photos: vec![JobPhoto {
            url: "https://photo".into(),
            pitch_deg: Some(30.0),
        }],
        plate_diameter_cm: None,
        camera_height_cm: None,
        note: None,
        webhook: String::new(),
        life: std::time::Duration::from_secs(7200),
    };
    let id = service.submit(&job).await.unwrap();
    let headers = seen.lock().unwrap().remove(0);
    let signed = headers["authorization"].to_str().unwrap();
    assert!(
        signed.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"),
        "{signed}"
    );
    assert!(
        signed.contains("/eu-central-1/sagemaker/aws4_request"),
        "{signed}"
    );
    assert!(signed.contains("x-amzn-sagemaker-inputlocation"), "{signed}");
    assert_eq!(headers["x-amzn-sagemaker-invocationtimeoutseconds"], "3600");
    // The input is where the user's other objects are, and erased with them.
    let key = headers["x-amzn-sagemaker-inputlocation"].to_str().unwrap();
    let key = key.strip_prefix("s3://media/").unwrap();
    assert!(key.starts_with(&format!("user_{}/", job.user)));
    let input: Value = serde_json::from_slice(&media.get(key, 1 << 20).await.unwrap().unwrap()).unwrap();
    assert_eq!(input, job.input());

    assert_eq!(service.state(&id).await.unwrap(), JobState::Runs);
    let answers = s3.objects("answers");
    let problem = json!({"code": "no_food", "retryable": false}).to_string();
    answers
        .put("out/1-error.out", "application/json", problem.into_bytes())
        .await
        .unwrap();
    let failed = JobState::Failed {
        code: "no_food".into(),
        again: false,
    };
    assert_eq!(service.state(&id).await.unwrap(), failed);
    answers
        .put("out/1.out", "application/json", b"{\"items\":[]}".to_vec())
        .await
        .unwrap();
    assert_eq!(
        service.state(&id).await.unwrap(),
        JobState::Done(json!({"items": []}))
    );
    // Without a service for corrections it says so.
    service.recompute(&json!({}), &json!([])).await.unwrap_err();
}
