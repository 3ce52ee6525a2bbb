//! Uploads to somebody else's S3 server: ministack, on `BFF_TEST_AWS_ENDPOINT`, which scripts/ci-bff.sh starts.

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use bio_bff::objects::{Buckets, Objects};
use serde_json::{Value, json};

use super::{JPEG, Lab, begin, id, post_form, put, put_with};

struct Storage(Client);

impl Storage {
    /// Fresh buckets on that server, or `None` with a line that says so.
    async fn start() -> Option<(Self, Buckets)> {
        let Ok(endpoint) = std::env::var("BFF_TEST_AWS_ENDPOINT") else {
            eprintln!("NOT RUN: needs BFF_TEST_AWS_ENDPOINT (scripts/ci-bff.sh)");
            return None;
        };
        let keys = SharedCredentialsProvider::new(Credentials::new("test", "test", None, None, "test"));
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(endpoint)
            .credentials_provider(keys.clone())
            .force_path_style(true)
            .build();
        let client = Client::from_conf(config.clone());
        for bucket in ["uploads", "media"] {
            client.create_bucket().bucket(bucket).send().await.unwrap();
        }
        let of = |bucket: &str| Objects::over(config.clone(), Some(keys.clone()), bucket);
        let buckets = Buckets {
            uploads: of("uploads"),
            media: of("media"),
            training: None,
        };
        Some((Self(client), buckets))
    }

    async fn count(&self, bucket: &str) -> usize {
        let listed = self.0.list_objects_v2().bucket(bucket).send().await.unwrap();
        listed.contents().len()
    }
}

#[tokio::test]
async fn what_was_signed_is_taken_and_nothing_else() {
    let Some((storage, buckets)) = Storage::start().await else {
        return;
    };
    let Some(lab) = Lab::over(None, buckets, tempfile::tempdir().unwrap()).await else {
        return;
    };
    let c = &lab.c;
    let with_put = begin(c, 1).await;
    let upload = &with_put["uploads"][0];
    let refused = [
        ("x-amz-meta-pitch", "99"),
        ("content-type", "text/html"),
        ("content-length", "3"),
    ];
    for other in refused {
        // Of another size: the body is, too.
        let body = if other.0 == "content-length" {
            &JPEG[..3]
        } else {
            JPEG
        };
        let status = put_with(c, upload, body, &[other]).await.status;
        assert!(status.is_client_error(), "{other:?}: {status}");
    }
    let elsewhere = moved(upload, "put");
    assert!(put(c, &elsewhere, JPEG).await.status.is_client_error());
    assert_eq!(storage.count("uploads").await, 0);
    put(c, upload, JPEG).await.expect(200);
    assert_eq!(put(c, upload, JPEG).await.status, 412, "only once");

    // ministack holds a form to its policy, but does not check the policy's signature.
    let with_form = begin(c, 1).await;
    let upload = &with_form["uploads"][0];
    for other in [
        ("x-amz-meta-pitch", "99"),
        ("content-type", "text/html"),
        ("key", "user_x/other.jpg"),
    ] {
        let status = post_form(c, upload, JPEG, &[other]).await.status;
        assert!(status.is_client_error(), "{other:?}: {status}");
    }
    let large = vec![0xff; (20 << 20) + 1];
    for bytes in [&large[..], b""] {
        let status = post_form(c, upload, bytes, &[]).await.status;
        assert!(status.is_client_error(), "{} bytes: {status}", bytes.len());
    }
    assert_eq!(storage.count("uploads").await, 1);
    assert!(post_form(c, upload, JPEG, &[]).await.status.is_success());
    assert_eq!(storage.count("uploads").await, 2);

    // Both become meals, and what was uploaded is where it is kept then.
    for new in [with_put, with_form] {
        let scan = id(&new["scan"]);
        c.post(&format!("/scans/{scan}/uploaded"), json!({}))
            .await
            .expect(200);
        lab.vision.finish_all().await;
        let ready = c.get(&format!("/scans/{scan}")).await.expect(200);
        assert_eq!(ready["state"], "ready");
        let photo = ready["evidence"]["image_url"].as_str().unwrap();
        let photo = c.http.get(photo).send().await.unwrap();
        assert_eq!(photo.bytes().await.unwrap(), JPEG);
        c.act(&scan, "confirm", json!({})).await.expect(200);
    }
    lab.w.drain().await;
    assert_eq!(
        (storage.count("uploads").await, storage.count("media").await),
        (0, 6)
    );
}

/// The same right, used for another key.
fn moved(upload: &Value, way: &str) -> Value {
    let mut upload = upload.clone();
    let url = upload[way]["url"]
        .as_str()
        .unwrap()
        .replacen("/1.jpg", "/2.jpg", 1);
    upload[way]["url"] = json!(url);
    upload
}
