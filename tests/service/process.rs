//! The service as a process of its own: what it does to itself shows from outside.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::patience::until;

pub struct Service {
    child: Child,
    pub url: String,
}

impl Service {
    /// `dragunov serve --port 0` with more flags.
    pub fn start(flags: &[&str]) -> Self {
        Self::run(Command::new(env!("CARGO_BIN_EXE_dragunov")).args(serve(flags)))
    }

    /// The same with so many file handles at most.
    pub fn with_files(files: u32, flags: &[&str]) -> Self {
        Self::of(
            env!("CARGO_BIN_EXE_dragunov"),
            &format!("ulimit -n {files}"),
            flags,
        )
    }

    /// Another build of the program, after a shell command that sets its limits.
    pub fn of(program: &str, limits: &str, flags: &[&str]) -> Self {
        let script = format!("{limits}; exec \"$0\" \"$@\"");
        Self::run(
            Command::new("sh")
                .args(["-c", &script, program])
                .args(serve(flags)),
        )
    }

    /// With the stub engine and jobs kept in `state`.
    pub fn stub(state: &Path) -> Self {
        let dir = state.to_str().unwrap();
        Self::start(&["--engine", "stub", "--webhook-pause", "100ms", "--state-dir", dir])
    }

    fn run(command: &mut Command) -> Self {
        let mut child = command
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

    /// Waits until models are loaded.
    pub async fn ready(&self, http: &reqwest::Client) {
        until("the service is ready", async || {
            let answer = http.get(format!("{}/readyz", self.url)).send().await;
            answer.is_ok_and(|a| a.status() == 200)
        })
        .await;
    }

    pub fn address(&self) -> &str {
        &self.url[7..]
    }

    /// The most bytes it ever had in RAM.
    pub fn peak_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
        1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    }

    /// File handles that it may have: the soft limit and the hard one.
    pub fn file_limits(&self) -> [u64; 2] {
        let limits = std::fs::read_to_string(format!("/proc/{}/limits", self.child.id())).unwrap();
        let line = limits
            .lines()
            .find_map(|l| l.strip_prefix("Max open files"))
            .unwrap();
        let mut words = line.split_whitespace().map(|word| word.parse().unwrap());
        [(); 2].map(|()| words.next().unwrap())
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// SIGKILL: no handler runs.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM, and waits for the end.
    pub fn terminate(mut self) {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(killed.unwrap().success());
        self.child.wait().unwrap();
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["serve", "--port", "0", "--log", "warn"];
    all.extend(flags);
    all
}

pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        // A photo of 49 megapixels takes a build without optimisation its time, and five of them wait for two turns.
        .timeout(Duration::from_secs(600))
        .build()
        .unwrap()
}

/// The JSON at `url`, of a service that is up.
pub async fn get(http: &reqwest::Client, url: String) -> Value {
    http.get(url).send().await.unwrap().json().await.unwrap()
}
