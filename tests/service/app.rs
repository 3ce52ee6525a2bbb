//! A whole service in this process, on a free port.

use std::path::Path;
use std::time::Duration;

use dragunov::http::{App, AppOptions, ServeOptions, SharedApp, serve};
use dragunov::intake::{Intake, IntakeConfig};
use dragunov::jobs::{Clock, Limits, Store};
use dragunov::runpod::WorkerIdentity;
use dragunov::runtime::{Device, DeviceOptions, EngineFactory, Executor, StubEngine};
use dragunov::s3::{Buckets, S3Keys};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::patience::until;

pub struct Knobs {
    pub app: AppOptions,
    pub limits: Limits,
    pub serve: ServeOptions,
    pub device: DeviceOptions,
    pub engine: EngineFactory,
    pub intake: IntakeConfig,
    /// The operator's own.
    pub bucket: Option<S3Keys>,
    /// Photos prepared ahead of the device.
    pub ahead: usize,
}

impl Default for Knobs {
    fn default() -> Self {
        Self {
            app: AppOptions {
                private_webhooks: true,
                ..AppOptions::default()
            },
            limits: Limits::default(),
            serve: ServeOptions {
                drain_timeout: Duration::from_secs(5),
                ..ServeOptions::default()
            },
            device: DeviceOptions::default(),
            engine: StubEngine::factory(Duration::ZERO),
            intake: IntakeConfig {
                allow_private_urls: true,
                ..IntakeConfig::default()
            },
            bucket: None,
            ahead: 4,
        }
    }
}

pub struct TestApp {
    pub url: String,
    pub http: reqwest::Client,
    pub clock: Clock,
    pub app: SharedApp,
    stop: CancellationToken,
    server: JoinHandle<Result<(), dragunov::ScanError>>,
}

impl TestApp {
    pub async fn spawn() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(turn: impl FnOnce(&mut Knobs)) -> Self {
        Self::at(None, turn).await
    }

    pub async fn at(dir: Option<&Path>, turn: impl FnOnce(&mut Knobs)) -> Self {
        let mut knobs = Knobs::default();
        turn(&mut knobs);
        let clock = Clock::default();
        // A store of this process that was just dropped closes its file on a thread of its own.
        let mut opened = None;
        until("the store can be opened", async || {
            opened = Store::open(dir, knobs.limits, clock.clone(), "w-test").ok();
            opened.is_some()
        })
        .await;
        let (store, due) = opened.unwrap();
        let device = Device::start(knobs.engine, knobs.device).unwrap();
        let buckets = Buckets::new(knobs.bucket.as_ref(), knobs.intake.allow_private_urls).unwrap();
        let intake = Intake::new(knobs.intake);
        let executor = Executor::new(device, intake, buckets, knobs.ahead).takes_scripts(true);
        let metrics = dragunov::telemetry::metrics::install().unwrap();
        let app = App::new(
            knobs.app,
            executor,
            store,
            WorkerIdentity::new("w-test"),
            Some(metrics),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let server = tokio::spawn(serve(
            listener,
            app.clone(),
            due,
            knobs.serve,
            stop.clone().cancelled_owned(),
        ));
        Self {
            url,
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            clock,
            app,
            stop,
            server,
        }
    }

    /// Tells the service to end; returns how it did.
    pub async fn stop(self) -> Result<(), dragunov::ScanError> {
        self.stop.cancel();
        self.server.await.unwrap()
    }

    pub fn begin_stop(&self) {
        self.stop.cancel();
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        read(self.http.get(format!("{}{path}", self.url)).send().await.unwrap()).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).json(body);
        read(request.send().await.unwrap()).await
    }

    /// `/run`, expecting acceptance; the id.
    pub async fn run(&self, input: Value) -> String {
        let (status, body) = self.post("/run", &json!({ "input": input })).await;
        assert_eq!((status, &body["status"]), (200, &json!("IN_QUEUE")), "{body}");
        body["id"].as_str().unwrap().to_owned()
    }

    /// `/status` until the job has ended.
    pub async fn ended(&self, id: &str) -> Value {
        let mut view = Value::Null;
        until("the job ends", async || {
            let (status, body) = self.get(&format!("/status/{id}")).await;
            assert_eq!(status, 200, "{body}");
            view = body;
            !matches!(view["status"].as_str(), Some("IN_QUEUE" | "IN_PROGRESS"))
        })
        .await;
        view
    }

    pub async fn until_running(&self, id: &str) {
        until("the job starts", async || {
            self.get(&format!("/status/{id}")).await.1["status"] == "IN_PROGRESS"
        })
        .await;
    }
}

pub async fn read(response: reqwest::Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let bytes = response.bytes().await.unwrap();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or_else(|_| json!(String::from_utf8_lossy(&bytes))),
    )
}

/// A small PNG with something on it.
pub fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(width, height, |x, y| {
        image::Rgb([(40 + 3 * x) as u8, (250 - 2 * y) as u8, 90])
    })
    .write_to(&mut bytes, image::ImageFormat::Png)
    .unwrap();
    bytes.into_inner()
}

pub fn png_base64() -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(png(64, 48))
}
