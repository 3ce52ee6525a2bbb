//! Load on a running `dragunov serve --engine stub`, and how long a worker takes to its first ping.
//!
//! ```text
//! load paced  URL [clients=200] [per_second=1000] [seconds=20]   many clients at a steady rate: counts, latencies
//! load soak   URL [jobs=10000]                                    jobs one after another: time each, memory
//! load ping   BINARY [times=20]                                   start of `BINARY worker` to its first ping
//! ```
//! One JSON line each. `paced` and `soak` run the same requests on `/livez`, which does no work: the difference is the
//! service's own time, the rest is this machine's and this client's. `paced` fails on any status but 200 and 429.
#![allow(clippy::print_stdout, clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::main(worker_threads = 2)]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let text = |i: usize| args.get(i).map(String::as_str);
    let number = |i: usize, default: u64| text(i).map_or(default, |v| v.parse().unwrap());
    match (text(0), text(1)) {
        (Some("paced"), Some(url)) => {
            let plan = Plan {
                clients: number(2, 200),
                per_second: number(3, 1000),
                seconds: number(4, 20),
            };
            let idle = paced(&format!("{url}/livez"), None, plan).await;
            let work = paced(&format!("{url}/runsync"), Some(body()), plan).await;
            println!(
                "{}",
                json!({"plan": plan.shown(), "livez": idle.shown(), "runsync": work.shown()})
            );
            assert!(work.codes.keys().all(|c| matches!(c.as_str(), "200" | "429")));
        }
        (Some("soak"), Some(url)) => soak(url, number(2, 10_000)).await,
        (Some("ping"), Some(binary)) => first_ping(binary, number(2, 20)).await,
        _ => panic!("load paced URL | soak URL | ping BINARY; see the head of this file"),
    }
}

fn body() -> Value {
    json!({"input": {"mock_return": 1}})
}

#[derive(Clone, Copy)]
struct Plan {
    clients: u64,
    per_second: u64,
    seconds: u64,
}

impl Plan {
    fn shown(self) -> Value {
        json!({"clients": self.clients, "per_second": self.per_second, "seconds": self.seconds})
    }
}

#[derive(Default)]
struct Seen {
    codes: BTreeMap<String, u64>,
    ms: Vec<f64>,
}

impl Seen {
    fn shown(&self) -> Value {
        let mut ms = self.ms.clone();
        ms.sort_by(f64::total_cmp);
        let at = |q: f64| {
            let i = ((ms.len() as f64 * q) as usize).min(ms.len().saturating_sub(1));
            ms.get(i).map(|v| (v * 100.0).round() / 100.0)
        };
        json!({"requests": ms.len(), "codes": self.codes, "ms": {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0)}})
    }
}

async fn once(http: &reqwest::Client, url: &str, body: Option<&Value>) -> (String, Option<Value>) {
    let request = match body {
        Some(body) => http.post(url).json(body),
        None => http.get(url),
    };
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => return (format!("{error:?}"), None),
    };
    let status = answer.status().as_u16();
    let bytes = answer.bytes().await.unwrap_or_default();
    let view: Option<Value> = serde_json::from_slice(&bytes).ok();
    match &view {
        Some(view) if status == 200 && view["status"] != "COMPLETED" => (view["status"].to_string(), None),
        _ => (status.to_string(), view),
    }
}

/// Each client sends at its own fixed times; a late answer delays nobody else.
async fn paced(url: &str, body: Option<Value>, plan: Plan) -> Seen {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let period = Duration::from_secs_f64(plan.clients as f64 / plan.per_second as f64);
    let begin = tokio::time::Instant::now() + Duration::from_millis(200);
    let clients: Vec<_> = (0..plan.clients)
        .map(|i| {
            let (http, url, body, seen) = (http.clone(), url.to_owned(), body.clone(), seen.clone());
            tokio::spawn(async move {
                let mut due = begin + period.mul_f64(i as f64 / plan.clients as f64);
                while due < begin + Duration::from_secs(plan.seconds) {
                    tokio::time::sleep_until(due).await;
                    let sent = Instant::now();
                    let (code, _) = once(&http, &url, body.as_ref()).await;
                    let ms = sent.elapsed().as_secs_f64() * 1e3;
                    let mut seen = seen.lock().unwrap();
                    *seen.codes.entry(code).or_default() += 1;
                    // The first second opens the connections.
                    if due > begin + Duration::from_secs(1) {
                        seen.ms.push(ms);
                    }
                    due += period;
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    std::mem::take(&mut *seen.lock().unwrap())
}

async fn soak(url: &str, jobs: u64) {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let resident = async || -> f64 {
        let text = http
            .get(format!("{url}/metrics"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let line = text
            .lines()
            .find_map(|l| l.strip_prefix("process_resident_memory_bytes "));
        line.unwrap().parse::<f64>().unwrap() / f64::from(1 << 20)
    };
    let (mut idle, mut work, mut mib) = (Seen::default(), Seen::default(), Vec::new());
    let (livez, runsync, body) = (format!("{url}/livez"), format!("{url}/runsync"), body());
    for i in 0..jobs {
        for (seen, url, body) in [(&mut idle, &livez, None), (&mut work, &runsync, Some(&body))] {
            let sent = Instant::now();
            let (code, _) = once(&http, url, body).await;
            *seen.codes.entry(code).or_default() += 1;
            seen.ms.push(sent.elapsed().as_secs_f64() * 1e3);
        }
        if i % (jobs / 10).max(1) == 0 {
            mib.push(resident().await.round());
        }
    }
    mib.push(resident().await.round());
    let mean = |s: &Seen| s.ms.iter().sum::<f64>() / s.ms.len() as f64;
    println!(
        "{}",
        json!({"jobs": jobs, "livez": idle.shown(), "runsync": work.shown(),
            "mean_overhead_ms": mean(&work) - mean(&idle), "resident_mib": mib})
    );
    assert_eq!(work.codes.len(), 1, "{:?}", work.codes);
}

async fn first_ping(binary: &str, times: u64) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let mut ms = Vec::new();
    for _ in 0..times {
        let begun = Instant::now();
        let mut child = Command::new(binary)
            .args(["worker", "--engine", "stub"])
            .env("RUNPOD_WEBHOOK_GET_JOB", format!("{base}/job-take/$ID"))
            .env("RUNPOD_WEBHOOK_PING", format!("{base}/ping/$ID"))
            .env("RUNPOD_AI_API_KEY", "k")
            .env("RUNPOD_POD_ID", "p")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = vec![0; 4096];
            let n = stream.read(&mut head).await.unwrap_or(0);
            let is_ping = head[..n].starts_with(b"GET /ping/");
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .await;
            if is_ping {
                break;
            }
        }
        ms.push(begun.elapsed().as_secs_f64() * 1e3);
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let seen = Seen {
        ms,
        ..Seen::default()
    };
    println!(
        "{}",
        json!({"start_to_first_ping": seen.shown()["ms"], "times": times})
    );
}
