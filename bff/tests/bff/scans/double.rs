//! A vision service as the job API shows it; its jobs end when a test says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::SECRET;

#[derive(Debug, Clone)]
pub struct Job {
    pub input: Value,
    pub webhook: String,
    pub status: &'static str,
    pub output: Value,
    pub error: Option<String>,
}

#[derive(Default)]
pub struct Shared {
    pub jobs: BTreeMap<String, Job>,
    /// Answers 503.
    pub away: bool,
    /// Takes no more jobs.
    pub full: bool,
    pub recomputed: usize,
    /// Jobs end as soon as they are taken, before the submission is answered.
    pub hasty: bool,
    /// How often it was asked how a job stands, and how long it thinks about it.
    pub asked: usize,
    pub thinks: Duration,
}

pub struct Double {
    pub url: String,
    pub http: reqwest::Client,
    shared: Arc<Mutex<Shared>>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Double {
    fn drop(&mut self) {
        self.server.abort();
    }
}

type Shop = Arc<Mutex<Shared>>;
type Answer = Result<Json<Value>, StatusCode>;

/// The contract's example, with pictures.
pub fn result() -> Value {
    let text = include_str!("../../../../fixtures/contract/scan_result.json");
    let mut result: Value = serde_json::from_str(text).unwrap();
    let png = STANDARD.encode(b"\x89PNG\r\n\x1a\nnot really");
    result["overlay"] = json!(png);
    result["depth"] = json!(png);
    result
}

fn at_work(shop: &Shop) -> Result<(), StatusCode> {
    if shop.lock().unwrap().away {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    Ok(())
}

async fn run(State((shop, http)): State<(Shop, reqwest::Client)>, Json(body): Json<Value>) -> Answer {
    at_work(&shop)?;
    let (id, hasty) = {
        let mut shared = shop.lock().unwrap();
        if shared.full {
            return Err(StatusCode::TOO_MANY_REQUESTS);
        }
        let id = format!("job-{}", shared.jobs.len() + 1);
        let job = Job {
            input: body["input"].clone(),
            webhook: body["webhook"].as_str().unwrap().to_owned(),
            status: "IN_QUEUE",
            output: Value::Null,
            error: None,
        };
        shared.jobs.insert(id.clone(), job);
        (id, shared.hasty)
    };
    if hasty {
        let webhook = end(&shop, &id, "COMPLETED", result(), None);
        assert_eq!(call(&http, &id, &webhook, 0).await, 200);
    }
    Ok(Json(json!({"id": id, "status": "IN_QUEUE"})))
}

async fn status(State((shop, _)): State<(Shop, reqwest::Client)>, Path(id): Path<String>) -> Answer {
    at_work(&shop)?;
    let thinks = {
        let mut shared = shop.lock().unwrap();
        shared.asked += 1;
        shared.thinks
    };
    tokio::time::sleep(thinks).await;
    let shared = shop.lock().unwrap();
    let job = shared.jobs.get(&id).ok_or(StatusCode::NOT_FOUND);
    let Ok(job) = job else {
        // The body is JSON there, too.
        return Ok(Json(json!({"id": id, "status": "GONE"})));
    };
    let mut view = json!({"id": id, "status": job.status});
    if !job.output.is_null() {
        view["output"] = job.output.clone();
    }
    if let Some(error) = &job.error {
        view["error"] = json!(error);
    }
    Ok(Json(view))
}

async fn cancel(State((shop, _)): State<(Shop, reqwest::Client)>, Path(id): Path<String>) -> Answer {
    at_work(&shop)?;
    let mut shared = shop.lock().unwrap();
    if let Some(job) = shared.jobs.get_mut(&id) {
        job.status = "CANCELLED";
    }
    Ok(Json(json!({"id": id, "status": "CANCELLED"})))
}

/// The first told grams become the first item's; enough to see where numbers come from.
async fn recompute(State((shop, _)): State<(Shop, reqwest::Client)>, Json(body): Json<Value>) -> Answer {
    at_work(&shop)?;
    shop.lock().unwrap().recomputed += 1;
    let mut result = body["original"].clone();
    for edit in body["edits"].as_array().unwrap() {
        let items = result["items"].as_array_mut().unwrap();
        if edit["add"] == true {
            let mut item = items[0].clone();
            item["id"] = json!("added-1");
            item["label"] = edit["label"].clone();
            items.push(item);
            continue;
        }
        let item = items.iter_mut().find(|i| i["id"] == edit["item"]).unwrap();
        if let Some(label) = edit["label"].as_str() {
            item["label"] = json!(label);
            item["origins"]["label"] = json!("told");
        }
        if let Some(grams) = edit["grams"].as_f64() {
            let before = item["mass_g"]["p50"].as_f64().unwrap();
            item["mass_g"] = json!({"p10": grams, "p50": grams, "p90": grams});
            item["origins"]["mass"] = json!("told");
            let kcal = item["kcal"]["p50"].as_f64().unwrap();
            let total = result["totals"]["kcal"]["p50"].as_f64().unwrap() + kcal * (grams / before - 1.0);
            result["totals"]["kcal"] = json!({"p10": total, "p50": total, "p90": total});
        }
    }
    result["original"] = body["original"].clone();
    result["edits"] = body["edits"].clone();
    Ok(Json(result))
}

fn end(shop: &Shop, id: &str, status: &'static str, output: Value, error: Option<String>) -> String {
    let mut shared = shop.lock().unwrap();
    let job = shared.jobs.get_mut(id).unwrap();
    job.status = status;
    job.output = output;
    job.error = error;
    job.webhook.clone()
}

/// Calls a webhook, signed, `late` seconds after its time.
async fn call(http: &reqwest::Client, id: &str, webhook: &str, late: i64) -> u16 {
    try_call(http, id, webhook, late).await.unwrap()
}

async fn try_call(http: &reqwest::Client, id: &str, webhook: &str, late: i64) -> reqwest::Result<u16> {
    let request = signed(http, id, webhook, late);
    Ok(request.send().await?.status().as_u16())
}

fn signed(http: &reqwest::Client, id: &str, webhook: &str, late: i64) -> reqwest::RequestBuilder {
    let body = json!({"id": id, "status": "COMPLETED", "output": "not to be believed"}).to_string();
    let at = jiff::Timestamp::now().as_second() - late;
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    let request = http
        .post(webhook)
        .header("webhook-id", id)
        .header("webhook-timestamp", at)
        .header("webhook-signature", signature)
        .header("content-type", "application/json");
    request.body(body)
}

impl Double {
    pub async fn start() -> Self {
        let shared = Shop::default();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let router = Router::new()
            .route("/run", post(run))
            .route("/status/{id}", get(status))
            .route("/cancel/{id}", post(cancel))
            .route("/v1/recompute", post(recompute))
            .layer(axum::extract::DefaultBodyLimit::max(64 << 20))
            .with_state((shared.clone(), http.clone()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            http,
            shared,
            server,
        }
    }

    pub fn set(&self, change: impl FnOnce(&mut Shared)) {
        change(&mut self.shared.lock().unwrap());
    }

    pub fn jobs(&self) -> Vec<(String, Job)> {
        let shared = self.shared.lock().unwrap();
        shared
            .jobs
            .iter()
            .map(|(id, job)| (id.clone(), job.clone()))
            .collect()
    }

    /// How often it was asked how a job stands.
    pub fn asked(&self) -> usize {
        self.shared.lock().unwrap().asked
    }

    pub fn recomputed(&self) -> usize {
        self.shared.lock().unwrap().recomputed
    }

    /// Ends a job, telling nobody; its webhook's address.
    pub fn end(&self, id: &str) -> String {
        end(&self.shared, id, "COMPLETED", result(), None)
    }

    pub fn fail(&self, id: &str, error: &str) -> String {
        end(&self.shared, id, "FAILED", Value::Null, Some(error.to_owned()))
    }

    /// A call that is not made yet.
    pub fn signed(&self, id: &str, webhook: &str) -> reqwest::RequestBuilder {
        signed(&self.http, id, webhook, 0)
    }

    pub async fn call(&self, id: &str, webhook: &str, late: i64) -> u16 {
        call(&self.http, id, webhook, late).await
    }

    /// Ends the job that was submitted last, telling nobody; its id and its webhook's address.
    pub fn end_last(&self) -> (String, String) {
        let id = format!("job-{}", self.shared.lock().unwrap().jobs.len());
        let webhook = self.end(&id);
        (id, webhook)
    }

    /// Ends every job that waits, and calls.
    pub async fn finish_all(&self) {
        for (id, job) in self.jobs() {
            if job.status == "IN_QUEUE" {
                let webhook = self.end(&id);
                assert_eq!(self.call(&id, &webhook, 0).await, 200);
            }
        }
    }
}

/// Works on a double's jobs.
pub struct Handle {
    shop: Shop,
    http: reqwest::Client,
}

impl Double {
    pub fn handle(&self) -> Handle {
        Handle {
            shop: self.shared.clone(),
            http: self.http.clone(),
        }
    }
}

impl Handle {
    /// Ends up to `n` of the jobs that wait, telling nobody; how many.
    pub fn end_next(&self, n: usize) -> usize {
        let waiting: Vec<String> = {
            let shared = self.shop.lock().unwrap();
            let waits = shared.jobs.iter().filter(|(_, job)| job.status == "IN_QUEUE");
            waits.map(|(id, _)| id.clone()).take(n).collect()
        };
        for id in &waiting {
            end(&self.shop, id, "COMPLETED", result(), None);
        }
        waiting.len()
    }

    /// Ends jobs, `pause` between two looks, until it is dropped; every fifth webhook is lost, and none is sent twice.
    pub async fn work(&self, pause: Duration) {
        for n in 0_u64.. {
            tokio::time::sleep(pause).await;
            let waiting: Vec<String> = {
                let shared = self.shop.lock().unwrap();
                let waits = shared.jobs.iter().filter(|(_, job)| job.status == "IN_QUEUE");
                waits.map(|(id, _)| id.clone()).collect()
            };
            for id in waiting {
                let webhook = end(&self.shop, &id, "COMPLETED", result(), None);
                if !n.is_multiple_of(5) {
                    let http = self.http.clone();
                    tokio::spawn(async move { try_call(&http, &id, &webhook, 0).await });
                }
            }
        }
    }
}
