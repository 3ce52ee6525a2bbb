//! kill -9 at random moments: every accepted job ends exactly once.
//!
//! `DRAGUNOV_KILLS` sets the number of kills (8 if unset; 50 before a release).

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::patience::until;
use crate::process::{Service, client, get};

#[tokio::test(flavor = "multi_thread")]
async fn accepted_jobs_survive_kill_9() {
    let kills: u64 = std::env::var("DRAGUNOV_KILLS")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(8);
    let dir = tempfile::tempdir().unwrap();
    let http = client();
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    // Job id to what it must return.
    let mut accepted: HashMap<String, u64> = HashMap::new();
    // Job id to the terminal view first seen.
    let mut ended: HashMap<String, Value> = HashMap::new();
    let mut n = 0;
    for _ in 0..kills {
        let service = Service::stub(dir.path());
        let until = tokio::time::Instant::now() + Duration::from_millis(40 + random.next() % 260);
        while tokio::time::Instant::now() < until {
            n += 1;
            let body = json!({"input": {"mock_return": n, "mock_delay": 0.004}});
            // Only a 200 that was read to its end is an acceptance.
            if let Ok(response) = http.post(format!("{}/run", service.url)).json(&body).send().await
                && response.status() == 200
                && let Ok(view) = response.json::<Value>().await
            {
                accepted.insert(view["id"].as_str().unwrap().to_owned(), n);
            }
            look(&http, &service.url, &accepted, &mut ended, 2).await;
        }
        service.kill();
    }
    let service = Service::stub(dir.path());
    until("all jobs end", async || {
        look(&http, &service.url, &accepted, &mut ended, usize::MAX).await;
        ended.len() == accepted.len()
    })
    .await;
    assert!(
        accepted.len() > kills as usize,
        "only {} jobs were accepted",
        accepted.len()
    );
    assert_eq!(ended.len(), accepted.len(), "accepted jobs were lost");
    for (id, n) in &accepted {
        assert_eq!(ended[id]["status"], "COMPLETED", "{}", ended[id]);
        assert_eq!(ended[id]["output"], *n);
        // Once ended, always the same end.
        let again = get(&http, format!("{}/status/{id}", service.url)).await;
        assert_eq!(again, renamed(&ended[id], &again));
    }
    let health = get(&http, format!("{}/health", service.url)).await;
    assert_eq!(health["jobs"]["inQueue"], 0);
}

/// The worker's id names the process, which changed; nothing else may.
fn renamed(old: &Value, new: &Value) -> Value {
    let mut old = old.clone();
    old["workerId"] = new["workerId"].clone();
    old
}

/// Looks at up to `most` jobs not yet seen ended; one seen ended before must not have changed.
async fn look(
    http: &reqwest::Client,
    url: &str,
    accepted: &HashMap<String, u64>,
    ended: &mut HashMap<String, Value>,
    most: usize,
) {
    let open: Vec<String> = accepted
        .keys()
        .filter(|id| !ended.contains_key(*id))
        .take(most)
        .cloned()
        .collect();
    for id in open {
        let Ok(response) = http.get(format!("{url}/status/{id}")).send().await else {
            return;
        };
        assert_eq!(response.status(), 200, "{id} was accepted and is gone");
        let Ok(view) = response.json::<Value>().await else {
            return;
        };
        if !matches!(view["status"].as_str(), Some("IN_QUEUE" | "IN_PROGRESS")) {
            ended.insert(id, view);
        }
    }
}

pub struct Xorshift(pub u64);

impl Xorshift {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

async fn submit(http: &reqwest::Client, service: &Service, input: Value) -> String {
    let request = http
        .post(format!("{}/run", service.url))
        .json(&json!({ "input": input }));
    let view: Value = request.send().await.unwrap().json().await.unwrap();
    view["id"].as_str().unwrap_or_else(|| panic!("{view}")).to_owned()
}

async fn until_is(http: &reqwest::Client, service: &Service, id: &str, wanted: &[&str]) -> Value {
    let mut view = Value::Null;
    until(&format!("{id} is {wanted:?}"), async || {
        view = get(http, format!("{}/status/{id}", service.url)).await;
        wanted.contains(&view["status"].as_str().unwrap())
    })
    .await;
    view
}

/// A job that kills the process is found out and failed; those that were in hand beside it are not.
#[tokio::test(flavor = "multi_thread")]
async fn a_deadly_job_is_failed_and_its_neighbours_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let http = client();
    let mut service = Service::stub(dir.path());
    let deadly = submit(&http, &service, json!({"mock_return": 1, "mock_delay": 60})).await;
    until_is(&http, &service, &deadly, &["IN_PROGRESS"]).await;
    // In hand beside it, and behind it.
    let beside = submit(&http, &service, json!({"mock_return": 2})).await;
    let behind = submit(&http, &service, json!({"mock_return": 3})).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut deaths = 0;
    let end = loop {
        let view = until_is(&http, &service, &deadly, &["IN_PROGRESS", "FAILED"]).await;
        if view["status"] == "FAILED" {
            break view;
        }
        deaths += 1;
        assert!(deaths < 8, "it kills the process for ever");
        service.kill();
        service = Service::stub(dir.path());
    };
    let error: Value = serde_json::from_str(end["error"].as_str().unwrap()).unwrap();
    assert_eq!(error["error_type"], "internal", "{error}");
    for (id, output) in [(&beside, 2), (&behind, 3)] {
        let view = until_is(&http, &service, id, &["COMPLETED", "FAILED"]).await;
        assert_eq!(
            (&view["status"], &view["output"]),
            (&json!("COMPLETED"), &json!(output))
        );
    }
}

/// Being told to stop is no death, however often.
#[tokio::test(flavor = "multi_thread")]
async fn clean_stops_are_not_counted() {
    let dir = tempfile::tempdir().unwrap();
    let http = client();
    let flags = |dir: &str| {
        let all = ["--engine", "stub", "--drain-timeout", "100ms", "--state-dir", dir];
        all.map(str::to_owned)
    };
    let start = || {
        let flags = flags(dir.path().to_str().unwrap());
        Service::start(&flags.each_ref().map(String::as_str))
    };
    let mut service = start();
    let id = submit(&http, &service, json!({"mock_return": 1, "mock_delay": 20})).await;
    for _ in 0..7 {
        let view = until_is(&http, &service, &id, &["IN_PROGRESS", "FAILED"]).await;
        assert_eq!(view["status"], "IN_PROGRESS", "{view}");
        service.terminate();
        service = start();
    }
    let view = until_is(&http, &service, &id, &["COMPLETED", "FAILED"]).await;
    assert_eq!(view["status"], "COMPLETED", "{view}");
}

/// A disk that takes no more is told to callers and to probes; what was accepted before runs in the next process.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let http = client();
    let flags = ["--engine", "stub", "--state-dir", dir.path().to_str().unwrap()];
    // No file grows beyond some megabytes; to write on is an error and no signal.
    let limits = "trap '' XFSZ; ulimit -f 16384";
    let service = Service::of(env!("CARGO_BIN_EXE_dragunov"), limits, &flags);
    service.ready(&http).await;
    let blocker = submit(&http, &service, json!({"mock_delay": 300})).await;
    until_is(&http, &service, &blocker, &["IN_PROGRESS"]).await;
    let large = json!({"input": {"mock_return": 1, "padding": "x".repeat(200_000)}});
    let mut accepted = Vec::new();
    let probe = async |path: &str| {
        let answer = http.get(format!("{}{path}", service.url)).send().await.unwrap();
        answer.status().as_u16()
    };
    until("the disk is full", async || {
        let request = http.post(format!("{}/run", service.url)).json(&large);
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body: Value = response.json().await.unwrap();
        if status == 200 {
            accepted.push(body["id"].as_str().unwrap().to_owned());
            return false;
        }
        assert_eq!((status, &body["code"]), (503, &json!("storage")), "{body}");
        assert!(headers.contains_key("retry-after"), "{body}");
        // Small changes may still be written: then it is well again until the next large one.
        probe("/readyz").await == 503 && probe("/ping").await == 503
    })
    .await;
    assert!(accepted.len() > 5, "only {} jobs were accepted", accepted.len());
    for id in &accepted {
        until_is(&http, &service, id, &["IN_QUEUE"]).await;
    }
    service.kill();
    let service = Service::start(&flags);
    let cancel = http.post(format!("{}/cancel/{blocker}", service.url));
    assert_eq!(cancel.send().await.unwrap().status(), 200);
    for id in &accepted {
        until_is(&http, &service, id, &["COMPLETED"]).await;
    }
    let api = serde_json::to_value(dragunov::http::description(false)).unwrap();
    for path in ["/run", "/runsync", "/cancel/{id}", "/retry/{id}", "/purge-queue"] {
        assert!(
            api["paths"][path]["post"]["responses"]["503"].is_object(),
            "{path}"
        );
    }
}
