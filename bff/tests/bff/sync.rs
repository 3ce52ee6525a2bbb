//! What exporters post, and what becomes of it.

mod adapters;
mod packed;
mod records;
mod volume;

pub(crate) use packed::gzip;
use serde_json::{Value, json};

use crate::harness::{Client, Service, Wish};

const NOW: &str = "2026-11-29T09:05:00Z";

pub(crate) async fn start() -> Option<Service> {
    Service::start(Wish {
        now: Some(NOW.parse().unwrap()),
        ..Wish::default()
    })
    .await
}

macro_rules! at_now {
    () => {
        match $crate::sync::start().await {
            Some(service) => service,
            None => return,
        }
    };
}

use at_now;

/// An account that is old enough for everything here.
async fn old_user(s: &Service, name: &str) -> Client {
    let c = s.user(name);
    c.get("/me").await.expect(200);
    s.sql("UPDATE users SET created_at = '2026-01-01'");
    c
}

fn record(kind: &str, start: &str, end: &str, value: f64, source: &str) -> Value {
    json!({"kind": kind, "start": start, "end": end, "value": value, "source": source})
}

fn steps(start: &str, end: &str, value: i64, source: &str) -> Value {
    record("steps", start, end, value as f64, source)
}

async fn send(c: &Client, records: Vec<Value>) -> Value {
    c.post("/sync/batch", json!({"records": records}))
        .await
        .expect(200)
}

fn verdicts(answer: &Value) -> Vec<String> {
    let one = |r: &Value| {
        let verdict = r["verdict"].as_str().unwrap();
        r["code"]
            .as_str()
            .map_or(verdict.to_owned(), |code| format!("{verdict} {code}"))
    };
    answer["results"].as_array().unwrap().iter().map(one).collect()
}

async fn day_steps(c: &Client) -> Value {
    c.get("/diary/2026-11-29").await.expect(200)["steps"].clone()
}
