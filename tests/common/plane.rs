//! RunPod's side of the worker protocol, scripted: it hands out answers in order and writes down every request. The
//! service's tests and `examples/dragunov-runpod-conformance` share it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use serde_json::{Value, json};

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
    /// Pause between the answer's head with half of its body and the rest.
    split: Option<Duration>,
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
            split: None,
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

    /// The head and half of the body come at once, the rest so much later.
    pub fn in_two_parts(mut self, pause: Duration) -> Self {
        self.split = Some(pause);
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
    let bytes = answer.body.len();
    let body =
        match answer.split {
            None => Body::from(answer.body),
            Some(pause) => {
                let (head, tail) = answer.body.split_at(bytes / 2);
                let parts = [head, tail].map(|part| part.to_owned());
                Body::from_stream(futures::stream::iter(parts).enumerate().then(
                    move |(i, part)| async move {
                        tokio::time::sleep(pause * i as u32).await;
                        Ok::<_, std::convert::Infallible>(part)
                    },
                ))
            }
        };
    let mut response = (
        axum::http::StatusCode::from_u16(answer.status).unwrap(),
        [("content-type", answer.kind)],
        body,
    )
        .into_response();
    if answer.split.is_some() {
        let headers = response.headers_mut();
        headers.insert("content-length", bytes.to_string().parse().unwrap());
    }
    for (name, value) in answer.headers {
        response.headers_mut().insert(name, value.parse().unwrap());
    }
    response
}
