//! Pings, stopping, shutdown, start-up failure and the local mode: cases E, F, G and I of the conformance list.

use std::collections::HashMap;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use dragunov::worker::{Ended, Timings, WorkerOptions};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::plane::{Answer, Plane, Running, quick};

fn binary(vars: &HashMap<String, String>, args: &[&str]) -> Child {
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

fn signal(child: &Child, name: &str) {
    let pid = child.id().unwrap().to_string();
    let sent = std::process::Command::new("kill")
        .args([name, &pid])
        .status()
        .unwrap();
    assert!(sent.success());
}

async fn output(child: Child) -> Output {
    tokio::time::timeout(Duration::from_secs(30), child.wait_with_output())
        .await
        .unwrap()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// E1, E2: the first ping names no job and comes before the first take; later ones name them all.
#[tokio::test(flavor = "multi_thread")]
async fn pings_name_the_jobs() {
    let plane = Plane::start().await;
    let jobs: Vec<Value> = ["a", "b", "c"]
        .map(|id| json!({"id": id, "input": {"mock_delay": 1.5}}))
        .to_vec();
    plane.script(
        "take",
        [Answer::json(Value::Array(jobs)).held(Duration::from_millis(100))],
    );
    let options = WorkerOptions {
        concurrency: 3,
        ..WorkerOptions::default()
    };
    let worker = Running::with(&plane, options, quick(), |_| {});
    let pings = plane.until_calls("ping", 2).await;
    assert!(!pings[0].target.contains("job_id"));
    assert!(
        pings[0].target.contains("&runpod_version=rust-dragunov%2F"),
        "{}",
        pings[0].target
    );
    assert!(
        pings[1].target.contains("job_id=a%2Cb%2Cc&"),
        "{}",
        pings[1].target
    );
    plane.until_finals(3).await;
    worker.stop().await;
}

/// E3: an engine that blocks its thread does not stop the pings. E4, E5: neither does a platform that refuses or hangs.
#[tokio::test(flavor = "current_thread")]
async fn pings_go_on() {
    let plane = Plane::start().await;
    plane
        .script(
            "take",
            [Answer::job("j", json!({"mock_block": 2.5, "mock_return": 1}))],
        )
        .script(
            "ping",
            [
                Answer::status(500),
                Answer::status(429),
                Answer::status(200).held(Duration::from_secs(30)),
            ],
        );
    let worker = Running::start(&plane);
    plane.until_finals(1).await;
    let pings = plane.until_calls("ping", 6).await;
    for pair in pings.windows(2) {
        assert!(
            pair[1].at - pair[0].at < Duration::from_millis(2300),
            "{:?}",
            pair[1].at - pair[0].at
        );
    }
    worker.stop().await;
}

/// F1, F2, F3: the named job ends without a post; the others go on; nonsense is ignored.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_jobs_post_nothing() {
    let plane = Plane::start().await;
    plane.script(
        "take",
        [Answer::json(json!([
            {"id": "b", "input": {"mock_delay": 0.9, "mock_return": "b"}},
            {"id": "a", "input": {"mock_delay": 60}},
        ]))],
    );
    plane.script(
        "stop",
        [
            Answer::text("<html>").of_kind("text/html"),
            Answer::json(json!(["a"])),
            Answer::json(json!({"jobsToStop": "a"})),
            Answer::json(json!({"jobsToStop": ["unknown", 5, "a"]})).held(Duration::from_millis(300)),
        ],
    );
    plane.script("take", [Answer::job("c", json!({"mock_return": "c"}))]);
    let options = WorkerOptions {
        concurrency: 2,
        ..WorkerOptions::default()
    };
    let worker = Running::with(&plane, options, quick(), |_| {});
    let finals = plane.until_finals(2).await;
    let end = |id: &str| {
        let found = finals.iter().find(|c| c.headers["x-request-id"].as_str() == id);
        found.unwrap_or_else(|| panic!("{id} has no end")).at
    };
    end("c");
    let second_take = plane.calls("take")[1].at;
    assert!(second_take < end("b"), "the stopped job's place was free again");
    assert_eq!(
        plane.calls("stop")[0].target,
        "/v2/ep/job-stop/pod-abc?gpu=NVIDIA+RTX"
    );
    assert!(worker.jobs.is_empty());
    worker.stop().await;
    assert_eq!(plane.finals().len(), 2);
}

/// F4, F5.
#[tokio::test(flavor = "multi_thread")]
async fn the_stop_channel_is_not_hammered() {
    for (answer, at_most) in [
        (Answer::status(204), 8),
        (Answer::status(404), 2),
        (Answer::status(500), 5),
    ] {
        let plane = Plane::start().await;
        plane.script("stop", (0..100).map(|_| answer.clone()));
        plane.script("take", [Answer::job("j", json!({"mock_return": 1}))]);
        let worker = Running::start(&plane);
        plane.until_finals(1).await;
        tokio::time::sleep(Duration::from_millis(600)).await;
        let n = plane.calls("stop").len();
        assert!(n <= at_most, "{answer:?}: {n} polls");
        worker.stop().await;
    }
}

/// G1, G2, G3 in this process: nothing is taken any more, what runs is finished, a held poll is cut.
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_finishes_what_runs() {
    let plane = Plane::start().await;
    plane.script(
        "take",
        [Answer::job("j", json!({"mock_delay": 0.6, "mock_return": 1}))],
    );
    let worker = Running::start(&plane);
    while worker.jobs.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let takes = plane.calls("take").len();
    let (ended, took) = worker.stop().await;
    assert_eq!(ended, Ended::Stopped);
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert_eq!(plane.finals().len(), 1);
    assert_eq!(plane.calls("take").len(), takes);

    let plane = Plane::start().await;
    plane.script(
        "take",
        [Answer::job("late", json!({"mock_return": 1})).held(Duration::from_millis(2500))],
    );
    let worker = Running::start(&plane);
    plane.until_calls("take", 1).await;
    let (_, took) = worker.stop().await;
    assert!(took < Duration::from_millis(500), "{took:?}");
    assert!(plane.finals().is_empty());
}

/// The drain limit: a job over it is dropped without a false failure.
#[tokio::test(flavor = "multi_thread")]
async fn the_drain_limit_posts_nothing() {
    let plane = Plane::start().await;
    plane.script("take", [Answer::job("j", json!({"mock_delay": 60}))]);
    let timings = Timings {
        drain: Some(Duration::from_millis(200)),
        ..quick()
    };
    let worker = Running::with(&plane, WorkerOptions::default(), timings, |_| {});
    while worker.jobs.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (_, took) = worker.stop().await;
    assert!(took < Duration::from_millis(1500), "{took:?}");
    assert!(plane.finals().is_empty());
}

/// G5, G6.
#[tokio::test(flavor = "multi_thread")]
async fn refresh_ends_the_worker_before_another_take() {
    for by_job in [true, false] {
        let plane = Plane::start().await;
        plane.script(
            "take",
            [
                Answer::job("r", json!({"mock_return": {"a": 1}, "mock_refresh": by_job})),
                Answer::job("never", json!({"mock_return": 2})),
            ],
        );
        let options = WorkerOptions {
            refresh: !by_job,
            ..WorkerOptions::default()
        };
        let worker = Running::with(&plane, options, quick(), |_| {});
        let ended = tokio::time::timeout(Duration::from_secs(5), worker.worker)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(ended, Ended::Refreshed);
        let finals = plane.finals();
        assert_eq!(finals.len(), 1);
        assert_eq!(finals[0].json(), json!({"output": {"a": 1}, "stopPod": true}));
        assert_eq!(plane.calls("take").len(), 1);
    }
}

/// G2, G4 and I4 with the real process: exit codes, and every line one JSON object of three keys.
#[tokio::test(flavor = "multi_thread")]
async fn the_process_ends_well() {
    let plane = Plane::start().await;
    let mut vars = plane.env();
    vars.insert("RUNPOD_ENDPOINT_ID".into(), "ep".into());
    plane.script(
        "take",
        [
            Answer::job("j-1", json!({"mock_logs": ["from the job"], "mock_return": 1})),
            Answer::status(204).held(Duration::from_secs(20)),
        ],
    );
    let begun = Instant::now();
    let child = binary(&vars, &[]);
    let first_ping = plane.until_calls("ping", 1).await[0].at - begun;
    plane.until_finals(1).await;
    plane.until_calls("take", 2).await;
    let asked = Instant::now();
    signal(&child, "-TERM");
    let out = output(child).await;
    assert_eq!(out.status.code(), Some(0), "{}", text(&out));
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    assert!(first_ping < Duration::from_secs(3), "{first_ping:?}");
    let lines = text(&out);
    assert!(
        lines.contains("\"requestId\": \"j-1\", \"message\": \"Started.\", \"level\": \"INFO\""),
        "{lines}"
    );
    for line in lines.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(object.as_object().unwrap().len(), 3, "{line}");
    }
    assert!(!lines.contains("KEY123"), "the key is in the log");

    plane.script("take", [Answer::job("long", json!({"mock_delay": 60}))]);
    let child = binary(&vars, &[]);
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
    signal(&child, "-TERM");
    tokio::time::sleep(Duration::from_millis(200)).await;
    signal(&child, "-TERM");
    assert_eq!(output(child).await.status.code(), Some(143));
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
