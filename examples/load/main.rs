//! Measures the service's own time on the stub engine, and fails where one of its bounds does not hold.
//!
//! ```text
//! cargo run --release --example load                    all of it, some 40 s
//! cargo run --release --example load -- life soak      only these
//! ```
//! It starts itself as `dragunov serve` and `dragunov worker` (the same code as the binary) and asks them over
//! loopback. Clients and service share the machine: other work on it shows in every figure, so its load is printed.
#![allow(clippy::print_stdout, clippy::unwrap_used, unreachable_pub)]

mod client;
mod service;

use std::collections::BTreeMap;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use client::Client;
use serde_json::{Value, json};
use service::{Service, command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

const CLIENTS: u32 = 200;
/// A job without work.
const JOB: &str = r#"{"input":{"mock_return":1}}"#;

fn main() -> ExitCode {
    let parts: Vec<String> = std::env::args().skip(1).collect();
    if matches!(parts.first().map(String::as_str), Some("serve" | "worker")) {
        return dragunov::cli::main();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let before = loadavg();
    let table = runtime.block_on(measure(&|name| {
        parts.is_empty() || parts.iter().any(|p| p == name)
    }));
    println!("\nload average {before} before, {} after\n", loadavg());
    println!("| | bound | measured | |\n|---|---|---|---|");
    for row in &table.0 {
        let verdict = match row.holds {
            None => "",
            Some(true) => "holds",
            Some(false) => "**broken**",
        };
        println!("| {} | {} | {} | {verdict} |", row.what, row.bound, row.measured);
    }
    if table.0.is_empty() {
        eprintln!("nothing to measure: name life, refused, paced, saturated or soak, or nothing for all");
        return ExitCode::from(2);
    }
    ExitCode::from(u8::from(table.0.iter().any(|row| row.holds == Some(false))))
}

async fn measure(wanted: &dyn Fn(&str) -> bool) -> Table {
    let mut table = Table(Vec::new());
    let note = |part: &str| eprintln!("{part} ...");
    // First: the others leave connections behind that the system closes slowly.
    if wanted("life") {
        note("life");
        worker_life(&mut table).await;
    }
    if wanted("refused") {
        note("refused");
        refused(&mut table).await;
    }
    let service = Service::start(&[]);
    if wanted("paced") {
        note("paced");
        paced(&service, &mut table).await;
    }
    if wanted("saturated") {
        note("saturated");
        saturated(&service, &mut table).await;
    }
    if wanted("soak") {
        note("soak");
        soak(&service, &mut table).await;
    }
    table
}

struct Row {
    what: String,
    bound: &'static str,
    measured: String,
    /// None: a figure without a bound.
    holds: Option<bool>,
}

struct Table(Vec<Row>);

impl Table {
    fn add(&mut self, what: impl Into<String>, bound: &'static str, measured: String, holds: Option<bool>) {
        self.0.push(Row {
            what: what.into(),
            bound,
            measured,
            holds,
        });
    }
}

/// Answers by status, and how long each took.
#[derive(Default)]
struct Seen {
    codes: BTreeMap<String, u64>,
    ms: Vec<f64>,
}

impl Seen {
    fn note(&mut self, answer: std::io::Result<client::Answer>, timed: bool) {
        let code = match answer {
            Ok(answer) => {
                if timed {
                    self.ms.push(answer.ms);
                }
                // A job that was accepted and failed is an error as well.
                let view: Option<Value> = serde_json::from_slice(&answer.body).ok();
                match view.as_ref().and_then(|v| v["status"].as_str()) {
                    Some(failed @ ("FAILED" | "TIMED_OUT" | "CANCELLED")) => failed.to_owned(),
                    _ => answer.status.to_string(),
                }
            }
            Err(error) => format!("{error:?}"),
        };
        *self.codes.entry(code).or_default() += 1;
    }

    fn merge(&mut self, other: Self) {
        for (code, n) in other.codes {
            *self.codes.entry(code).or_default() += n;
        }
        self.ms.extend(other.ms);
    }

    fn count(&self) -> u64 {
        self.codes.values().sum()
    }

    fn only(&self, codes: &[&str]) -> bool {
        self.count() > 0 && self.codes.keys().all(|c| codes.contains(&c.as_str()))
    }

    fn shown_codes(&self) -> String {
        let parts: Vec<String> = self
            .codes
            .iter()
            .map(|(code, n)| format!("{n} x {code}"))
            .collect();
        parts.join(", ")
    }

    fn at(&self, quantile: f64) -> f64 {
        let mut ms = self.ms.clone();
        ms.sort_by(f64::total_cmp);
        let i = ((ms.len() as f64 * quantile) as usize).min(ms.len().saturating_sub(1));
        ms.get(i).copied().unwrap_or(f64::NAN)
    }

    fn mean(&self) -> f64 {
        self.ms.iter().sum::<f64>() / self.ms.len() as f64
    }
}

/// Each of 200 clients asks for one job and, half a period later, for `/livez`, which does no work, at its own fixed
/// times: 1,000 of each a second. A late answer delays nobody else.
async fn paced(service: &Service, table: &mut Table) {
    let (period, seconds) = (Duration::from_millis(200), 10);
    let begin = tokio::time::Instant::now() + Duration::from_millis(200);
    let mut clients = JoinSet::new();
    for i in 0..CLIENTS {
        let mut client = Client::new(&service.url);
        clients.spawn(async move {
            let (mut jobs, mut probes) = (Seen::default(), Seen::default());
            let mut due = begin + period * i / CLIENTS;
            while due < begin + Duration::from_secs(seconds) {
                // The first second opens the connections.
                let timed = due > begin + Duration::from_secs(1);
                tokio::time::sleep_until(due).await;
                jobs.note(client.post("/runsync", JOB).await, timed);
                tokio::time::sleep_until(due + period / 2).await;
                probes.note(client.get("/livez").await, timed);
                due += period;
            }
            (jobs, probes)
        });
    }
    let (mut jobs, mut probes) = (Seen::default(), Seen::default());
    while let Some(done) = clients.join_next().await {
        let (more_jobs, more_probes) = done.unwrap();
        jobs.merge(more_jobs);
        probes.merge(more_probes);
    }
    table.add(
        "200 clients, 1,000 jobs/s: statuses",
        "200, 429",
        jobs.shown_codes(),
        Some(jobs.only(&["200", "429"])),
    );
    table.add(
        "the same: p99 of `/runsync`, everything included",
        "< 5 ms",
        format!("{:.2} ms (median {:.2} ms)", jobs.at(0.99), jobs.at(0.5)),
        Some(jobs.at(0.99) < 5.0),
    );
    table.add(
        "the same: p99 of `/livez` meanwhile",
        "",
        format!("{:.2} ms (median {:.2} ms)", probes.at(0.99), probes.at(0.5)),
        None,
    );
}

/// 200 clients, each asking again as soon as it is answered.
async fn closed_loop(url: &str, path: &'static str, body: String, seconds: u64) -> Seen {
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let (mut client, body) = (Client::new(url), body.clone());
        clients.spawn(async move {
            let mut seen = Seen::default();
            while Instant::now() < until {
                seen.note(client.post(path, &body).await, true);
            }
            seen
        });
    }
    let mut all = Seen::default();
    while let Some(done) = clients.join_next().await {
        all.merge(done.unwrap());
    }
    all
}

async fn saturated(service: &Service, table: &mut Table) {
    let seconds = 5;
    let seen = closed_loop(&service.url, "/runsync", JOB.into(), seconds).await;
    table.add(
        "200 clients without a pause: statuses",
        "200, 429",
        seen.shown_codes(),
        Some(seen.only(&["200", "429"])),
    );
    table.add(
        "the same: jobs a second, p99",
        "",
        format!(
            "{:.0}, {:.1} ms",
            seen.count() as f64 / seconds as f64,
            seen.at(0.99)
        ),
        None,
    );
}

/// Scans of 5 ms for 200 clients and a queue of 16: most are told to come again, none is told anything else.
async fn refused(table: &mut Table) {
    let service = Service::start(&["--queue", "16", "--stub-latency", "5ms"]);
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([3 * x as u8, 5 * y as u8, 90]))
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    let photo = base64::engine::general_purpose::STANDARD.encode(png.into_inner());
    let body = json!({"image": {"base64": photo}, "pitch_deg": 30}).to_string();
    let seen = closed_loop(&service.url, "/v1/scan", body, 3).await;
    table.add(
        "200 clients, a queue of 16, scans of 5 ms: statuses",
        "200 and 429",
        seen.shown_codes(),
        Some(seen.only(&["200", "429"]) && seen.codes.len() == 2),
    );
}

/// Ended jobs are kept, 10,000 at most: memory must stand still once that many are.
async fn soak(service: &Service, table: &mut Table) {
    let mut client = Client::new(&service.url);
    for _ in 0..20_000 {
        client.post("/runsync", JOB).await.unwrap();
    }
    let (mut jobs, mut probes) = (Seen::default(), Seen::default());
    let mut mib = vec![service.resident()];
    for i in 1..=10_000 {
        probes.note(client.get("/livez").await, true);
        jobs.note(client.post("/runsync", JOB).await, true);
        if i % 2000 == 0 {
            mib.push(service.resident());
        }
    }
    let over = jobs.mean() - probes.mean();
    table.add(
        "one client: mean of `/runsync` less that of `/livez` (queue and device thread)",
        "< 1 ms",
        format!("{:.3} - {:.3} = {over:.3} ms", jobs.mean(), probes.mean()),
        Some(over < 1.0 && jobs.only(&["200"])),
    );
    let shown: Vec<String> = mib.iter().map(|m| format!("{m:.1}")).collect();
    let growth = 100.0 * (mib[mib.len() - 1] / mib[0] - 1.0);
    table.add(
        "memory over 10,000 jobs, every 2,000",
        "grows < 3 %",
        format!("{} MiB ({growth:+.1} %)", shown.join(", ")),
        Some(growth < 3.0),
    );
}

/// A worker of a platform that has no job for it: from its start to its first ping, and from SIGTERM to its end while it
/// waits for a job.
async fn worker_life(table: &mut Table) {
    let (mut starts, mut stops) = (Seen::default(), Seen::default());
    for _ in 0..20 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let begun = Instant::now();
        let mut child = command("worker")
            .args(["--engine", "stub"])
            .env("RUNPOD_WEBHOOK_GET_JOB", format!("{base}/job-take/$ID"))
            .env("RUNPOD_WEBHOOK_PING", format!("{base}/ping/$ID"))
            .env("RUNPOD_AI_API_KEY", "k")
            .env("RUNPOD_POD_ID", "p")
            // Whether this machine is fit to work is not the question.
            .env("RUNPOD_MIN_MEMORY_GB", "0")
            .env("RUNPOD_MIN_DISK_PERCENT", "0")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // The take is held open, as the platform does.
        let mut held = Vec::new();
        let mut pinged = false;
        while !pinged || held.is_empty() {
            let call = tokio::time::timeout(Duration::from_secs(60), listener.accept());
            let (mut stream, _) = call.await.expect("the worker asks for nothing").unwrap();
            let mut head = vec![0; 4096];
            let n = stream.read(&mut head).await.unwrap_or(0);
            if head[..n].starts_with(b"GET /ping/") {
                if !pinged {
                    starts.ms.push(begun.elapsed().as_secs_f64() * 1e3);
                }
                pinged = true;
                let ok = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(ok).await;
            } else if head[..n].starts_with(b"GET /job-take/") {
                held.push(stream);
            }
        }
        let begun = Instant::now();
        let sent = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
        child.wait().unwrap();
        stops.ms.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let shown = |seen: &Seen| format!("{:.1} ms (median {:.1} ms)", seen.at(1.0), seen.at(0.5));
    table.add(
        "start of `worker` to its first ping, 20 times: the worst",
        "< 100 ms",
        shown(&starts),
        Some(starts.at(1.0) < 100.0),
    );
    table.add(
        "SIGTERM to the end of an idle `worker`, 20 times: the worst",
        "< 2 s",
        shown(&stops),
        Some(stops.at(1.0) < 2000.0),
    );
}

fn loadavg() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let minute = text.split(' ').next().unwrap_or("?");
    format!("{minute} on {cores} cores")
}
