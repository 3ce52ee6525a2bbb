//! Pings, stopping, shutdown and refresh: cases E, F and G of the conformance list.

use std::time::Duration;

use dragunov::worker::{Ended, Timings, WorkerOptions};
use serde_json::{Value, json};

use crate::plane::{AGES, Answer, Plane, Running, quick};

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

/// E3: an engine that blocks its thread does not stop the pings.
#[tokio::test(flavor = "current_thread")]
async fn a_blocked_engine_is_pinged_for() {
    let plane = Plane::start().await;
    plane.script(
        "take",
        [Answer::job("j", json!({"mock_block": 5, "mock_return": 1}))],
    );
    let worker = Running::start(&plane);
    let end = plane.until_finals(1).await[0].at;
    let during = plane.calls("ping");
    let during = during
        .iter()
        .filter(|c| c.at < end && c.target.contains("job_id=j&"));
    assert!(during.count() >= 2);
    worker.stop().await;
}

/// E4, E5: a platform that refuses pings or never answers one is pinged again.
#[tokio::test(flavor = "current_thread")]
async fn pings_go_on() {
    let plane = Plane::start().await;
    plane.script(
        "ping",
        [
            Answer::status(500),
            Answer::status(429),
            Answer::status(200).held(AGES),
            Answer::reset(),
        ],
    );
    plane.script("take", [Answer::job("j", json!({"mock_return": 1}))]);
    let worker = Running::start(&plane);
    plane.until_finals(1).await;
    plane.until_calls("ping", 6).await;
    worker.stop().await;
}

/// F1, F2, F3: the named job ends without a post; the others go on; nonsense is ignored.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_jobs_post_nothing() {
    let plane = Plane::start().await;
    plane.script(
        "take",
        [Answer::json(json!([
            {"id": "b", "input": {"mock_delay": 5, "mock_return": "b"}},
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
    worker.stop().await;
    assert_eq!(plane.finals().len(), 2);
}

/// F4, F5: lower bounds, because a busy machine may take its time.
#[tokio::test(flavor = "multi_thread")]
async fn the_stop_channel_is_not_hammered() {
    for (answer, pause_ms) in [
        (Answer::status(204), 100),
        (Answer::status(404), 1000),
        (Answer::status(500), 75),
        (Answer::json(json!({"jobsToStop": ["a", "j"]})), 100),
    ] {
        let plane = Plane::start().await;
        plane.script("stop", (0..100).map(|_| answer.clone()));
        plane.script("take", [Answer::job("other", json!({"mock_return": 1}))]);
        let worker = Running::start(&plane);
        plane.until_finals(1).await;
        let polls = plane.until_calls("stop", 3).await;
        for pair in polls.windows(2) {
            let gap = pair[1].at - pair[0].at;
            assert!(
                gap >= Duration::from_millis(pause_ms) * 9 / 10,
                "{answer:?}: {gap:?}"
            );
        }
        worker.stop().await;
    }
}

/// F6: a job may be stopped while its result is on the way: one post, and the worker goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_may_cross_a_result() {
    let plane = Plane::start().await;
    plane
        .script("take", [Answer::job("j", json!({"mock_return": 1}))])
        .script("done", [Answer::status(200).held(Duration::from_millis(1500))]);
    let worker = Running::start(&plane);
    plane.until_finals(1).await;
    plane.script("stop", [Answer::json(json!({"jobsToStop": ["j"]}))]);
    plane.script("take", [Answer::job("next", json!({"mock_return": 2}))]);
    let finals = plane.until_finals(2).await;
    worker.stop().await;
    let ids: Vec<_> = finals
        .iter()
        .map(|c| c.headers["x-request-id"].as_str())
        .collect();
    assert_eq!(ids, ["j", "next"]);
    assert_eq!(plane.finals().len(), 2);
}

/// G1, G2, G3 in this process: nothing is taken any more, what runs is finished, a held poll is cut.
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_finishes_what_runs() {
    let plane = Plane::start().await;
    plane.script(
        "take",
        [Answer::job("j", json!({"mock_delay": 1.5, "mock_return": 1}))],
    );
    let worker = Running::start(&plane);
    while worker.jobs.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let takes = plane.calls("take").len();
    assert_eq!(worker.stop().await, Ended::Stopped);
    assert_eq!(plane.finals().len(), 1);
    assert_eq!(plane.calls("take").len(), takes);

    let plane = Plane::start().await;
    plane.script(
        "take",
        [Answer::job("late", json!({"mock_return": 1})).held(AGES)],
    );
    let worker = Running::start(&plane);
    plane.until_calls("take", 1).await;
    worker.stop().await;
    assert!(plane.finals().is_empty());
}

/// The drain limit: a job over it is dropped without a false failure.
#[tokio::test(flavor = "multi_thread")]
async fn the_drain_limit_posts_nothing() {
    let plane = Plane::start().await;
    plane.script("take", [Answer::job("j", json!({"mock_delay": 300}))]);
    let timings = Timings {
        drain: Duration::from_millis(200),
        ..quick()
    };
    let worker = Running::with(&plane, WorkerOptions::default(), timings, |_| {});
    while worker.jobs.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    worker.stop().await;
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
        let ended = tokio::time::timeout(AGES, worker.worker).await.unwrap().unwrap();
        assert_eq!(ended, Ended::Refreshed);
        let finals = plane.finals();
        assert_eq!(finals.len(), 1);
        assert_eq!(finals[0].json(), json!({"output": {"a": 1}, "stopPod": true}));
        assert_eq!(plane.calls("take").len(), 1);
    }
}
