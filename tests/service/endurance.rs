//! All faults at once, with the bundled models: `scripts/endurance.sh` gives it a small disk and runs it.
//!
//! `DRAGUNOV_SMALL_DISK` is that disk's folder; without it the disk is never full. `DRAGUNOV_BIN` is another build of the program.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::bombs::{self, CEILING, hang_up, honest_scan};
use crate::crash::Xorshift;
use crate::process::Service;

const KILLS: usize = 8;
const IDLE: usize = 1100;
/// The usual soft limit, here the hard one as well.
const FILES: &str = "ulimit -n 1024";
/// Lives that see the disk full; the service is killed in the middle of the second.
const FULL: [usize; 3] = [2, 4, 7];
/// For what must happen, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(300);

/// A file system of some megabytes that can be filled.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    fn fill(&self) {
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        for size in [1 << 20, 1 << 12] {
            let piece = vec![0xA5; size];
            while filler.write_all(&piece).is_ok() {}
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

/// What was accepted, and how it ended.
#[derive(Default)]
struct Ledger {
    honest: Vec<String>,
    /// Jobs that carry one of the bombs: their end may be any.
    bombs: Vec<String>,
    ended: HashMap<String, Value>,
    refused: usize,
}

impl Ledger {
    /// Offers a job; only a 200 that was read to its end is an acceptance. Its status.
    async fn offer(&mut self, http: &reqwest::Client, service: &Service, input: &Value, honest: bool) -> u16 {
        let request = http
            .post(format!("{}/run", service.url))
            .json(&json!({ "input": input }));
        let Ok(response) = request.send().await else {
            return 0;
        };
        let status = response.status().as_u16();
        match response.json::<Value>().await {
            Ok(view) if status == 200 => {
                let ids = if honest { &mut self.honest } else { &mut self.bombs };
                ids.push(view["id"].as_str().unwrap().to_owned());
            }
            _ => self.refused += 1,
        }
        status
    }

    fn open(&self) -> Vec<String> {
        let all = self.honest.iter().chain(&self.bombs);
        all.filter(|id| !self.ended.contains_key(*id)).cloned().collect()
    }

    /// Looks at every job that has not been seen ended. An accepted job that is not there is lost.
    async fn look(&mut self, http: &reqwest::Client, service: &Service) {
        for id in self.open() {
            let sent = http.get(format!("{}/status/{id}", service.url)).send().await;
            let response = sent.unwrap_or_else(|e| panic!("{id}: {e}"));
            assert_eq!(response.status(), 200, "{id} was accepted and is gone");
            let view: Value = response.json().await.unwrap();
            if !matches!(view["status"].as_str(), Some("IN_QUEUE" | "IN_PROGRESS")) {
                self.ended.insert(id, view);
            }
        }
    }

    /// Looks until so many have ended in all.
    async fn until_ended(&mut self, http: &reqwest::Client, service: &Service, n: usize) {
        let begun = Instant::now();
        while self.ended.len() < n {
            assert!(begun.elapsed() < PATIENCE, "{} of {n} ended", self.ended.len());
            tokio::time::sleep(Duration::from_millis(100)).await;
            self.look(http, service).await;
        }
    }

    /// At least so many real meals are under way.
    async fn top_up(&mut self, http: &reqwest::Client, service: &Service, n: usize) {
        self.look(http, service).await;
        for _ in self.open().len()..n {
            self.offer(http, service, &honest_scan(), true).await;
        }
    }
}

/// Every connection has a file handle of its own and is closed with its answer.
fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0);
    builder.timeout(Duration::from_secs(600)).build().unwrap()
}

async fn until_ready(http: &reqwest::Client, service: &Service, want: u16) {
    let begun = Instant::now();
    loop {
        let answer = http.get(format!("{}/readyz", service.url)).send().await;
        if answer.is_ok_and(|a| a.status() == want) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "readyz does not become {want}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Meals are sent until the disk takes no more.
async fn until_refused(http: &reqwest::Client, service: &Service, ledger: &mut Ledger) {
    for _ in 0..200 {
        match ledger.offer(http, service, &honest_scan(), true).await {
            200 => {}
            503 => return until_ready(http, service, 503).await,
            other => panic!("a full disk is told by {other}"),
        }
    }
    panic!("the disk is full and 200 jobs were accepted");
}

/// A bomb three times with nobody waiting, twice with somebody, and once as a job.
async fn throw(http: &reqwest::Client, service: &Service, ledger: &mut Ledger, bomb: &(&str, &str, Vec<u8>)) {
    let (name, kind, file) = bomb;
    for _ in 0..3 {
        hang_up(service, kind, file).await;
    }
    let scan = || {
        let request = http.post(format!("{}/v1/scan", service.url));
        request.header("content-type", *kind).body(file.clone()).send()
    };
    let (first, second) = tokio::join!(scan(), scan());
    for answer in [first, second] {
        let status = answer.unwrap_or_else(|e| panic!("{name}: {e}")).status();
        assert!(!status.is_server_error(), "{name}: {status}");
    }
    if file.len() < 7 << 20 && kind.starts_with("image/") {
        let input = json!({"image": {"base64": STANDARD.encode(file)}});
        ledger.offer(http, service, &input, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: scripts/endurance.sh"]
async fn nothing_is_lost_by_all_faults_together() {
    rlimit::increase_nofile_limit(8192).unwrap();
    let small = std::env::var_os("DRAGUNOV_SMALL_DISK").map(|dir| SmallDisk(dir.into()));
    let program = std::env::var("DRAGUNOV_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_dragunov").to_owned());
    let elsewhere = tempfile::tempdir().unwrap();
    let state = small
        .as_ref()
        .map_or(elsewhere.path(), |disk| disk.0.as_path())
        .join("state");
    let start = |state: &Path| {
        let flags = ["--retention", "6h", "--state-dir", state.to_str().unwrap()];
        Service::of(&program, FILES, &flags)
    };
    let http = client();
    let all = bombs::all();
    let mut random = Xorshift(0x9e37_79b9_7f4a_7c15);
    let mut ledger = Ledger::default();
    let (mut peak, mut full) = (0, 0);
    let begun = Instant::now();
    for life in 0..=KILLS {
        let mut service = start(&state);
        until_ready(&http, &service, 200).await;
        ledger.top_up(&http, &service, 4).await;
        // So that no job is under way at every kill: three deaths beside one job alone would fail it.
        let ended = ledger.ended.len();
        ledger.until_ended(&http, &service, ended + 1).await;

        let mut idle = Vec::new();
        if life % 3 == 1 {
            for _ in 0..IDLE {
                idle.push(TcpStream::connect(service.address()).await.unwrap());
            }
        }
        for bomb in all.iter().skip(life).step_by(KILLS + 1) {
            throw(&http, &service, &mut ledger, bomb).await;
            ledger.top_up(&http, &service, 4).await;
        }
        let mut is_full = false;
        if let Some(disk) = small.as_ref().filter(|_| FULL.contains(&life)) {
            disk.fill();
            until_refused(&http, &service, &mut ledger).await;
            (full, is_full) = (full + 1, life == FULL[1]);
            if !is_full {
                disk.empty();
                until_ready(&http, &service, 200).await;
                assert_eq!(ledger.offer(&http, &service, &honest_scan(), true).await, 200);
            }
        }
        if life == KILLS {
            let (honest, bombs) = (ledger.honest.len(), ledger.bombs.len());
            ledger.until_ended(&http, &service, honest + bombs).await;
        } else {
            tokio::time::sleep(Duration::from_millis(random.next() % 3000)).await;
        }
        assert!(service.is_running());
        let used = service.peak_bytes();
        eprintln!(
            "life {life}: peak {} MB, {} idle connections, {}accepted {} in all, ended {}",
            used / 1_000_000,
            idle.len(),
            if is_full { "disk full, " } else { "" },
            ledger.honest.len() + ledger.bombs.len(),
            ledger.ended.len()
        );
        assert!(used < CEILING, "{used} bytes");
        peak = peak.max(used);
        service.kill();
        if is_full {
            small.iter().for_each(SmallDisk::empty);
        }
    }
    for id in &ledger.honest {
        let view = &ledger.ended[id];
        assert_eq!(view["status"], "COMPLETED", "{view}");
        assert!(!view["output"]["items"].as_array().unwrap().is_empty(), "{view}");
    }
    eprintln!(
        "{KILLS} kills, disk full {full} times, {IDLE} idle connections in {} lives, {} bombs: {} real jobs and {} of bombs \
         accepted, none lost, {} refused; peak VmHWM {} MB; {} s",
        (0..=KILLS).filter(|life| life % 3 == 1).count(),
        all.len(),
        ledger.honest.len(),
        ledger.bombs.len(),
        ledger.refused,
        peak / 1_000_000,
        begun.elapsed().as_secs()
    );
}
