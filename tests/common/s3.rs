//! A real S3 server in this process: s3s over a temporary folder, with one pair of keys.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::primitives::ByteStream;

pub const KEY_ID: &str = "test-key";
pub const SECRET: &str = "test-secret";

pub struct S3 {
    pub url: String,
    pub client: Client,
    _root: tempfile::TempDir,
}

impl S3 {
    /// Starts the server with these buckets.
    pub async fn start(buckets: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(root.path()).unwrap());
        builder.set_auth(s3s::auth::SimpleAuth::from_single(KEY_ID, SECRET));
        let service = builder.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let http = hyper_util::server::conn::auto::Builder::new(executor);
                    let _ = http
                        .serve_connection(hyper_util::rt::TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(&url)
            .credentials_provider(Credentials::new(KEY_ID, SECRET, None, None, "test"))
            .force_path_style(true)
            .build();
        let client = Client::from_conf(config);
        for bucket in buckets {
            client.create_bucket().bucket(*bucket).send().await.unwrap();
        }
        Self {
            url,
            client,
            _root: root,
        }
    }

    pub async fn put(&self, bucket: &str, key: &str, meta: &[(&str, &str)], bytes: Vec<u8>) {
        let mut put = self.client.put_object().bucket(bucket).key(key);
        for (name, value) in meta {
            put = put.metadata(*name, *value);
        }
        put.body(ByteStream::from(bytes)).send().await.unwrap();
    }
}
