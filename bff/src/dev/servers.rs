//! Private servers from Debian's packages, on free loopback ports over folders of their own.

use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A child that ends when this process does, however that ends: its shell waits for our end of a pipe to close.
#[derive(Debug)]
struct Guarded {
    child: Child,
}

/// What becomes of a server's folder when it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    Keep,
    Remove,
}

impl Guarded {
    /// `script` starts the server in the background; `end` runs when it has ended.
    fn start(script: &str, end: &str) -> io::Result<Self> {
        let script =
            format!("{script}\npid=$!\ncat >/dev/null\nkill -INT $pid 2>/dev/null\nwait $pid\n{end}");
        // A session of its own: Ctrl-C is for us, and we stop the server after the requests.
        let child = Command::new("setsid")
            .args(["sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// # Errors
/// None is free.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn is_root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|s| s.lines().any(|l| l.starts_with("Uid:\t0\t")))
}

/// PostgreSQL refuses to run as root.
fn unprivileged() -> &'static str {
    if is_root() {
        "setpriv --reuid=nobody --regid=nogroup --clear-groups"
    } else {
        ""
    }
}

fn binaries() -> Option<PathBuf> {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .flatten()
        .map(|v| v.path().join("bin"))
        .filter(|b| b.join("initdb").is_file())
        .collect();
    versions.sort();
    versions.pop()
}

fn shell(script: &str) -> io::Result<()> {
    let out = Command::new("sh")
        .args(["-ec", script])
        .stdin(Stdio::null())
        .output()?;
    if out.status.success() {
        return Ok(());
    }
    Err(io::Error::other(
        String::from_utf8_lossy(&out.stderr).into_owned(),
    ))
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}

/// How a private PostgreSQL is run.
#[derive(Debug, Clone, Copy)]
pub struct PostgresOptions {
    /// A free one unless told.
    pub port: Option<u16>,
    pub after: After,
    /// Whether what was committed survives a crash of the server (a crash of the machine it never does). Slower.
    pub synchronous_commit: bool,
}

/// A private PostgreSQL; its superuser is `postgres`, and everybody on this machine may log in.
#[derive(Debug)]
pub struct Postgres {
    pub port: u16,
    bin: PathBuf,
    data: PathBuf,
    _guard: Guarded,
}

impl Postgres {
    /// Over a folder, which keeps the data if it exists; `None` without Debian's binaries.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(folder: &Path, options: &PostgresOptions) -> io::Result<Option<Self>> {
        let Some(bin) = binaries() else { return Ok(None) };
        std::fs::create_dir_all(folder)?;
        let port = options.port.map_or_else(free_port, Ok)?;
        let data = folder.join("data");
        let (run, b, d, f) = (unprivileged(), quoted(&bin), quoted(&data), quoted(folder));
        if is_root() {
            shell(&format!("chown nobody:nogroup {f}"))?;
        }
        if !data.join("PG_VERSION").exists() {
            shell(&format!(
                "{run} {b}/initdb -A trust --no-sync --locale=C.UTF-8 -U postgres -D {d} >/dev/null"
            ))?;
        }
        let script = format!(
            "{run} {b}/postgres -D {d} -p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' \
             -c fsync=off -c full_page_writes=off -c max_connections=200 -c synchronous_commit={} >{d}/server.log 2>&1 &",
            if options.synchronous_commit { "on" } else { "off" }
        );
        let end = if options.after == After::Remove {
            format!("rm -rf {f}")
        } else {
            String::new()
        };
        let guard = Guarded::start(&script, &end)?;
        let server = Self {
            port,
            bin,
            data,
            _guard: guard,
        };
        server.wait()?;
        Ok(Some(server))
    }

    fn wait(&self) -> io::Result<()> {
        let begun = Instant::now();
        let port = self.port.to_string();
        while !Command::new(self.bin.join("pg_isready"))
            .args(["-q", "-h", "127.0.0.1", "-p", &port])
            .status()?
            .success()
        {
            if begun.elapsed() > Duration::from_secs(60) {
                return Err(io::Error::other("PostgreSQL did not start"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Ends the server without a shutdown, as a fault does; the next start recovers from the log.
    ///
    /// # Errors
    /// It is not running.
    pub fn crash(self) -> io::Result<()> {
        let file = quoted(&self.data.join("postmaster.pid"));
        shell(&format!("kill -QUIT \"$(head -n 1 {file})\""))
        // Dropping waits for its end.
    }

    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@127.0.0.1:{}/{database}", self.port)
    }

    /// SQL as the superuser, each line of the answer.
    ///
    /// # Errors
    /// What psql says.
    pub fn sql(&self, database: &str, sql: &str) -> io::Result<Vec<String>> {
        let out = Command::new(self.bin.join("psql"))
            .args([
                "-X",
                "-q",
                "-A",
                "-t",
                "-v",
                "ON_ERROR_STOP=1",
                "-d",
                &self.url("postgres", database),
                "-c",
                sql,
            ])
            .stdin(Stdio::null())
            .output()?;
        if !out.status.success() {
            return Err(io::Error::other(format!(
                "{sql}: {}",
                String::from_utf8_lossy(&out.stderr)
            )));
        }
        Ok(String::from_utf8_lossy(&out.stdout)
            .lines()
            .map(str::to_owned)
            .collect())
    }

    /// The roles that own and use a database, and the database; what is there stays.
    ///
    /// # Errors
    /// What psql says.
    pub fn prepare(&self, database: &str) -> io::Result<()> {
        for (role, with) in [
            ("bio_owner", "LOGIN CREATEROLE"),
            ("bio_api", "NOLOGIN"),
            ("bio_worker", "NOLOGIN"),
        ] {
            self.role(role, with)?;
        }
        self.role("api_login", "LOGIN IN ROLE bio_api")?;
        self.role("worker_login", "LOGIN IN ROLE bio_worker")?;
        if self
            .sql(
                "postgres",
                &format!("SELECT 1 FROM pg_database WHERE datname = '{database}'"),
            )?
            .is_empty()
        {
            self.sql("postgres", &format!("CREATE DATABASE {database} OWNER bio_owner"))?;
        }
        Ok(())
    }

    fn role(&self, name: &str, with: &str) -> io::Result<()> {
        if self
            .sql(
                "postgres",
                &format!("SELECT 1 FROM pg_roles WHERE rolname = '{name}'"),
            )?
            .is_empty()
        {
            self.sql("postgres", &format!("CREATE ROLE {name} {with}"))?;
        }
        Ok(())
    }
}

/// A private Redis without persistence.
#[derive(Debug)]
pub struct Redis {
    pub port: u16,
    _guard: Guarded,
}

impl Redis {
    /// `None` without Debian's binary.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(port: u16) -> io::Result<Option<Self>> {
        if Command::new("redis-server").arg("--version").output().is_err() {
            return Ok(None);
        }
        let script = format!(
            "redis-server --port {port} --bind 127.0.0.1 --save '' --appendonly no --dir /tmp >/dev/null 2>&1 &"
        );
        let guard = Guarded::start(&script, "")?;
        let begun = Instant::now();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > Duration::from_secs(30) {
                return Err(io::Error::other("Redis did not start"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(Some(Self { port, _guard: guard }))
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}
