//! kill -9 at random moments: every accepted job ends exactly once.
//!
//! `DRAGUNOV_KILLS` sets the number of kills (8 if unset; 50 before a release).

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

struct Service {
    child: Child,
    url: String,
}

impl Service {
    fn start(state: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_dragunov"))
            .args([
                "serve",
                "--engine",
                "stub",
                "--port",
                "0",
                "--log",
                "warn",
                "--webhook-pause",
                "100ms",
            ])
            .arg("--state-dir")
            .arg(state)
            .env_remove("DRAGUNOV_API_KEY")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }

    fn kill(mut self) {
        // SIGKILL: no handler runs.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accepted_jobs_survive_kill_9() {
    let kills: u64 = std::env::var("DRAGUNOV_KILLS")
        .ok()
        .and_then(|v| v.parse().ok())
        .unwrap_or(8);
    let dir = tempfile::tempdir().unwrap();
    let http = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap();
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    // Job id to what it must return.
    let mut accepted: HashMap<String, u64> = HashMap::new();
    // Job id to the terminal view first seen.
    let mut ended: HashMap<String, Value> = HashMap::new();
    let mut n = 0;
    for _ in 0..kills {
        let service = Service::start(dir.path());
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
    let service = Service::start(dir.path());
    for _ in 0..3000 {
        look(&http, &service.url, &accepted, &mut ended, usize::MAX).await;
        if ended.len() == accepted.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
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

/// The JSON at `url`, of a service that is up.
async fn get(http: &reqwest::Client, url: String) -> Value {
    http.get(url).send().await.unwrap().json().await.unwrap()
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

struct Xorshift(u64);

impl Xorshift {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}
