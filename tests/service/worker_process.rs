//! The worker as a process: its end, start-up failures and the local mode; cases G and I of the conformance list.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::patience::PATIENCE;
use crate::plane::{AGES, Answer, Plane};

pub fn binary(vars: &HashMap<String, String>, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dragunov"));
    command.arg("worker").args(args).env("DRAGUNOV_ENGINE", "stub");
    for name in [
        "RUNPOD_WEBHOOK_GET_JOB",
        "RUNPOD_ENDPOINT_ID",
        "RUNPOD_LOG_LEVEL",
        "RUNPOD_DEBUG_LEVEL",
    ] {
        command.env_remove(name);
    }
    command
        .envs(vars)
        .env(
            "RUNPOD_MIN_MEMORY_GB",
            vars.get("RUNPOD_MIN_MEMORY_GB").map_or("0", String::as_str),
        )
        .env("RUNPOD_MIN_DISK_PERCENT", "0")
        .current_dir(std::env::temp_dir())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

pub fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    let sent = std::process::Command::new("kill")
        .args([name, &pid])
        .status()
        .unwrap();
    assert!(sent.success());
}

pub async fn output(child: Child) -> Output {
    tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap()
}

pub fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// B18, G2, G4 and I4 with the real process: exit codes, and every line one JSON object of three keys.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_ends_well() {
    let plane = Plane::start().await;
    let mut vars = plane.env();
    vars.insert("RUNPOD_ENDPOINT_ID".into(), "ep".into());
    plane.script(
        "take",
        [
            Answer::json(json!([{"id": "j-1", "batchId": "B9",
                "input": {"mock_logs": ["from the job"], "mock_return": 1}}])),
            Answer::status(204).held(AGES),
        ],
    );
    let child = binary(&vars, &[]);
    plane.until_calls("ping", 1).await;
    plane.until_finals(1).await;
    plane.until_calls("take", 2).await;
    signal(&child, "-TERM");
    let out = output(child).await;
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    let lines = text(&out);
    assert!(
        lines.contains("\"requestId\": \"j-1\", \"message\": \"[batchId=B9] Started.\", \"level\": \"INFO\""),
        "{lines}"
    );
    for line in lines.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(object.as_object().unwrap().len(), 3, "{line}");
    }
    assert!(!lines.contains("KEY123"), "the key is in the log");

    plane.script("take", [Answer::job("long", json!({"mock_delay": 300}))]);
    let mut child = binary(&vars, &[]);
    while !plane
        .calls("take")
        .iter()
        .any(|c| c.target.ends_with("job_in_progress=1"))
        && !plane
            .calls("ping")
            .iter()
            .any(|c| c.target.contains("job_id=long"))
    {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Two signals that come at once are one; each of these finds the first one heard, or is it.
    while child.try_wait().unwrap().is_none() {
        signal(&child, "-TERM");
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert_eq!(output(child).await.status.code(), Some(143));
}

/// The drain has one deadline, which a flag sets: a platform that takes a result and never answers does not hold it up.
#[tokio::test(flavor = "multi_thread")]
async fn a_flag_sets_the_time_of_the_drain() {
    let plane = Plane::start().await;
    plane
        .script("take", [Answer::job("j", json!({"mock_return": 1}))])
        .script("done", (0..100).map(|_| Answer::status(200).held(AGES)));
    let child = binary(&plane.env(), &["--drain-timeout", "1s"]);
    plane.until_finals(1).await;
    signal(&child, "-TERM");
    let begun = std::time::Instant::now();
    output(child).await;
    // Without the flag it is 25 s.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

/// G9: nothing of a killed worker goes on pinging.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_silent() {
    let plane = Plane::start().await;
    let mut child = binary(&plane.env(), &[]);
    plane.until_calls("ping", 1).await;
    child.kill().await.unwrap();
    // What was under way when it died.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let pings = plane.calls("ping").len();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(plane.calls("ping").len(), pings);
}

/// G7: unfit machines say so once and take nothing.
#[tokio::test(flavor = "multi_thread")]
async fn unfit_machines_report_and_end() {
    let plane = Plane::start().await;
    let mut vars = plane.env();
    vars.insert("RUNPOD_MIN_MEMORY_GB".into(), "99999".into());
    let out = output(binary(&vars, &[])).await;
    assert_eq!(out.status.code(), Some(1));
    let reports: Vec<_> = plane
        .calls("ping")
        .into_iter()
        .filter(|c| c.target.contains("status=unhealthy"))
        .collect();
    assert_eq!(reports.len(), 1);
    let target = &reports[0].target;
    assert!(
        target.contains("&check=_memory_check&reason=FitnessError%3A+Insufficient+memory%3A"),
        "{target}"
    );
    assert!(plane.calls("take").is_empty());
    assert!(
        text(&out).contains("ERROR  | Fitness check failed: _memory_check | "),
        "{}",
        text(&out)
    );
}

/// Puts a script in the place of the driver's tool.
fn fake_nvidia_smi(dir: &Path, script: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join("nvidia-smi");
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// G7 for GPUs: what the driver's tool says decides, before any model is loaded. No machine has a GPU 4096, so that the
/// fit ones end at their models.
#[tokio::test(flavor = "multi_thread")]
async fn unfit_gpus_report_and_end() {
    let tool = |cuda: &str| {
        format!(
            "case \"$1\" in --query*) echo '4096, GPU-1, NVIDIA H100 80GB HBM3, 0, 81559';; \
             *) echo '| Driver Version: 580.1   CUDA Version: {cuda} |';; esac"
        )
    };
    for (script, device, vars, check, words) in [
        (
            "exit 9".to_owned(),
            "cuda:4096",
            vec![],
            "_gpu_health_check",
            "does not answer",
        ),
        (
            tool("13.0"),
            "cuda:1",
            vec![],
            "_gpu_health_check",
            "cuda:1 is not among the 1",
        ),
        (
            tool("11.4"),
            "cuda:4096",
            vec![],
            "_cuda_version_check",
            "CUDA 11.4 found",
        ),
        (
            tool("11.4"),
            "cuda:4096",
            vec![("RUNPOD_MIN_CUDA_VERSION", "11.0")],
            "_model_check",
            "device_unavailable",
        ),
        (
            "exit 9".to_owned(),
            "cuda:4096",
            vec![("RUNPOD_SKIP_GPU_CHECK", "true")],
            "_model_check",
            "device_unavailable",
        ),
    ] {
        let plane = Plane::start().await;
        plane.script("take", [Answer::job("one", json!({}))]);
        let dir = tempfile::tempdir().unwrap();
        fake_nvidia_smi(dir.path(), &script);
        let path = std::env::var("PATH").unwrap();
        let mut env = plane.env();
        env.insert("PATH".into(), format!("{}:{path}", dir.path().display()));
        env.insert("CUDA_VISIBLE_DEVICES".into(), String::new());
        env.extend(vars.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())));
        let out = output(binary(&env, &["--engine", "models", "--device", device])).await;
        assert_eq!(out.status.code(), Some(1), "{}", text(&out));
        let reports: Vec<String> = plane
            .calls("ping")
            .into_iter()
            .map(|c| c.target)
            .filter(|t| t.contains("status=unhealthy"))
            .collect();
        assert_eq!(reports.len(), 1, "{reports:?}");
        assert!(reports[0].contains(&format!("&check={check}&")), "{reports:?}");
        assert!(text(&out).contains(words), "{words}: {}", text(&out));
        let takes = usize::from(check == "_model_check");
        assert_eq!(plane.calls("take").len(), takes, "{check}");
    }
}

/// G8: models that do not load are told to one caller.
#[tokio::test(flavor = "multi_thread")]
async fn load_failures_reach_one_caller() {
    let plane = Plane::start().await;
    plane.script(
        "take",
        [Answer::job("first", json!({})), Answer::job("second", json!({}))],
    );
    let out = output(binary(
        &plane.env(),
        &["--engine", "models", "--models", "/no/such/folder"],
    ))
    .await;
    assert_eq!(out.status.code(), Some(1), "{}", text(&out));
    assert!(
        plane
            .calls("ping")
            .iter()
            .any(|c| c.target.contains("check=_model_check"))
    );
    let finals = plane.finals();
    assert_eq!(finals.len(), 1);
    let error: Value = serde_json::from_str(finals[0].json()["error"].as_str().unwrap()).unwrap();
    assert_eq!(error["event"], "prestart_failed");
    assert!(!error["error_message"].as_str().unwrap().is_empty());
    assert_eq!(plane.calls("take").len(), 1);
}

/// I1, I2, I3, I6, I7.
#[tokio::test(flavor = "multi_thread")]
async fn local_jobs() {
    let plane = Plane::start().await;
    let run = |args: Vec<String>, vars: HashMap<String, String>| async move {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let out = output(binary(&vars, &args)).await;
        (
            out.status.code(),
            text(&out) + &String::from_utf8_lossy(&out.stderr),
        )
    };
    let given = |job: &str| vec!["--test_input".to_owned(), job.to_owned()];
    let none = HashMap::new;
    for (job, code, words) in [
        (r#"{"input": {"mock_return": 7}}"#, 0, "INFO   | Job result: 7"),
        (
            r#"{"input": {"mock_return": 7}}"#,
            0,
            "Job local_test completed successfully.",
        ),
        (
            r#"{"id": "x", "input": {"mock_error": "soft"}}"#,
            1,
            "ERROR  | Job x failed with error: soft",
        ),
        (r#"{"id": "x"}"#, 1, "Job has no input parameter. Unable to run."),
        ("{", 1, "test_input is not JSON"),
        (
            r#"{"input": {"mock_chunks": ["c1", "c2"]}}"#,
            0,
            "Stream output: \"c2\"",
        ),
    ] {
        let (got, log) = run(given(job), none()).await;
        assert_eq!(got, Some(code), "{job}: {log}");
        assert!(log.contains(words), "{job}: {log}");
    }
    let mut flags = given(r#"{"input": {"mock_return": 7}}"#);
    flags.extend(["--rp_debugger", "--rp_api_concurrency", "4"].map(str::to_owned));
    let (code, log) = run(flags, none()).await;
    assert_eq!(code, Some(0), "{log}");
    for flag in ["--rp_debugger", "--rp_api_concurrency"] {
        assert!(log.contains(&format!("{flag} has no effect here")), "{log}");
    }
    let (code, log) = run(vec![], none()).await;
    assert_eq!(code, Some(1));
    assert!(
        log.contains("WARN   | test_input.json not found, exiting."),
        "{log}"
    );
    // The flag wins over the platform.
    assert_eq!(
        run(given(r#"{"input": {"mock_return": 1}}"#), plane.env())
            .await
            .0,
        Some(0)
    );
    assert!(plane.calls("take").is_empty());
    let level = |v: &str| HashMap::from([("RUNPOD_LOG_LEVEL".to_owned(), v.to_owned())]);
    let (_, quiet) = run(given(r#"{"input": {"mock_return": 1}}"#), level("ERROR")).await;
    assert_eq!(quiet, "");
    let (code, clear) = run(given(r#"{"input": {}}"#), level("bogus")).await;
    assert_eq!(code, Some(2));
    assert!(clear.contains("RUNPOD_LOG_LEVEL=\"bogus\""), "{clear}");
}
