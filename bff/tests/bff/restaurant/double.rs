//! Google Places and a language model in this process: scripted, and they remember what they were asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bio_bff::menus::{Agent, Dialect, Menus, Places};
use serde_json::{Value, json};

/// What the model does next.
#[derive(Clone)]
pub enum Turn {
    /// Text of its answer.
    Says(String),
    /// A whole body.
    Body(Value),
    Status(u16, Option<&'static str>),
    /// Silence, then a good menu.
    Slow(Duration),
}

#[derive(Default)]
pub struct Script {
    /// When it is empty: a good menu.
    pub turns: VecDeque<Turn>,
    /// Place ids that exist; the first is what a search finds.
    pub places: Vec<String>,
    pub asked: Vec<Value>,
    pub searched: Vec<(HeaderMap, Value)>,
    pub looked_up: Vec<String>,
}

pub struct Double {
    pub script: Arc<Mutex<Script>>,
    base: String,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Shared = State<Arc<Mutex<Script>>>;

async fn search(State(script): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Json<Value> {
    let mut script = script.lock().unwrap();
    script.searched.push((headers, body));
    match script.places.first() {
        Some(id) => Json(json!({"places": [{"id": id}]})),
        None => Json(json!({})),
    }
}

async fn place(State(script): Shared, Path(id): Path<String>) -> Response {
    let mut script = script.lock().unwrap();
    script.looked_up.push(id.clone());
    match script.places.contains(&id) {
        true => Json(json!({"id": id})).into_response(),
        false => (
            StatusCode::NOT_FOUND,
            Json(json!({"error": {"status": "NOT_FOUND"}})),
        )
            .into_response(),
    }
}

pub fn items(n: usize) -> Value {
    let item = |i| json!({"name": format!("Dish {i}"), "serving": "1", "kcal": 200, "protein_g": 10, "carbs_g": 20, "fat_g": 9, "alcohol": false});
    (0..n).map(item).collect()
}

fn completion(text: &str) -> Value {
    json!({"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]})
}

async fn complete(State(script): Shared, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    assert_eq!(headers["authorization"], "Bearer model-key");
    let question = body["messages"][1]["content"].as_str().unwrap().to_owned();
    let question: Value = serde_json::from_str(&question).unwrap();
    let turn = {
        let mut script = script.lock().unwrap();
        script.asked.push(body);
        script.turns.pop_front()
    };
    let good = completion(&json!({"restaurant": question["restaurant"], "items": items(5)}).to_string());
    match turn {
        None => Json(good).into_response(),
        Some(Turn::Says(text)) => Json(completion(&text)).into_response(),
        Some(Turn::Body(body)) => Json(body).into_response(),
        Some(Turn::Status(status, after)) => {
            let mut answer = StatusCode::from_u16(status).unwrap().into_response();
            if let Some(after) = after {
                answer.headers_mut().insert("retry-after", after.parse().unwrap());
            }
            answer
        }
        Some(Turn::Slow(pause)) => {
            tokio::time::sleep(pause).await;
            Json(good).into_response()
        }
    }
}

impl Double {
    pub async fn start() -> Self {
        let script = Arc::new(Mutex::new(Script {
            places: vec!["ChIJ-place_1".into()],
            ..Script::default()
        }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/v1/places:searchText", post(search))
            .route("/v1/places/{id}", get(place))
            .route("/model/chat/completions", post(complete))
            .with_state(script.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { script, base, server }
    }

    pub fn menus(&self, dialect: Dialect, patience: Duration) -> Arc<Menus> {
        let url = |path: &str| format!("{}{path}", self.base).parse().unwrap();
        let agent = Agent::new(
            url("/model"),
            "model-key".to_owned().into(),
            "m-1".into(),
            dialect,
            patience,
        )
        .unwrap();
        let places = Places::new(url(""), "places-key".to_owned().into()).unwrap();
        Arc::new(Menus {
            agent,
            places: Some(places),
        })
    }

    pub fn will(&self, turn: Turn) {
        self.script.lock().unwrap().turns.push_back(turn);
    }

    pub fn asked(&self) -> usize {
        self.script.lock().unwrap().asked.len()
    }
}
