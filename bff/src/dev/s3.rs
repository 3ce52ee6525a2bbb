//! A private S3 over a folder, in this process, that tells of uploads as S3's notifications do.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::objects::Objects;

pub const KEY_ID: &str = "dev-key";
pub const SECRET: &str = "dev-secret";
pub const REGION: &str = "us-east-1";

/// Hears of an upload: a notification as S3 writes it.
pub type Listener = Arc<dyn Fn(Value) + Send + Sync>;

/// A running server; it ends with the process.
#[derive(Debug, Clone)]
pub struct S3 {
    pub url: String,
}

impl S3 {
    /// Over a folder, with these buckets. Forms are not told of: their key is in the body.
    ///
    /// # Errors
    /// The folder or the port.
    pub async fn start(folder: &Path, buckets: &[&str], listener: Listener) -> anyhow::Result<Self> {
        for bucket in buckets {
            std::fs::create_dir_all(folder.join(bucket))?;
        }
        let files =
            s3s_fs::FileSystem::new(folder).map_err(|e| anyhow::anyhow!("the folder of S3: {e:?}"))?;
        let mut builder = s3s::service::S3ServiceBuilder::new(files);
        builder.set_auth(s3s::auth::SimpleAuth::from_single(KEY_ID, SECRET));
        let service = builder.build();
        let socket = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let url = format!("http://{}", socket.local_addr()?);
        tokio::spawn(async move {
            while let Ok((stream, _)) = socket.accept().await {
                let (service, listener) = (service.clone(), listener.clone());
                let answer = service_fn(move |request| answer(service.clone(), listener.clone(), request));
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        });
        Ok(Self { url })
    }

    /// A client of one of its buckets.
    pub fn objects(&self, bucket: &str) -> Objects {
        let keys = SharedCredentialsProvider::new(Credentials::new(KEY_ID, SECRET, None, None, "dev"));
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(REGION))
            .endpoint_url(&self.url)
            .credentials_provider(keys.clone())
            .force_path_style(true)
            .build();
        Objects::over(config, Some(keys), bucket)
    }
}

/// Browsers ask first, and read only what they are allowed to.
fn allow(headers: &mut HeaderMap) {
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET, PUT, POST"),
        ("access-control-allow-headers", "*"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

async fn answer(
    service: s3s::service::S3Service,
    listener: Listener,
    request: Request<Incoming>,
) -> Result<Response<s3s::Body>, s3s::HttpError> {
    if request.method() == Method::OPTIONS {
        let mut response = Response::new(s3s::Body::empty());
        allow(response.headers_mut());
        return Ok(response);
    }
    // A copy is not an upload of a phone.
    let put = request.method() == Method::PUT && !request.headers().contains_key("x-amz-copy-source");
    let path = request.uri().path().trim_start_matches('/').to_owned();
    let mut response = service.call(request.map(s3s::Body::from)).await?;
    allow(response.headers_mut());
    if put
        && response.status().is_success()
        && let Some((bucket, key)) = path.split_once('/')
    {
        listener(
            json!({"Records": [{"eventVersion": "2.6", "eventName": "ObjectCreated:Put",
            "s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]}),
        );
    }
    Ok(response)
}
