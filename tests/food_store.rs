//! The food table from a real PostgreSQL, and what happens while it is away.
//!
//! Runs against the server binaries that Debian installs; without them the test says that it did not run, and fails
//! in CI.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use dragunov::contract::WarningCode;
use dragunov::food_store::{FoodSource, FoodStore, PostgresConfig, PostgresFoods, SourceError, sql};
use dragunov::nutrition::FoodTable;
use tokio_util::sync::CancellationToken;

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
    let stop = CancellationToken::new();
    let store = FoodStore::watch(server.foods(), Duration::from_millis(100), stop.clone()).await;
    assert_eq!(store.current().source, "postgres");
    assert!(store.current().warning.is_none());
    server.psql("UPDATE foods SET aliases = aliases || '|golden grains' WHERE id = 'couscous_cooked';");
    until("the new alias", || {
        let now = store.current();
        now.table.lookup("golden grains").food.name == "couscous, cooked"
    })
    .await;

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
    stop.cancel();
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
    let store = FoodStore::watch(foods_at(port), Duration::from_secs(60), CancellationToken::new()).await;
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    let now = store.current();
    assert_eq!(now.source, "builtin");
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
