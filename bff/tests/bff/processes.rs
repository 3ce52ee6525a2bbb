//! The real program as processes of its own, over servers of its own that may be killed and started again.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bio_bff::dev::servers::{After, Postgres, PostgresOptions, Redis, free_port};
use bio_bff::store;

use crate::auth::idp::Idp;
use crate::harness::PATIENCE;

pub const SECRET: &str = "test secret of more than thirty-two characters";
pub const DATABASE: &str = "faults";

/// What libfaketime is told, if these tests run under it: every process has the same clock.
pub fn clock() -> impl Iterator<Item = (String, String)> {
    std::env::vars().filter(|(name, _)| name == "LD_PRELOAD" || name.starts_with("FAKETIME"))
}

/// One process of the program. Killed at once when dropped.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// SIGKILL: no drain, no goodbye.
    pub fn kill(self) {
        drop(self);
    }
}

/// Servers and where they listen; the same ports after a restart.
pub struct World {
    pub idp: Arc<Idp>,
    pub postgres: Option<Postgres>,
    pub redis: Option<Redis>,
    folder: tempfile::TempDir,
    postgres_port: u16,
    redis_port: u16,
}

impl World {
    /// `None` without the servers' binaries, or a failure in CI.
    pub async fn start() -> Option<Self> {
        // Says so, or fails in CI.
        crate::harness::servers()?;
        let mut world = Self {
            idp: Arc::new(Idp::start().await),
            postgres: None,
            redis: None,
            folder: tempfile::tempdir().unwrap(),
            postgres_port: free_port().unwrap(),
            redis_port: free_port().unwrap(),
        };
        world.start_postgres();
        world.start_redis();
        let postgres = world.postgres.as_ref().unwrap();
        postgres.prepare(DATABASE).unwrap();
        let owner = store::options(&postgres.url("bio_owner", DATABASE)).unwrap();
        store::migrate::migrate(&owner).await.unwrap();
        Some(world)
    }

    pub fn start_postgres(&mut self) {
        let options = PostgresOptions {
            port: Some(self.postgres_port),
            after: After::Keep,
            // What was committed must survive the server, as in production.
            synchronous_commit: true,
        };
        self.postgres = Postgres::start(&self.folder.path().join("postgres"), &options).unwrap();
    }

    pub fn start_redis(&mut self) {
        self.redis = Redis::start(self.redis_port).unwrap();
    }

    pub fn sql(&self, sql: &str) -> Vec<String> {
        self.postgres.as_ref().unwrap().sql(DATABASE, sql).unwrap()
    }

    fn program(&self, login: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bio-bff"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(clock())
            .env(
                "DATABASE_URL",
                format!("postgres://{login}@127.0.0.1:{}/{DATABASE}", self.postgres_port),
            )
            .env("REDIS_URL", format!("redis://127.0.0.1:{}", self.redis_port))
            .env("BFF_SECRET", SECRET)
            .env("BFF_COGNITO_ISSUER", &self.idp.issuer)
            .env("BFF_COGNITO_CLIENT_IDS", "app")
            .env("BFF_COGNITO_JWKS_URL", &self.idp.jwks_url)
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// A replica on this port, once it listens.
    pub async fn serve(&self, port: u16) -> Process {
        let child = self
            .program("api_login")
            .arg("serve")
            .env("BFF_LISTEN", format!("127.0.0.1:{port}"))
            .spawn()
            .unwrap();
        let process = Process(child);
        let begun = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            assert!(begun.elapsed() < PATIENCE, "the service did not start");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        process
    }

    /// As the Lambda function `part` whose runtime's API is at `runtime`.
    pub fn lambda(&self, login: &str, part: &str, runtime: &str) -> Process {
        let child = self
            .program(login)
            .env("BFF_LAMBDA", part)
            .env("AWS_LAMBDA_RUNTIME_API", runtime)
            .env("AWS_LAMBDA_FUNCTION_NAME", "bff")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "log")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "log")
            .spawn()
            .unwrap();
        Process(child)
    }

    pub fn worker(&self) -> Process {
        let child = self
            .program("worker_login")
            .arg("worker")
            // What a killed worker had in hand comes back soon enough for a test.
            .env("BFF_QUEUE_VISIBILITY", "3s")
            .spawn()
            .unwrap();
        Process(child)
    }
}
