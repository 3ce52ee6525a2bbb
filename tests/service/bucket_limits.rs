//! Which buckets a service reads, and how much it hears of those that jobs name.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::app::{TestApp, png, png_base64};
use crate::commands::{Served, output};
use crate::s3::{KEY_ID, S3, SECRET};

/// A store whose refusals never end; and how many bytes it got rid of.
async fn talkative(status: &'static str) -> (String, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let said = Arc::new(AtomicUsize::new(0));
    let count = said.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 1 << 16];
                let _ = stream.read(&mut request).await;
                let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/xml\r\n\r\n<Error>");
                let _ = stream.write_all(head.as_bytes()).await;
                let more = vec![b'x'; 1 << 16];
                while stream.write_all(&more).await.is_ok() {
                    count.fetch_add(more.len(), Ordering::Relaxed);
                }
            });
        }
    });
    (url, said)
}

/// The error of a job's store is read as far as an error goes, whether it was asked for a photo or given a picture.
#[tokio::test(flavor = "multi_thread")]
async fn the_errors_of_buckets_are_read_to_their_beginning() {
    /// What the buffers of two sockets may hold beside it.
    const BUFFERED: usize = 32 << 20;
    let app = TestApp::spawn().await;
    for status in ["403 Forbidden", "404 Not Found"] {
        let (url, said) = talkative(status).await;
        let keys = json!({"endpointUrl": url, "bucketName": "meals", "accessId": "i", "accessSecret": "s"});
        let photo = json!({"image": "s3://meals/a.png"});
        let picture = json!({"image": png_base64(), "options": {"overlay": true}});
        for (input, ended) in [(photo, "FAILED"), (picture, "COMPLETED")] {
            let job = json!({"input": input, "s3Config": keys});
            let (_, view) = app.post("/runsync", &job).await;
            assert_eq!(view["status"], ended, "{status}: {view}");
            let heard = said.swap(0, Ordering::Relaxed);
            assert!(heard < BUFFERED, "{status}: {heard} bytes");
        }
    }
}

/// `--s3-buckets` with nothing in it: the bucket of `BUCKET_NAME` and no other; without that, none at all.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_of_buckets_allows_the_configured_one_only() {
    let s3 = S3::start(&["meals", "results"]).await;
    for bucket in ["meals", "results"] {
        s3.put(bucket, "a.png", &[("pitch-deg", "41.5")], png(64, 48))
            .await;
    }
    let keys = [
        ("AWS_ENDPOINT_URL", s3.url.as_str()),
        ("AWS_ACCESS_KEY_ID", KEY_ID),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let own = [
        ("BUCKET_ENDPOINT_URL", s3.url.as_str()),
        ("BUCKET_NAME", "results"),
        ("BUCKET_ACCESS_KEY_ID", KEY_ID),
        ("BUCKET_SECRET_ACCESS_KEY", SECRET),
    ];
    let empty = [("DRAGUNOV_S3_BUCKETS", "")];
    for (flags, vars, readable) in [
        (
            &["--s3-buckets", ""][..],
            [&keys[..], &own].concat(),
            &["results"][..],
        ),
        (&["--s3-buckets", " , "], [&keys[..], &own].concat(), &["results"]),
        (&[], [&keys[..], &own, &empty].concat(), &["results"]),
        (&["--s3-buckets", ""], keys.to_vec(), &[]),
        (&[], [&keys[..], &own].concat(), &["meals", "results"]),
    ] {
        let service = Served::start(&[&["--s3-path-style"], flags].concat(), &vars).await;
        for bucket in ["meals", "results"] {
            let job = json!({"input": {"image": format!("s3://{bucket}/a.png")}});
            let (_, view) = service.post("/runsync", &job).await;
            if readable.contains(&bucket) {
                assert_eq!(
                    view["output"]["camera"]["tilt_deg"], 41.5,
                    "{flags:?} {bucket}: {view}"
                );
            } else {
                let error = view["error"]
                    .as_str()
                    .unwrap_or_else(|| panic!("{flags:?} {bucket}: {view}"));
                assert!(error.contains("url_refused"), "{flags:?} {bucket}: {error}");
            }
        }
    }
    // What is in force is shown as what it is: a list of one, or of none.
    for (vars, shown) in [(own.to_vec(), json!(["results"])), (Vec::new(), json!([]))] {
        let args = ["config", "--engine", "stub", "--s3-buckets", ""];
        let (code, out, err) = output(&args, &vars).await;
        assert_eq!(code, Some(0), "{err}");
        let config: Value = serde_json::from_str(&out).unwrap();
        let found = config.pointer("/engine/s3_buckets").or(config.get("s3_buckets"));
        assert_eq!(found, Some(&shown), "{out}");
    }
}
