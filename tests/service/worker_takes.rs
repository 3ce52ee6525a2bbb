//! Addresses and taking: cases A and B of the conformance list.

use std::time::Duration;

use dragunov::worker::{Timings, WorkerOptions};
use serde_json::{Value, json};

use crate::plane::{AGES, Answer, Plane, Running, quick};

fn job(id: &str) -> Answer {
    Answer::job(id, json!({"mock_return": {"of": id}}))
}

fn concurrency(n: usize) -> WorkerOptions {
    WorkerOptions {
        concurrency: n,
        ..WorkerOptions::default()
    }
}

/// A1, A4, B1, C11, C12: the wire, byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn one_job_on_the_wire() {
    let plane = Plane::start().await;
    plane.script("take", [job("job-1")]);
    let worker = Running::start(&plane);
    let done = plane.until_finals(1).await.remove(0);
    let take = plane.calls("take").remove(0);
    assert_eq!(
        take.target,
        "/v2/ep/job-take/pod-abc?gpu=NVIDIA+RTX&job_in_progress=0"
    );
    assert_eq!(
        done.target,
        "/v2/ep/job-done/pod-abc/job-1?gpu=NVIDIA+RTX&isStream=false"
    );
    assert_eq!(done.body, r#"{"output":{"of":"job-1"}}"#);
    assert_eq!(done.headers["content-type"], "application/x-www-form-urlencoded");
    assert_eq!(done.headers["x-request-id"], "job-1");
    assert_eq!(done.headers["charset"], "utf-8");
    plane.until_calls("take", 2).await;
    for call in [
        plane.calls("take"),
        plane.calls("stop"),
        plane.calls("ping"),
        vec![done],
    ]
    .concat()
    {
        assert_eq!(call.headers["authorization"], "KEY123", "{}", call.kind);
        assert!(
            call.kind == "done" || !call.headers.contains_key("x-request-id"),
            "{}",
            call.kind
        );
    }
    worker.stop().await;
}

/// A2, A3, A6: the Hub's templates, which hold placeholders and no query, without stream or ping address.
#[tokio::test(flavor = "multi_thread")]
async fn hub_templates() {
    let plane = Plane::start().await;
    plane.script("take", [Answer::job("1", json!({"mock_chunks": [1, 2]}))]);
    let base = plane.base.clone();
    let worker = Running::with(&plane, WorkerOptions::default(), quick(), |env| {
        env.insert(
            "RUNPOD_WEBHOOK_GET_JOB".into(),
            format!("{base}/job-take/$RUNPOD_POD_ID"),
        );
        env.insert(
            "RUNPOD_WEBHOOK_POST_OUTPUT".into(),
            format!("{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=$RUNPOD_GPU_TYPE_ID"),
        );
        env.insert("RUNPOD_GPU_TYPE_ID".into(), "NVIDIA A100".into());
        env.remove("RUNPOD_WEBHOOK_POST_STREAM");
        env.remove("RUNPOD_WEBHOOK_PING");
    });
    let done = plane.until_finals(1).await.remove(0);
    assert_eq!(
        plane.calls("take")[0].target,
        "/v2/ep/job-take/pod-abc?job_in_progress=0"
    );
    assert_eq!(
        done.target,
        "/v2/ep/job-done/pod-abc/1?gpu=NVIDIA+A100&isStream=true"
    );
    // Nowhere to stream to: the chunks are the result.
    assert_eq!(done.json(), json!({"output": [1, 2]}));
    assert!(plane.calls("ping").is_empty() && plane.calls("stream").is_empty());
    worker.stop().await;
}

/// B2: batches of what is free.
#[tokio::test(flavor = "multi_thread")]
async fn batches() {
    let plane = Plane::start().await;
    let two = json!([{"id": "a", "input": {"mock_delay": 3}}, {"id": "b", "input": {"mock_delay": 0.1}, "batchId": "B9"}]);
    plane.script("take", [Answer::json(two)]);
    let worker = Running::with(&plane, concurrency(3), quick(), |_| {});
    let takes = plane.until_calls("take", 2).await;
    assert_eq!(
        takes[0].target,
        "/v2/ep/job-take-batch/pod-abc?gpu=NVIDIA+RTX&batch_size=3&job_in_progress=0"
    );
    assert_eq!(
        takes[1].target,
        "/v2/ep/job-take/pod-abc?gpu=NVIDIA+RTX&job_in_progress=1"
    );
    plane.until_finals(2).await;
    worker.stop().await;
}

/// B3: a held 204 is asked again at once.
#[tokio::test(flavor = "multi_thread")]
async fn held_empty_answers_cost_no_pause() {
    let plane = Plane::start().await;
    plane.script(
        "take",
        [Answer::status(204).held(Duration::from_millis(300)), job("next")],
    );
    let timings = Timings {
        empty_pause: AGES,
        ..quick()
    };
    let worker = Running::with(&plane, WorkerOptions::default(), timings, |_| {});
    plane.until_finals(1).await;
    worker.stop().await;
}

/// B4: a hasty one is not.
#[tokio::test(flavor = "multi_thread")]
async fn hasty_empty_answers_are_not_hammered() {
    let plane = Plane::start().await;
    plane.script("take", (0..20).map(|_| Answer::status(204)));
    let timings = Timings {
        held: AGES,
        ..quick()
    };
    let worker = Running::with(&plane, WorkerOptions::default(), timings, |_| {});
    let takes = plane.until_calls("take", 4).await;
    for pair in takes.windows(2) {
        let gap = pair[1].at - pair[0].at;
        assert!(gap >= Duration::from_millis(190), "{gap:?}");
    }
    worker.stop().await;
}

/// B19: a poll that the platform never ends is given up and asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_poll_held_too_long_is_asked_again() {
    let plane = Plane::start().await;
    plane.script("take", [Answer::status(204).held(AGES), job("after")]);
    let timings = Timings {
        poll: Duration::from_millis(400),
        ..quick()
    };
    let worker = Running::with(&plane, WorkerOptions::default(), timings, |_| {});
    plane.until_finals(1).await;
    worker.stop().await;
}

/// A8: an address of another shape works, one job at a time, without a stop channel.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_of_another_shape() {
    let plane = Plane::start().await;
    plane.script("other", [job("a"), job("b")]);
    plane.script(
        "other",
        (0..50).map(|_| Answer::status(204).held(Duration::from_millis(500))),
    );
    let base = plane.base.clone();
    let worker = Running::with(&plane, concurrency(3), quick(), |env| {
        env.insert("RUNPOD_WEBHOOK_GET_JOB".into(), format!("{base}/next?w=$ID"));
    });
    plane.until_finals(2).await;
    let first = plane.calls("other").remove(0);
    assert_eq!(first.target, "/v2/ep/next?w=pod-abc&job_in_progress=0");
    assert!(plane.calls("stop").is_empty() && plane.calls("take").is_empty());
    worker.stop().await;
}

/// B5, B6, B7: no hot loop on any refusal, and the next job runs.
#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_backed_off() {
    for (status, at_most) in [(400, 6), (429, 4), (500, 9), (401, 9), (404, 9)] {
        let plane = Plane::start().await;
        plane.script("take", (0..3).map(|_| Answer::status(status)));
        plane.script("take", [job("after")]);
        let worker = Running::start(&plane);
        let end = plane.until_finals(1).await[0].at;
        let mut takes = plane.calls("take");
        // The take after the job is done is no retry of a refusal.
        takes.retain(|take| take.at < end);
        assert!(takes.len() <= at_most, "{status}: {} takes", takes.len());
        let spent = takes[3].at - takes[0].at;
        assert!(spent >= Duration::from_millis(250), "{status}: {spent:?}");
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_after_is_honoured() {
    let plane = Plane::start().await;
    plane.script("take", [Answer::status(429).header("retry-after", "1"), job("a")]);
    let timings = Timings {
        busy_pause: AGES,
        ..quick()
    };
    let worker = Running::with(&plane, WorkerOptions::default(), timings, |_| {});
    plane.until_finals(1).await;
    let takes = plane.calls("take");
    let gap = takes[1].at - takes[0].at;
    assert!(gap >= Duration::from_millis(990), "{gap:?}");
    worker.stop().await;
}

/// B8: nobody listens for a while.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_port_is_waited_for() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let plane = Plane::on(listener);
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let other = closed.local_addr().unwrap();
    drop(closed);
    let worker = Running::with(&plane, WorkerOptions::default(), quick(), |env| {
        for value in env.values_mut() {
            *value = value.replace(&address.to_string(), &other.to_string());
        }
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    let late = Plane::on(tokio::net::TcpListener::bind(other).await.unwrap());
    late.script("take", [job("late")]);
    late.until_finals(1).await;
    worker.stop().await;
}

/// B9, B10, B12, B13: nonsense is survived, and odd jobs are run.
#[tokio::test(flavor = "multi_thread")]
async fn nonsense_does_not_end_the_worker() {
    let plane = Plane::start().await;
    plane.script(
        "take",
        [
            Answer::text("<html>").of_kind("text/html"),
            Answer::text(""),
            Answer::text("{"),
            Answer::text("null"),
            Answer::text("[]"),
            Answer::text("\"str\""),
            Answer::json(json!([{"input": {}}])),
            Answer::json(json!([{"input": {}}, {"id": "good", "input": {"mock_return": 1}}])),
            Answer::json(json!({"id": 5, "input": {"mock_return": 2}})),
            job("texty").of_kind("text/json"),
        ],
    );
    let worker = Running::start(&plane);
    let finals = plane.until_finals(3).await;
    let ids: Vec<_> = finals.iter().map(|c| c.headers["x-request-id"].clone()).collect();
    assert_eq!(ids, ["good", "5", "texty"]);
    worker.stop().await;
}

/// B11, B14: an input of any kind gets an answer.
#[tokio::test(flavor = "multi_thread")]
async fn every_job_gets_an_answer() {
    let plane = Plane::start().await;
    plane.script("take", [Answer::json(json!([{"id": "q"}]))]);
    plane.script(
        "take",
        [json!(null), json!([1]), json!("text"), json!({})].map(|input| Answer::job("x", input)),
    );
    let worker = Running::start(&plane);
    for done in plane.until_finals(5).await {
        let error = done.json()["error"].as_str().unwrap().to_owned();
        assert!(!error.is_empty());
    }
    worker.stop().await;
}

/// B15: no dead time between jobs: none of the protocol's pauses stands between a result and the next take.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_take_follows_at_once() {
    let plane = Plane::start().await;
    plane.script("take", (0..4).map(|i| job(&format!("j{i}"))));
    let timings = Timings {
        empty_pause: AGES,
        odd_pause: AGES,
        busy_pause: AGES,
        backoff_min: AGES,
        backoff_max: AGES,
        ..quick()
    };
    let worker = Running::with(&plane, WorkerOptions::default(), timings, |_| {});
    plane.until_finals(4).await;
    plane.until_calls("take", 5).await;
    worker.stop().await;
}

/// B16: the same job twice runs once; a copy that comes later is answered from memory.
#[tokio::test(flavor = "multi_thread")]
async fn duplicates_run_once() {
    let plane = Plane::start().await;
    let slow = json!({"id": "d", "input": {"mock_delay": 0.3, "mock_return": "once"}});
    plane.script("take", [Answer::json(json!([slow, slow]))]);
    let worker = Running::with(&plane, concurrency(2), quick(), |_| {});
    plane.until_finals(1).await;
    // While the device is busy for ages, only memory can answer.
    plane.script(
        "take",
        [
            Answer::job("busy", json!({"mock_delay": 300})),
            Answer::json(slow.clone()),
        ],
    );
    let finals = plane.until_finals(2).await;
    assert_eq!(finals[0].body, finals[1].body);
    plane.script("stop", [Answer::json(json!({"jobsToStop": ["busy"]}))]);
    // With another input it is another job.
    plane.script("take", [Answer::job("d", json!({"mock_return": "twice"}))]);
    assert_eq!(plane.until_finals(3).await[2].json(), json!({"output": "twice"}));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(plane.finals().len(), 3);
    worker.stop().await;
}

/// B17, C21: ten megabytes in, and text that is not ASCII out.
#[tokio::test(flavor = "multi_thread")]
async fn large_inputs() {
    let plane = Plane::start().await;
    let input = json!({"mock_return": "é€🍚", "padding": "x".repeat(10 << 20)});
    plane.script("take", [Answer::job("big", input)]);
    let worker = Running::start(&plane);
    let done = plane.until_finals(1).await.remove(0);
    assert_eq!(done.json(), json!({"output": "é€🍚"}));
    assert_eq!(done.headers["content-length"], done.body.len().to_string());
    let _: Value = done.json();
    worker.stop().await;
}
