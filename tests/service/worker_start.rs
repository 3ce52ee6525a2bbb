//! A worker that starts oddly, or cannot start: what it says, and where.

use std::time::Duration;

use serde_json::{Value, json};

use crate::plane::{AGES, Answer, Plane, Running, quick};
use crate::s3::{KEY_ID, S3, SECRET};
use crate::worker_process::{binary, output, text};
use dragunov::s3::S3Keys;
use dragunov::worker::WorkerOptions;

/// The official worker reads three variables; its bucket is then the month's.
#[tokio::test(flavor = "multi_thread")]
async fn the_official_bucket_variables_are_enough() {
    let vars = |name: &str| Some(name.to_owned()).filter(|n| n.starts_with("BUCKET_") && n != "BUCKET_NAME");
    let month = S3Keys::from_env(vars).unwrap().unwrap().bucket();
    assert!(month.len() == 5 && &month[2..3] == "-", "{month}");
    let s3 = S3::start(&[&month]).await;
    let plane = Plane::start().await;
    plane.script(
        "take",
        [Answer::job("j", json!({"mock_return": "y".repeat(5000)}))],
    );
    let options = WorkerOptions {
        max_result: 1000,
        ..WorkerOptions::default()
    };
    let endpoint = s3.url.clone();
    let worker = Running::with(&plane, options, quick(), |env| {
        for (name, value) in [
            ("BUCKET_ENDPOINT_URL", endpoint.as_str()),
            ("BUCKET_ACCESS_KEY_ID", KEY_ID),
            ("BUCKET_SECRET_ACCESS_KEY", SECRET),
        ] {
            env.insert(name.into(), value.into());
        }
    });
    let done = plane.until_finals(1).await.remove(0).json();
    worker.stop().await;
    let link = done["output"]["result_url"]
        .as_str()
        .unwrap_or_else(|| panic!("{done}"));
    assert!(link.starts_with(&format!("{}/{month}/j/", s3.url)), "{link}");
    assert_eq!(reqwest::get(link).await.unwrap().status(), 200);
}

/// Whatever keeps a worker from starting is told to one caller, in a ping and in the log's own format.
#[tokio::test(flavor = "multi_thread")]
async fn start_failures_are_told_to_one_caller() {
    for (vars, args, words) in [
        (
            &[("BUCKET_ENDPOINT_URL", "http://127.0.0.1:9000")][..],
            &[][..],
            "BUCKET_ACCESS_KEY_ID",
        ),
        (
            &[
                ("BUCKET_ENDPOINT_URL", "no address"),
                ("BUCKET_ACCESS_KEY_ID", "i"),
                ("BUCKET_SECRET_ACCESS_KEY", "s"),
            ],
            &[],
            "BUCKET_ENDPOINT_URL",
        ),
        (&[("RUNPOD_LOG_LEVEL", "bogus")], &[], "RUNPOD_LOG_LEVEL"),
        (&[("DRAGUNOV_CONCURRENCY", "many")], &[], "--concurrency"),
        (&[], &["--no-such-flag"], "--no-such-flag"),
    ] {
        let plane = Plane::start().await;
        plane.script(
            "take",
            [
                Answer::status(204),
                Answer::job("first", json!({})),
                Answer::job("second", json!({})),
            ],
        );
        let mut env = plane.env();
        env.insert("RUNPOD_ENDPOINT_ID".into(), "ep".into());
        env.extend(vars.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        let out = output(binary(&env, args)).await;
        assert_eq!(out.status.code(), Some(1), "{words}: {}", text(&out));
        let finals = plane.finals();
        assert_eq!(finals.len(), 1, "{words}: {}", text(&out));
        let error: Value = serde_json::from_str(finals[0].json()["error"].as_str().unwrap()).unwrap();
        assert_eq!(error["event"], "prestart_failed");
        assert_eq!(error["error_type"], "config_invalid");
        let message = error["error_message"].as_str().unwrap();
        assert!(message.contains(words), "{words}: {message}");
        let reports = plane.calls("ping");
        let reports: Vec<_> = reports
            .iter()
            .filter(|c| c.target.contains("status=unhealthy"))
            .collect();
        assert_eq!(reports.len(), 1, "{words}");
        assert!(
            reports[0].target.contains("check=_config_check"),
            "{}",
            reports[0].target
        );
        assert!(text(&out).contains(words), "{words}: {}", text(&out));
        lines_are_json(&text(&out));
        assert!(out.stderr.is_empty(), "{}", String::from_utf8_lossy(&out.stderr));
    }
}

/// Without a place for results no job is taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_answer_takes_nothing() {
    for (name, value) in [
        ("RUNPOD_WEBHOOK_POST_OUTPUT", ""),
        ("RUNPOD_WEBHOOK_POST_OUTPUT", "JOB_DONE_URL"),
        ("RUNPOD_WEBHOOK_GET_JOB", "JOB_URL"),
    ] {
        let plane = Plane::start().await;
        plane.script("take", [Answer::job("j", json!({"mock_return": 1}))]);
        let mut env = plane.env();
        env.insert("RUNPOD_ENDPOINT_ID".into(), "ep".into());
        env.insert(name.into(), value.into());
        let out = output(binary(&env, &[])).await;
        assert_eq!(out.status.code(), Some(1), "{}", text(&out));
        assert!(plane.calls("take").is_empty(), "{name}={value}");
        let pings = plane.calls("ping");
        let reports = pings.iter().filter(|c| c.target.contains("status=unhealthy"));
        assert_eq!(reports.count(), 1, "{name}={value}");
        assert!(text(&out).contains(name), "{}", text(&out));
        lines_are_json(&text(&out));
    }
}

fn lines_are_json(log: &str) {
    assert!(!log.is_empty());
    for line in log.lines() {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(object.as_object().unwrap().len(), 3, "{line}");
    }
}

/// A platform that is a little later than its worker.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_connection_at_the_start_is_tried_again() {
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let early = Plane::start().await;
    let to = format!("http://{address}/v2/ep");
    let mut env = early.env();
    for value in env.values_mut() {
        *value = value.replace(&early.base, &to);
    }
    env.insert("RUNPOD_NETWORK_CHECK_TIMEOUT".into(), "30".into());
    let child = binary(&env, &[]);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    let plane = Plane::on(tokio::net::TcpListener::bind(address).await.unwrap());
    plane.script("take", [Answer::job("j", json!({"mock_return": 1}))]);
    plane.until_finals(1).await;
    drop(child);
}

/// The batch stands in every line of its jobs, of the engine and of the stop channel too.
#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_a_batch_names_it() {
    let plane = Plane::start().await;
    let mut env = plane.env();
    env.insert("RUNPOD_ENDPOINT_ID".into(), "ep".into());
    env.insert("DRAGUNOV_CONCURRENCY".into(), "2".into());
    let fails = json!([
        {"id": "j-1", "batchId": "B9", "input": {"mock_logs": ["from the job"], "mock_raise": "boom"}},
    ]);
    let lasts = json!([{"id": "j-2", "batchId": "B9", "input": {"mock_delay": 300}}]);
    plane
        .script("take", [Answer::json(fails)])
        .script("done", [Answer::status(500)]);
    let child = binary(&env, &[]);
    plane.until_finals(2).await;
    // Only now: the engine runs one job at a time, in the order in which they reach it.
    let takes = plane.calls("take").len();
    plane.script("take", [Answer::json(lasts), Answer::status(204).held(AGES)]);
    plane.until_calls("take", takes + 2).await;
    plane.script("stop", [Answer::json(json!({"jobsToStop": ["j-2"]}))]);
    let stops = plane.calls("stop").len();
    plane.until_calls("stop", stops + 2).await;
    crate::worker_process::signal(&child, "-TERM");
    let out = output(child).await;
    let log = text(&out);
    for words in [
        "Started.",
        "from the job",
        "boom",
        "not delivered",
        "Results sent.",
        "stopped by",
        "Finished.",
    ] {
        assert!(log.contains(words), "{words}: {log}");
    }
    for line in log.lines().filter(|l| l.contains("\"requestId\": \"j-")) {
        assert!(line.contains("\"message\": \"[batchId=B9] "), "{line}");
    }
}

/// The flags of the official worker serve, or are taken with a note.
#[tokio::test(flavor = "multi_thread")]
async fn the_official_flags_serve() {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let flags = "--rp_serve_api --rp_api_port 0 --rp_api_host localhost --rp_api_concurrency 4 --rp_debugger";
    let flags: Vec<&str> = flags.split(' ').collect();
    let platform = Plane::start().await.env();
    let realtime = std::collections::HashMap::from([("RUNPOD_REALTIME_PORT".to_owned(), port)]);
    for (env, args) in [(platform, flags), (realtime, vec![])] {
        let mut child = binary(&env, &args);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut seen = String::new();
        let url = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .unwrap_or_else(|| panic!("{seen}"));
            if let Some(url) = line.strip_prefix("listening on ") {
                break url.replace("0.0.0.0", "127.0.0.1");
            }
            seen += &line;
        };
        tokio::spawn(async move { while lines.next_line().await.is_ok_and(|l| l.is_some()) {} });
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let post = async |path: &str, body: Value| {
            let sent = http
                .post(format!("{url}{path}"))
                .json(&body)
                .send()
                .await
                .unwrap();
            sent.json::<Value>().await.unwrap()
        };
        let done = post("/runsync", json!({"input": {"mock_return": 7}})).await;
        assert_eq!(done["output"], 7, "{done}");
        let job = |input: Value| json!({"id": "r1", "input": input});
        let done = post("/ep/realtime", job(json!({"mock_return": {"a": 1}}))).await;
        assert_eq!(done, json!({"output": {"a": 1}}));
        let done = post(
            "/ep/realtime",
            job(json!({"mock_return": {"a": 1, "error": "soft"}})),
        )
        .await;
        assert_eq!(done, json!({"output": {"a": 1}, "error": "soft"}));
        child.kill().await.unwrap();
        let mut notes = String::new();
        let mut stderr = child.stderr.take().unwrap();
        stderr.read_to_string(&mut notes).await.unwrap();
        for flag in ["--rp_api_concurrency", "--rp_debugger"] {
            let noted = notes.contains(&format!("{flag} has no effect here"));
            assert_eq!(noted, args.contains(&flag), "{notes}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_local_job_shows_its_whole_result() {
    let none = std::collections::HashMap::new();
    let long = "z".repeat(20_000);
    let job = json!({"input": {"mock_return": {"text": long}}}).to_string();
    let right = json!({ "text": long }).to_string();
    for (expected, code, words) in [
        (right.as_str(), 0, "Job output matches test_output."),
        ("{\"text\": 1}", 1, "Job output does not match test_output."),
        ("{", 1, "Job output does not match test_output."),
    ] {
        let out = output(binary(&none, &["--test_input", &job, "--test_output", expected])).await;
        assert_eq!(out.status.code(), Some(code), "{words}");
        assert!(text(&out).contains(&right), "the result is cut");
        assert!(text(&out).contains(words), "{words}");
    }
}
