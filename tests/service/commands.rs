//! The binary from outside: what `serve` needs to run, and the commands of operations.

use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::app::read;
use crate::patience::{PATIENCE, until};

/// No setting of the machine that runs the tests reaches the process.
pub fn bare(args: &[&str], vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dragunov"));
    let ours = |name: &str| {
        ["DRAGUNOV_", "RUNPOD_", "AWS_", "BUCKET_", "OTEL_"]
            .iter()
            .any(|p| name.starts_with(p))
    };
    for (name, _) in std::env::vars().filter(|(name, _)| ours(name)) {
        command.env_remove(name);
    }
    command
        .args(args)
        .envs(vars.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

pub async fn output(args: &[&str], vars: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let run = bare(args, vars).output();
    let Output {
        status,
        stdout,
        stderr,
    } = tokio::time::timeout(Duration::from_secs(120), run)
        .await
        .unwrap()
        .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// `dragunov serve --engine stub` as a process; all it writes is kept.
pub struct Served {
    pub url: String,
    pub http: reqwest::Client,
    child: Child,
    log: Arc<Mutex<String>>,
    /// Ends with what the process writes.
    reader: tokio::task::JoinHandle<()>,
}

impl Served {
    pub async fn start(args: &[&str], vars: &[(&str, &str)]) -> Self {
        let fixed = ["serve", "--engine", "stub", "--port", "0"];
        let mut child = bare(&[&fixed, args].concat(), vars).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (into, mut from) = (log.clone(), child.stderr.take().unwrap());
        let reader = tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(n @ 1..) = from.read(&mut buffer).await {
                into.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&buffer[..n]));
            }
        });
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).await.unwrap();
        let url = line.trim().strip_prefix("listening on ").map(str::to_owned);
        Self {
            url: url.unwrap_or_else(|| panic!("{line:?}\n{}", log.lock().unwrap())),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            child,
            log,
            reader,
        }
    }

    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.url)).json(body);
        read(request.send().await.unwrap()).await
    }

    /// Waits until it has written this.
    pub async fn until_logged(&self, words: &str) {
        until(words, async || self.log.lock().unwrap().contains(words)).await;
    }

    /// SIGTERM, then what it wrote.
    pub async fn stop(mut self) -> String {
        let pid = self.child.id().unwrap().to_string();
        let sent = std::process::Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success());
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        assert!(ended.unwrap().unwrap().success());
        self.reader.await.unwrap();
        self.log.lock().unwrap().clone()
    }
}

/// Every check of `doctor` on the bundled models, memory budget included; what is wrong is marked and ends with 2.
#[tokio::test(flavor = "multi_thread")]
async fn doctor_tells_what_is_there_and_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("jobs");
    let (code, out, err) = output(&["doctor", "--json", "--state-dir", state.to_str().unwrap()], &[]).await;
    let findings: Vec<Value> = serde_json::from_str(&out).unwrap();
    // How full the disk is belongs to the machine; that the exit code follows is ours.
    let all_ok = findings.iter().all(|f| f["ok"] == true);
    assert_eq!(code, Some(if all_ok { 0 } else { 2 }), "{out}{err}");
    let names: Vec<&str> = findings.iter().map(|f| f["what"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "version", "memory", "disk", "state", "foods", "device", "products", "models", "budget"
        ]
    );
    assert!(
        findings.iter().all(|f| f["ok"] == true || f["what"] == "disk"),
        "{out}"
    );
    let products = findings[6]["detail"].as_str().unwrap();
    assert!(
        products.starts_with("f32; ") && products.contains("AMX"),
        "{products}"
    );
    let budget = findings[8]["detail"].as_str().unwrap();
    let mib = |word: &str| {
        let (_, rest) = budget.split_once(word).unwrap_or_else(|| panic!("{budget}"));
        rest.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let (weights, peak, all) = (mib("weights "), mib("peak "), mib("device "));
    assert!(0 < weights && weights < peak && peak < all, "{budget}");

    let (code, out, err) = output(&["doctor", "--models", "/no/such/folder"], &[]).await;
    assert_eq!(code, Some(2));
    assert!(out.contains("FAIL  models"), "{out}");
    assert!(err.contains("check(s) failed") && err.contains("next: "), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn config_shows_what_is_in_force_and_no_secret() {
    let key = ("DRAGUNOV_API_KEY", "canary-0123456789");
    let (code, out, _) = output(&["config", "--host", "0.0.0.0"], &[key]).await;
    assert_eq!(code, Some(0));
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown["api_keys"], json!(["***"]));
    assert_eq!(shown["address"], "0.0.0.0:8000");
    assert!(!out.contains("canary"));
    assert_eq!(
        output(&["config", "--check"], &[key]).await,
        (Some(0), "".into(), "".into())
    );

    let bucket = ("BUCKET_NAME", "results");
    let hook = ("DRAGUNOV_CORS_ORIGIN", "https://a.example/page");
    for (args, vars, words) in [
        (
            &["config", "--check", "--host", "0.0.0.0"][..],
            &[][..],
            "--host: 0.0.0.0",
        ),
        (&["config", "--check", "--max-jobs", "0"], &[], "--max-jobs"),
        (&["config", "--check"], &[hook], "--cors-origin"),
        (&["config", "--check"], &[bucket], "BUCKET_ENDPOINT_URL"),
        (
            &["config", "--check", "--models", "/no/such/folder"],
            &[],
            "/no/such/folder",
        ),
        (&["config", "--check", "--device", "cuda:4096"], &[], "cuda:4096"),
        (&["serve", "--host", "0.0.0.0"], &[], "--host"),
    ] {
        let (code, out, err) = output(args, vars).await;
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
}

/// Before the models are loaded, and before the photo is read.
#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_has_nowhere_to_go_says_so_first() {
    for target in ["--overlay", "--depth", "--json"] {
        let args = [
            "scan",
            "no.jpg",
            "--models",
            "/no/set",
            target,
            "/no/folder/x.png",
        ];
        let (code, out, err) = output(&args, &[]).await;
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        assert!(
            err.contains("there is no folder /no/folder") && err.contains("next: "),
            "{err}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn manual_pages_and_completions_are_complete() {
    let commands = ["serve", "worker", "scan", "doctor", "config", "models"];
    let dir = tempfile::tempdir().unwrap();
    let (code, _, err) = output(&["man", dir.path().to_str().unwrap()], &[]).await;
    assert_eq!(code, Some(0), "{err}");
    for command in commands {
        let page = std::fs::read_to_string(dir.path().join(format!("dragunov-{command}.1"))).unwrap();
        assert!(page.contains(".SH") && page.contains(command), "{command}");
    }
    let serve = std::fs::read_to_string(dir.path().join("dragunov-serve.1")).unwrap();
    for flag in ["state\\-dir", "DRAGUNOV_API_KEY", "photos", "drain\\-delay"] {
        assert!(serve.contains(flag), "{flag}");
    }
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, _) = output(&["completions", shell], &[]).await;
        assert_eq!(code, Some(0), "{shell}");
        assert!(commands.iter().all(|c| script.contains(c)), "{shell}");
    }
}
