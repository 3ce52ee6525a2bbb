//! The program under a double of Lambda's runtime API: events of API Gateway, SQS and the schedule.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::harness::PATIENCE;
use crate::processes::{Process, World};

type Waiting = Mutex<HashMap<String, oneshot::Sender<Value>>>;

/// The runtime API: invocations are queued, answers are handed to who waits for them.
struct Runtime {
    address: String,
    events: mpsc::UnboundedSender<(String, Value)>,
    shared: Arc<Shared>,
}

struct Shared {
    events: Mutex<mpsc::UnboundedReceiver<(String, Value)>>,
    waiting: Waiting,
}

async fn next(State(shared): State<Arc<Shared>>) -> Response {
    let Some((id, event)) = shared.events.lock().await.recv().await else {
        return StatusCode::GONE.into_response();
    };
    let deadline = jiff::Timestamp::now().as_millisecond() + 30_000;
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        ("lambda-runtime-deadline-ms", deadline.to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:bff".to_owned(),
        ),
    ];
    (headers, Json(event)).into_response()
}

async fn answered(
    State(shared): State<Arc<Shared>>,
    Path((id, how)): Path<(String, String)>,
    answer: bytes::Bytes,
) -> StatusCode {
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    if let Some(waiting) = shared.waiting.lock().await.remove(&id) {
        let _ = waiting.send(json!({ "how": how, "answer": answer }));
    }
    StatusCode::ACCEPTED
}

impl Runtime {
    async fn start() -> Self {
        let (events, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            events: Mutex::new(receiver),
            waiting: Mutex::default(),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/{how}", post(answered))
            .with_state(shared.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            events,
            shared,
        }
    }

    async fn invoke(&self, event: Value) -> Value {
        let id = uuid::Uuid::new_v4().to_string();
        let (send, receive) = oneshot::channel();
        self.shared.waiting.lock().await.insert(id.clone(), send);
        self.events.send((id, event)).unwrap();
        let got = tokio::time::timeout(PATIENCE, receive).await.unwrap().unwrap();
        assert_eq!(got["how"], "response", "{got}");
        got["answer"].clone()
    }
}

/// A request as API Gateway's HTTP API sends it.
fn request(method: &str, path: &str, token: &str, body: Option<&[u8]>, packed: bool) -> Value {
    let mut headers = json!({"host": "abc.execute-api.us-east-1.amazonaws.com", "authorization": format!("Bearer {token}"),
        "content-type": "application/json", "x-forwarded-proto": "https", "x-forwarded-port": "443",
        "idempotency-key": "k1"});
    if packed {
        headers["content-encoding"] = json!("gzip");
    }
    json!({"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers": headers,
        "requestContext": {"accountId": "123456789012", "apiId": "abc", "stage": "$default", "requestId": "r",
            "domainName": "abc.execute-api.us-east-1.amazonaws.com", "domainPrefix": "abc", "routeKey": "$default",
            "time": "29/Nov/2026:09:00:00 +0000", "timeEpoch": 1_796_000_000_000u64,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "test"}},
        "body": body.map(|b| STANDARD.encode(b)), "isBase64Encoded": body.is_some()})
}

fn body(answer: &Value) -> Value {
    let text = answer["body"].as_str().unwrap();
    let bytes = if answer["isBase64Encoded"] == true {
        STANDARD.decode(text).unwrap()
    } else {
        text.as_bytes().to_vec()
    };
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_router_answers_api_gateway() {
    let Some(world) = World::start().await else { return };
    let runtime = Runtime::start().await;
    let _function: Process = world.lambda("api_login", "api", &runtime.address);
    let token = world.idp.access("a", jiff::Timestamp::now().as_second());
    let call = async |method: &str, path: &str, sent: Option<Value>, packed: bool| {
        let bytes = sent.map(|v| v.to_string().into_bytes());
        let bytes = bytes.map(|b| if packed { crate::sync::gzip(&b) } else { b });
        let event = request(method, path, &token, bytes.as_deref(), packed);
        runtime.invoke(event).await
    };
    let me = call("GET", "/me", None, false).await;
    assert_eq!(me["statusCode"], 200, "{me}");
    assert_eq!(me["headers"]["content-type"], "application/json");
    let start = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let batch = json!({"records": [{"kind": "resting_hr", "start": start.to_string(), "value": 61, "source": "watch"}]});
    let synced = call("POST", "/sync/batch", Some(batch), true).await;
    assert_eq!(body(&synced)["counts"]["stored"], 1, "{synced}");
    let stew = json!({"recipe_name": "Stew", "total_servings": 2, "calories_per_serving": 300,
        "macros_json": {"p": 1, "c": 1, "f": 1}});
    let stew = call("POST", "/pantry/leftovers", Some(stew), false).await;
    assert_eq!(stew["statusCode"], 201, "{stew}");
    let wish = json!({"leftover_id": body(&stew)["id"], "consumed_servings": 0.5});
    let eaten = call("POST", "/pantry/leftovers/consume", Some(wish), false).await;
    assert_eq!(body(&eaten)["food_log"]["calories"], 150, "{eaten}");
    let shown = call("GET", "/dashboard/state", None, false).await;
    assert_eq!(body(&shown)["totals"]["calories"], 150, "{shown}");
    let nowhere = call("GET", "/nowhere", None, false).await;
    assert_eq!(
        (&nowhere["statusCode"], &body(&nowhere)["code"]),
        (&json!(404), &json!("not_found"))
    );
    let stranger = runtime.invoke(request("GET", "/me", "x", None, false)).await;
    assert_eq!(stranger["statusCode"], 401, "{stranger}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_answers_sqs_and_the_schedule() {
    let Some(world) = World::start().await else { return };
    let (api, worker) = (Runtime::start().await, Runtime::start().await);
    let _serve = world.lambda("api_login", "api", &api.address);
    let _worker = world.lambda("worker_login", "worker", &worker.address);
    let token = world.idp.access("a", jiff::Timestamp::now().as_second());
    let feel = json!({"value": 70}).to_string();
    let felt = api
        .invoke(request("POST", "/feel", &token, Some(feel.as_bytes()), false))
        .await;
    assert_eq!(felt["statusCode"], 200, "{felt}");
    assert_eq!(world.sql("SELECT count(*) FROM outbox"), ["1"]);
    let tick = json!({"version": "0", "id": "e", "detail-type": "Scheduled Event", "source": "aws.events", "detail": {}});
    assert_eq!(worker.invoke(tick).await, json!({"batchItemFailures": []}));
    let relayed = world.sql("SELECT body FROM ops.messages");
    assert_eq!(relayed.len(), 1);
    let record = |id: &str, body: &str| {
        json!({"messageId": id, "receiptHandle": "h", "body": body,
        "attributes": {"ApproximateReceiveCount": "1"}, "eventSource": "aws:sqs"})
    };
    let batch = json!({"Records": [record("good", &relayed[0]), record("junk", "{"), record("odd", "{\"kind\": 7}")]});
    let answer = worker.invoke(batch).await;
    let mut failed: Vec<&str> = answer["batchItemFailures"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["itemIdentifier"].as_str().unwrap())
        .collect();
    failed.sort_unstable();
    assert_eq!(failed, ["junk", "odd"]);
    assert_eq!(world.sql("SELECT energy_score FROM daily_plan"), ["70.0"]);
}
