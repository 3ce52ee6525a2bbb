//! The food table from a real PostgreSQL, and what happens while it is away.
//!
//! Runs against the server binaries that Debian installs; without them the test says that it did not run, and fails
//! in CI.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dragunov::contract::{FoodSourceKind, WarningCode};
use dragunov::food_store::{FoodSource, FoodStore, PostgresConfig, PostgresFoods, SourceError, sql};
use dragunov::nutrition::FoodTable;

/// A server on a free loopback port over a temporary folder; stopped when dropped.
struct Server {
    bin: PathBuf,
    folder: tempfile::TempDir,
    port: u16,
}

fn binaries() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .flatten()
        .map(|v| v.path().join("bin"))
        .filter(|b| b.join("initdb").is_file() && b.join("pg_ctl").is_file())
        .collect();
    versions.sort();
    versions.pop()
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|s| s.lines().any(|l| l.starts_with("Uid:\t0\t")))
}

/// PostgreSQL refuses to run as root: then everything runs as the system's own unprivileged user.
fn command(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut c = Command::new("setpriv");
    c.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
        .arg(program);
    c
}

fn run(c: &mut Command) {
    let out = c.stdin(Stdio::null()).output().unwrap();
    assert!(
        out.status.success(),
        "{c:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

impl Server {
    fn start() -> Option<Self> {
        let Some(bin) = binaries() else {
            assert!(
                std::env::var("CI").is_err(),
                "CI must have PostgreSQL's server binaries"
            );
            eprintln!("NOT RUN: no PostgreSQL server binaries under /usr/lib/postgresql");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        if is_root() {
            run(Command::new("chown").arg("nobody:nogroup").arg(folder.path()));
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        run(command(&bin.join("initdb"))
            .args([
                "-A",
                "trust",
                "--no-sync",
                "--locale=C.UTF-8",
                "-U",
                "foods",
                "-D",
            ])
            .arg(folder.path().join("data")));
        let server = Self { bin, folder, port };
        server.control("start");
        Some(server)
    }

    fn control(&self, action: &str) {
        let data = self.folder.path().join("data");
        let mut c = command(&self.bin.join("pg_ctl"));
        c.arg("-D")
            .arg(&data)
            .args(["-w", "-m", "immediate", "-l"])
            .arg(data.join("log"));
        if action == "start" {
            c.arg("-o").arg(format!(
                "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off",
                self.port
            ));
        }
        // The server inherits the pipes of a captured call and would keep them open.
        let ok = c
            .arg(action)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(ok.success(), "pg_ctl {action}");
    }

    fn foods(&self) -> PostgresFoods {
        foods_at(self.port)
    }

    /// Runs SQL text the way an operator would.
    fn psql(&self, text: &str) {
        let file = self.folder.path().join("in.sql");
        std::fs::write(&file, text).unwrap();
        run(command(&self.bin.join("psql"))
            .args([
                "-q",
                "-v",
                "ON_ERROR_STOP=1",
                "-h",
                "127.0.0.1",
                "-U",
                "foods",
                "-d",
                "postgres",
                "-p",
            ])
            .arg(self.port.to_string())
            .arg("-f")
            .arg(&file));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let data = self.folder.path().join("data");
        let _ = command(&self.bin.join("pg_ctl"))
            .arg("-D")
            .arg(data)
            .args(["-m", "immediate", "stop"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }
}

fn foods_at(port: u16) -> PostgresFoods {
    PostgresFoods::new(&PostgresConfig {
        url: format!("postgres://foods@127.0.0.1:{port}/postgres").into(),
        timeout: Duration::from_secs(2),
    })
    .unwrap()
}

/// Waits until `done` holds.
async fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_is_read_watched_and_survived() {
    let Some(server) = Server::start() else { return };
    let foods = server.foods();
    // No table yet, then an empty one: neither is a food table.
    assert!(matches!(foods.load().await, Err(SourceError::Database(_))));
    foods.migrate().await.unwrap();
    foods.migrate().await.unwrap();
    assert!(matches!(foods.load().await, Err(SourceError::Rows(_))));

    // The exported table comes back the same, twice in a row.
    let builtin = FoodTable::builtin();
    let text = sql::export(&builtin.rows());
    server.psql(&text);
    server.psql(&text);
    let table = foods.load().await.unwrap();
    let by_id = |t: &FoodTable| {
        let mut rows = t.rows();
        rows.sort_by(|a, b| a.id.cmp(&b.id));
        rows
    };
    assert_eq!(by_id(&table), by_id(&builtin));

    // A change arrives at the next reading.
    let store = FoodStore::read(&server.foods()).await.unwrap();
    store.refresh(Box::new(server.foods()), Duration::from_millis(100));
    let first = store.current().info;
    assert_eq!(first.source, FoodSourceKind::Postgres);
    // The same rows are the same revision, wherever they come from.
    assert_eq!(first.revision, FoodStore::builtin().current().info.revision);
    assert!(store.current().warning.is_none());
    server.psql("UPDATE foods SET aliases = aliases || '|golden grains' WHERE id = 'couscous_cooked';");
    until("the new alias", || {
        let now = store.current();
        now.table.lookup("golden grains").food.name == "couscous, cooked"
    })
    .await;
    assert_ne!(store.current().info.revision, first.revision);

    // Dead: the last table stays, and says so.
    server.control("stop");
    until("the warning", || store.current().warning.is_some()).await;
    let stale = store.current();
    assert_eq!(stale.warning.as_ref().unwrap().code, WarningCode::FoodTableStale);
    assert_eq!(stale.table.lookup("golden grains").food.name, "couscous, cooked");
    // Back: so is the table.
    server.control("start");
    until("recovery", || store.current().warning.is_none()).await;

    // A row that PostgreSQL would take but physics does not: the last table stays.
    server.psql("ALTER TABLE foods DROP CONSTRAINT foods_check; UPDATE foods SET shape = 'blob' WHERE id = 'apple_whole';");
    until("the refusal", || store.current().warning.is_some()).await;
    assert!(store.current().warning.unwrap().message.contains("cannot be"));
    assert_eq!(store.current().table.lookup("apple").food.shape, "ball");
}

#[tokio::test]
async fn an_absent_database_costs_a_warning_not_the_service() {
    // A port that was free a moment ago: refused at once.
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let start = Instant::now();
    let store = FoodStore::read(&foods_at(port)).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    let now = store.current();
    assert_eq!(now.info.source, FoodSourceKind::Builtin);
    assert_eq!(now.warning.unwrap().code, WarningCode::FoodTableStale);
    assert!(now.table.foods().len() > 300);

    // A listener that never speaks: cut off.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let start = Instant::now();
    assert!(foods_at(mute.local_addr().unwrap().port()).load().await.is_err());
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_bad_url_is_refused_without_repeating_it() {
    let at = |url: &str| PostgresConfig {
        url: url.to_owned().into(),
        timeout: Duration::from_secs(1),
    };
    for url in [
        "mysql://user:SECRET@host/db",
        "SECRET",
        "postgres://user:SECRET@host:99999999/db",
    ] {
        let e = PostgresFoods::new(&at(url)).unwrap_err();
        assert!(!format!("{e:?} {e} {:?}", at(url)).contains("SECRET"), "{e:?}");
    }
    let outside = std::thread::spawn(move || PostgresFoods::new(&at("postgres://u@h/d")).map(drop));
    assert!(outside.join().unwrap().is_err());
}

const PHOTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/plates/scene_015/photo.jpg");

fn dragunov(args: &[&str]) -> Command {
    let mut c = Command::new(env!("CARGO_BIN_EXE_dragunov"));
    c.args(args).stdin(Stdio::null());
    c
}

/// `dragunov serve` with the bundled models; killed when dropped.
struct Service {
    child: std::process::Child,
    url: String,
}

impl Service {
    fn start(foods: &str) -> Self {
        use std::io::BufRead;
        let mut child = dragunov(&[
            "serve",
            "--port",
            "0",
            "--log",
            "error",
            "--foods-refresh",
            "200ms",
        ])
        .env("DRAGUNOV_FOODS", foods)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }

    async fn scan(&self) -> serde_json::Value {
        use base64::Engine;
        let photo = base64::engine::general_purpose::STANDARD.encode(std::fs::read(PHOTO).unwrap());
        let body = serde_json::json!({
            "image": {"base64": photo},
            "pitch_deg": 23.4,
            "reference": {"kind": "plate", "diameter_cm": 29.2},
        });
        let client = reqwest::Client::new();
        for _ in 0..120 {
            let answer = client
                .post(format!("{}/v1/scan", self.url))
                .json(&body)
                .send()
                .await
                .unwrap();
            if answer.status() != 503 {
                let status = answer.status();
                let text = answer.text().await.unwrap();
                assert!(status.is_success(), "{status}: {text}");
                return serde_json::from_str(&text).unwrap();
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        panic!("the models were not loaded in a minute");
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stale(answer: &serde_json::Value) -> bool {
    let warnings = answer["warnings"].as_array().unwrap();
    warnings.iter().any(|w| w["code"] == "food_table_stale")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_row_is_used_without_a_restart() {
    let Some(server) = Server::start() else { return };
    server.psql(&sql::export(&FoodTable::builtin().rows()));
    let service = Service::start(&format!("postgres://foods@127.0.0.1:{}/postgres", server.port));
    let before = service.scan().await;
    assert_eq!(before["foods"]["source"], "postgres");
    assert!(!stale(&before), "{}", before["warnings"]);
    let item = &before["items"][0];
    let id = item["food_id"].as_str().unwrap();

    server.psql(&format!(
        "UPDATE foods SET density_g_cm3 = density_g_cm3 * 0.9, density_low = density_low * 0.9, \
         density_high = density_high * 0.9 WHERE id = '{id}';"
    ));
    let begun = Instant::now();
    let after = loop {
        let after = service.scan().await;
        if after["foods"]["revision"] != before["foods"]["revision"] {
            break after;
        }
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "the change did not arrive"
        );
    };
    let grams = |answer: &serde_json::Value| answer["items"][0]["mass_g"]["p50"].as_f64().unwrap();
    assert_eq!(after["items"][0]["volume_cm3"], item["volume_cm3"]);
    assert!((grams(&after) / grams(&before) - 0.9).abs() < 1e-6);

    // The database goes away: the last table stays in use, and each answer says so until it is back.
    server.control("stop");
    let begun = Instant::now();
    let dead = loop {
        let answer = service.scan().await;
        if stale(&answer) {
            break answer;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "no warning");
    };
    assert_eq!(dead["foods"], after["foods"]);
    assert_eq!(grams(&dead), grams(&after));
    server.control("start");
    let begun = Instant::now();
    while stale(&service.scan().await) {
        assert!(begun.elapsed() < Duration::from_secs(30), "no recovery");
    }
}

/// The builtin table as a CSV file, changed by `change`.
fn csv_file(folder: &Path, change: impl FnOnce(String) -> String) -> String {
    let out = dragunov(&["foods", "export", "--csv"]).output().unwrap();
    assert!(out.status.success());
    let path = folder.join("foods.csv");
    std::fs::write(&path, change(String::from_utf8(out.stdout).unwrap())).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn an_exported_file_is_a_source_of_scans() {
    let folder = tempfile::tempdir().unwrap();
    let file = csv_file(folder.path(), |text| text.replace("spaghetti", "brumoquat"));
    let out = dragunov(&["scan", PHOTO, "--pitch", "23.4", "--plate", "29.2", "--json", "-"])
        .args(["--foods", &file])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(answer["foods"]["source"], "csv");
    assert_ne!(
        answer["foods"]["revision"].as_str().unwrap(),
        FoodStore::builtin().current().info.revision
    );
    // The renamed food is not in this table any more; the lookup says so where the builtin one knows it.
    let found = |args: &[&str]| {
        let out = dragunov(&["foods", "lookup", "spaghetti", "--json"])
            .args(args)
            .output()
            .unwrap();
        let all: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
        all[0]["match"].as_str().unwrap().to_owned()
    };
    assert_ne!(found(&["--foods", &file]), found(&[]));
}

/// Every command with `--foods` refuses a broken file at once, with its line, and a bad address without repeating it.
#[test]
fn a_broken_source_is_refused_before_any_work() {
    let folder = tempfile::tempdir().unwrap();
    let broken = csv_file(folder.path(), |text| {
        let mut lines: Vec<String> = text.lines().map(String::from).collect();
        lines[6] = lines[6].replacen(",0.", ",many", 1);
        lines.join("\n")
    });
    let missing = folder.path().join("none.csv");
    let cases = [
        (broken.as_str(), "foods.csv: line 7: "),
        (missing.to_str().unwrap(), "none.csv cannot be read"),
        ("mysql://user:SECRET@host/db", "no food table"),
        ("postgres://user:SECRET@host:99999999/db", "food database"),
    ];
    let commands: [&[&str]; 6] = [
        &["scan", PHOTO],
        &["serve", "--port", "0", "--engine", "stub", "--log", "off"],
        &["worker", "--test_input", "{\"input\":{}}", "--engine", "stub"],
        &["eval", "fixtures/plates", "--oracle", "masks,disparity,labels"],
        &["config", "--check"],
        &["foods", "lookup", "rice"],
    ];
    let plates = folder.path().join("plates");
    run(dragunov(&["eval", "convert", "plates", "fixtures/plates"])
        .arg(&plates)
        .current_dir(env!("CARGO_MANIFEST_DIR")));
    for command in commands {
        for (source, why) in cases {
            let mut c = dragunov(&[]);
            c.args(command.iter().map(|a| match *a {
                "fixtures/plates" => plates.to_str().unwrap(),
                other => other,
            }));
            let out = c.env("DRAGUNOV_FOODS", source).output().unwrap();
            let text = String::from_utf8_lossy(&out.stderr) + String::from_utf8_lossy(&out.stdout);
            assert_eq!(out.status.code(), Some(2), "{command:?} {source}: {text}");
            assert!(
                text.contains("config_invalid") && text.contains(why),
                "{command:?} {source}: {text}"
            );
            assert!(!text.contains("SECRET"), "{text}");
        }
    }
}

#[test]
fn a_scan_without_its_database_uses_the_builtin_table_and_says_so() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let out = dragunov(&["scan", PHOTO, "--pitch", "23.4", "--json", "-"])
        .env("DRAGUNOV_FOODS", format!("postgres://u@127.0.0.1:{port}/foods"))
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert!(stale(&answer));
    assert_eq!(answer["foods"]["source"], "builtin");
}
