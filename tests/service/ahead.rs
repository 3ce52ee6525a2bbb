//! Photos are fetched and decoded while the device is busy with another, but never more than a few ahead of it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use axum::extract::State;
use axum::routing::get;
use dragunov::contract::{ModelAnswer, ScanError, ScanRequest, ScanResult};
use dragunov::intake::Photo;
use dragunov::runtime::{Engine, EngineFactory, EngineInfo, JobContext, ModelRequest, StubEngine};
use serde_json::json;

use crate::app::{TestApp, png, png_base64};

/// The stub, but every scan waits for a word from the test.
struct Gated {
    stub: StubEngine,
    go: Arc<Mutex<mpsc::Receiver<()>>>,
}

impl Engine for Gated {
    fn info(&self) -> EngineInfo {
        self.stub.info()
    }

    fn warm_up(&mut self, _ctx: &JobContext) -> Result<(), ScanError> {
        Ok(())
    }

    fn scan(
        &mut self,
        photo: &Photo,
        request: &ScanRequest,
        ctx: &JobContext,
    ) -> Result<ScanResult, ScanError> {
        // The test is over if nobody can say the word any more.
        let _ = self.go.lock().unwrap().recv();
        self.stub.scan(photo, request, ctx)
    }

    fn run_model(
        &mut self,
        photo: &Photo,
        request: &ModelRequest,
        ctx: &JobContext,
    ) -> Result<ModelAnswer, ScanError> {
        self.stub.run_model(photo, request, ctx)
    }
}

fn gated() -> (EngineFactory, mpsc::Sender<()>) {
    let (say, hear) = mpsc::channel();
    let go = Arc::new(Mutex::new(hear));
    let factory: EngineFactory = Arc::new(move || {
        Ok(Box::new(Gated {
            stub: StubEngine::default(),
            go: go.clone(),
        }))
    });
    (factory, say)
}

/// A photo that cannot be decoded fails while another photo is on the device: decoding does not wait for it.
#[tokio::test(flavor = "multi_thread")]
async fn photos_are_decoded_while_the_device_is_busy() {
    let (engine, go) = gated();
    let app = TestApp::with(|k| k.engine = engine).await;
    let busy = app.run(json!({"image": {"base64": png_base64()}})).await;
    app.until_running(&busy).await;
    use base64::Engine as _;
    let cut = &png(64, 48)[..80];
    let cut = base64::engine::general_purpose::STANDARD.encode(cut);
    let broken = app.run(json!({"image": {"base64": cut}})).await;
    let view = app.ended(&broken).await;
    assert!(
        view["error"].as_str().unwrap().contains("image_unreadable"),
        "{view}"
    );
    assert_eq!(
        app.get(&format!("/status/{busy}")).await.1["status"],
        "IN_PROGRESS"
    );
    go.send(()).unwrap();
    assert_eq!(app.ended(&busy).await["status"], "COMPLETED");
}

/// With one photo allowed ahead, five callers cause two downloads while the device is busy, not five.
#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_photos_are_held() {
    let served = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a.png", listener.local_addr().unwrap());
    let photo = async |State(served): State<Arc<AtomicUsize>>| {
        served.fetch_add(1, Ordering::SeqCst);
        png(64, 48)
    };
    let server = axum::Router::new()
        .route("/a.png", get(photo))
        .with_state(served.clone());
    tokio::spawn(async move { axum::serve(listener, server).await });
    let (engine, go) = gated();
    let app = TestApp::with(|k| {
        k.engine = engine;
        k.ahead = 1;
    })
    .await;
    let calls: Vec<_> = (0..5)
        .map(|_| {
            let request = app
                .http
                .post(format!("{}/v1/scan", app.url))
                .json(&json!({"image": {"url": url}}));
            tokio::spawn(async move { request.send().await.unwrap().status().as_u16() })
        })
        .collect();
    while served.load(Ordering::SeqCst) < 2 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Time in which a service without the limit would have fetched the others.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(served.load(Ordering::SeqCst), 2);
    for _ in 0..5 {
        go.send(()).unwrap();
    }
    for call in calls {
        assert_eq!(call.await.unwrap(), 200);
    }
    assert_eq!(served.load(Ordering::SeqCst), 5);
}

/// Hosts that take their time with the photo hold up their own jobs and calls only, and not those of other hosts.
#[tokio::test(flavor = "multi_thread")]
async fn slow_hosts_hold_up_nobody_else() {
    /// Who waits for such a host waits this long.
    const SLOW: Duration = Duration::from_secs(120);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/a.png", listener.local_addr().unwrap());
    // Connections are taken, and nothing is ever said.
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    // The same machine under another name: another host, with places of its own.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = format!("http://localhost:{}/a.png", listener.local_addr().unwrap().port());
    let site = axum::Router::new().fallback(async || png(64, 48));
    tokio::spawn(async move { axum::serve(listener, site).await });
    let app = TestApp::with(|k| k.intake.fetch_timeout = SLOW).await;
    for _ in 0..12 {
        app.run(json!({"image": {"url": url}})).await;
    }
    let calls: Vec<_> = (0..12)
        .map(|_| {
            let request = app
                .http
                .post(format!("{}/v1/scan", app.url))
                .json(&json!({"image": {"url": url}}));
            tokio::spawn(request.send())
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = std::time::Instant::now();
    for honest in [json!({"base64": png_base64()}), json!({"url": other})] {
        let honest = json!({"image": honest});
        let id = app.run(honest.clone()).await;
        assert_eq!(app.ended(&id).await["status"], "COMPLETED");
        assert_eq!(app.post("/v1/scan", &honest).await.0, 200);
    }
    assert!(begun.elapsed() < SLOW / 2, "{:?}", begun.elapsed());
    calls.iter().for_each(tokio::task::JoinHandle::abort);
}
