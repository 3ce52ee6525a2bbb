//! RunPod's side of the worker protocol, scripted: it hands out answers in order and writes down every request.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use dragunov::bucket::{Buckets, S3Keys};
use dragunov::intake::{Intake, IntakeConfig};
use dragunov::runtime::{Device, DeviceOptions, Executor, StubEngine};
use dragunov::worker::inflight::Inflight;
use dragunov::worker::ping::Pinger;
use dragunov::worker::{Ended, Timings, Worker, WorkerEnv, WorkerOptions};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// One request as it came.
#[derive(Debug, Clone)]
pub struct Call {
    pub at: Instant,
    /// `take`, `stop`, `done`, `stream`, `ping`
    pub kind: &'static str,
    /// Path and query, as sent.
    pub target: String,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Call {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    pub fn is_progress(&self) -> bool {
        self.body.contains("\"IN_PROGRESS\"")
    }
}

/// One scripted answer.
#[derive(Debug, Clone)]
pub struct Answer {
    status: u16,
    body: String,
    kind: &'static str,
    headers: Vec<(&'static str, String)>,
    hold: Duration,
    /// Close the connection without an answer.
    reset: bool,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            body: String::new(),
            kind: "application/json",
            headers: Vec::new(),
            hold: Duration::ZERO,
            reset: false,
        }
    }

    pub fn json(body: Value) -> Self {
        Self::text(body.to_string())
    }

    pub fn text(body: impl Into<String>) -> Self {
        Self {
            body: body.into(),
            ..Self::status(200)
        }
    }

    pub fn job(id: &str, input: Value) -> Self {
        Self::json(json!({"id": id, "input": input}))
    }

    pub fn of_kind(mut self, kind: &'static str) -> Self {
        self.kind = kind;
        self
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn held(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    pub fn reset() -> Self {
        Self {
            reset: true,
            ..Self::status(500)
        }
    }
}

#[derive(Default)]
struct Script {
    calls: Vec<Call>,
    answers: HashMap<&'static str, VecDeque<Answer>>,
}

/// The platform.
#[derive(Clone)]
pub struct Plane {
    script: Arc<Mutex<Script>>,
    pub base: String,
}

impl Plane {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener)
    }

    pub fn on(listener: tokio::net::TcpListener) -> Self {
        let plane = Self {
            script: Arc::default(),
            base: format!("http://{}/v2/ep", listener.local_addr().unwrap()),
        };
        let router = axum::Router::new().fallback(answer).with_state(plane.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        plane
    }

    pub fn script(&self, kind: &'static str, answers: impl IntoIterator<Item = Answer>) -> &Self {
        self.script
            .lock()
            .unwrap()
            .answers
            .entry(kind)
            .or_default()
            .extend(answers);
        self
    }

    /// From now on this route answers as it does without a script.
    pub fn forget(&self, kind: &'static str) {
        self.script.lock().unwrap().answers.remove(kind);
    }

    pub fn calls(&self, kind: &str) -> Vec<Call> {
        self.script
            .lock()
            .unwrap()
            .calls
            .iter()
            .filter(|c| c.kind == kind)
            .cloned()
            .collect()
    }

    /// Posts to the job-done address that are no progress.
    pub fn finals(&self) -> Vec<Call> {
        self.calls("done")
            .into_iter()
            .filter(|c| !c.is_progress())
            .collect()
    }

    /// Waits until `n` final posts have come.
    pub async fn until_finals(&self, n: usize) -> Vec<Call> {
        self.until(n, || self.finals()).await
    }

    pub async fn until_calls(&self, kind: &'static str, n: usize) -> Vec<Call> {
        self.until(n, || self.calls(kind)).await
    }

    async fn until(&self, n: usize, read: impl Fn() -> Vec<Call>) -> Vec<Call> {
        for _ in 0..6000 {
            let calls = read();
            if calls.len() >= n {
                return calls;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!(
            "{} of {n} calls came: {:#?}",
            read().len(),
            self.script.lock().unwrap().calls
        );
    }

    /// The environment of a worker of this platform.
    pub fn env(&self) -> HashMap<String, String> {
        let base = &self.base;
        [
            (
                "RUNPOD_WEBHOOK_GET_JOB",
                format!("{base}/job-take/$ID?gpu=NVIDIA+RTX"),
            ),
            (
                "RUNPOD_WEBHOOK_POST_OUTPUT",
                format!("{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=NVIDIA+RTX"),
            ),
            (
                "RUNPOD_WEBHOOK_POST_STREAM",
                format!("{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=NVIDIA+RTX"),
            ),
            (
                "RUNPOD_WEBHOOK_PING",
                format!("{base}/ping/$RUNPOD_POD_ID?gpu=NVIDIA+RTX"),
            ),
            ("RUNPOD_AI_API_KEY", "KEY123".into()),
            ("RUNPOD_POD_ID", "pod-abc".into()),
            ("RUNPOD_PING_INTERVAL", "1000".into()),
        ]
        .into_iter()
        .map(|(k, v)| (k.to_owned(), v))
        .collect()
    }
}

async fn answer(State(plane): State<Plane>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let target = parts.uri.path_and_query().unwrap().as_str().to_owned();
    let kind = ["job-take", "job-stop", "job-done", "job-stream", "ping"]
        .into_iter()
        .find(|k| target.contains(&format!("/{k}")))
        .map_or("other", |k| k.strip_prefix("job-").unwrap_or(k));
    let body = String::from_utf8(to_bytes(body, 1 << 26).await.unwrap().to_vec()).unwrap();
    let headers = parts
        .headers
        .iter()
        .map(|(k, v)| (k.to_string(), v.to_str().unwrap_or_default().to_owned()))
        .collect();
    let next = {
        let mut script = plane.script.lock().unwrap();
        script.calls.push(Call {
            at: Instant::now(),
            kind,
            target,
            headers,
            body,
        });
        script.answers.get_mut(kind).and_then(VecDeque::pop_front)
    };
    let answer = next.unwrap_or_else(|| match kind {
        // As the platform does: held, then nothing.
        "take" | "stop" => Answer::status(204).held(Duration::from_millis(500)),
        _ => Answer::status(200),
    });
    tokio::time::sleep(answer.hold).await;
    // The connection's task ends with the panic, and the connection without an answer.
    assert!(!answer.reset, "a scripted reset");
    let mut response = (
        axum::http::StatusCode::from_u16(answer.status).unwrap(),
        [("content-type", answer.kind)],
        answer.body,
    )
        .into_response();
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}

/// Longer than any test waits: what a worker does that must not wait for something.
pub const AGES: Duration = Duration::from_secs(120);

/// The waits of the protocol, ten to a hundred times shorter.
pub fn quick() -> Timings {
    let ms = Duration::from_millis;
    Timings {
        poll: ms(3000),
        connect: ms(1000),
        held: ms(100),
        empty_pause: ms(200),
        odd_pause: ms(200),
        busy_pause: ms(500),
        backoff_min: ms(50),
        backoff_max: ms(400),
        result_for: ms(6000),
        result_min: ms(50),
        result_max: ms(400),
        post: ms(2000),
        progress_gap: ms(200),
        progress_wait: ms(200),
        stop_pause: ms(100),
        stop_absent: ms(1000),
        last_take: ms(1000),
        unhealthy_ping: ms(500),
        drain: None,
        drain_result_for: ms(2000),
    }
}

/// A worker in this process.
pub struct Running {
    stop: CancellationToken,
    pub worker: JoinHandle<Ended>,
    pub jobs: Inflight,
    _pinger: Option<Pinger>,
}

impl Running {
    pub fn start(plane: &Plane) -> Self {
        Self::with(plane, WorkerOptions::default(), quick(), |_| {})
    }

    pub fn with(
        plane: &Plane,
        options: WorkerOptions,
        timings: Timings,
        turn: impl FnOnce(&mut HashMap<String, String>),
    ) -> Self {
        let mut vars = plane.env();
        turn(&mut vars);
        let var = |name: &str| vars.get(name).cloned();
        let env = WorkerEnv::read(var).unwrap().unwrap();
        let buckets = Buckets::new(S3Keys::from_env(var).unwrap().as_ref(), true).unwrap();
        let device = Device::start(StubEngine::factory(Duration::ZERO), DeviceOptions::default()).unwrap();
        let intake = Intake::new(IntakeConfig::default());
        let executor = Executor::new(device, intake, buckets, 4).takes_scripts(true);
        let jobs = Inflight::default();
        let pinger = Pinger::start(&env, jobs.clone()).unwrap();
        let worker = Worker::new(&env, executor, jobs.clone(), options, timings).unwrap();
        let stop = CancellationToken::new();
        let until = stop.clone();
        let worker = tokio::spawn(async move { worker.run(until.cancelled_owned()).await });
        Self {
            stop,
            worker,
            jobs,
            _pinger: pinger,
        }
    }

    /// Ends the worker, which must not take as long as the answers that tests hold back.
    pub async fn stop(self) -> Ended {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(30), self.worker)
            .await
            .unwrap()
            .unwrap()
    }
}
