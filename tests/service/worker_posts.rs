//! Results, streams and progress: cases C and D of the conformance list.

use std::time::Duration;

use dragunov::worker::{Timings, WorkerOptions};
use serde_json::{Value, json};

use crate::plane::{AGES, Answer, Call, Plane, Running, quick};

async fn finals_of(
    plane: &Plane,
    input: Value,
    done: impl IntoIterator<Item = Answer>,
    n: usize,
) -> Vec<Call> {
    plane
        .script("take", [Answer::job("j", input)])
        .script("done", done);
    let timings = Timings {
        result_for: AGES,
        ..quick()
    };
    let worker = Running::with(plane, WorkerOptions::default(), timings, |_| {});
    let finals = plane.until_finals(n).await;
    worker.stop().await;
    assert_eq!(plane.finals().len(), n, "no further post");
    finals
}

/// C13, C14, C15, C16: whatever fails for a while, the same bytes arrive in the end.
#[tokio::test(flavor = "multi_thread")]
async fn results_survive_trouble() {
    let many_500: Vec<_> = (0..6).map(|_| Answer::status(500)).collect();
    for trouble in [
        vec![Answer::status(500), Answer::status(502)],
        many_500,
        vec![Answer::status(429).header("retry-after", "1")],
        vec![Answer::reset(), Answer::status(503)],
        vec![Answer::status(401)],
        vec![Answer::status(200).held(Duration::from_millis(2500))],
    ] {
        let plane = Plane::start().await;
        let n = trouble.len() + 1;
        let finals = finals_of(&plane, json!({"mock_return": "r"}), trouble, n).await;
        assert!(finals.iter().all(|c| c.body == r#"{"output":"r"}"#));
    }
}

/// C14, E6, E7: the job stays in the pings until its result is delivered, not longer.
#[tokio::test(flavor = "multi_thread")]
async fn undelivered_jobs_stay_in_the_pings() {
    let plane = Plane::start().await;
    plane
        .script("take", [Answer::job("j", json!({"mock_return": 1}))])
        .script("done", (0..10_000).map(|_| Answer::status(500)));
    let timings = Timings {
        result_for: AGES,
        ..quick()
    };
    let worker = Running::with(&plane, WorkerOptions::default(), timings, |_| {});
    plane.until_finals(2).await;
    let refused = plane.calls("ping").len();
    let pings = plane.until_calls("ping", refused + 2).await;
    assert!(pings[refused + 1].target.contains("job_id=j&"), "{:?}", pings);
    plane.forget("done");
    while !worker.jobs.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let delivered = plane.calls("ping").len();
    let pings = plane.until_calls("ping", delivered + 2).await;
    assert!(!pings[delivered + 1].target.contains("job_id"));
    worker.stop().await;
}

/// C17: a body that is refused for good is replaced by one short error.
#[tokio::test(flavor = "multi_thread")]
async fn refused_results_become_errors() {
    for status in [400, 413] {
        let plane = Plane::start().await;
        let finals = finals_of(&plane, json!({"mock_return": "x"}), [Answer::status(status)], 2).await;
        let error = finals[1].json()["error"].as_str().unwrap().to_owned();
        assert_eq!(error, format!("result rejected: HTTP {status}, 14 bytes"));
    }
}

/// C18.
#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_gone_is_let_go() {
    let plane = Plane::start().await;
    finals_of(&plane, json!({"mock_return": 1}), [Answer::status(404)], 1).await;
}

/// C19: never a post that the platform would refuse; `sync-` jobs may be larger.
#[tokio::test(flavor = "multi_thread")]
async fn results_too_large_fail_clearly() {
    let plane = Plane::start().await;
    let options = WorkerOptions {
        max_result: 1000,
        max_sync_result: 3000,
        ..WorkerOptions::default()
    };
    let input = json!({"mock_return": "y".repeat(2000)});
    plane.script(
        "take",
        [Answer::job("j", input.clone()), Answer::job("sync-j", input)],
    );
    let worker = Running::with(&plane, options, quick(), |_| {});
    let finals = plane.until_finals(2).await;
    let error = finals[0].json()["error"].as_str().unwrap().to_owned();
    assert!(
        error.starts_with("result too large: 2013 bytes, the platform takes 1000"),
        "{error}"
    );
    assert_eq!(finals[1].body.len(), 2013);
    worker.stop().await;
}

/// C10: the six keys of an error.
#[tokio::test(flavor = "multi_thread")]
async fn failures_carry_the_official_keys() {
    let plane = Plane::start().await;
    let finals = finals_of(&plane, json!({"mock_raise": "boom <é>"}), [], 1).await;
    let error: Value = serde_json::from_str(finals[0].json()["error"].as_str().unwrap()).unwrap();
    assert_eq!(error["error_message"], "boom <é>");
    assert_eq!(error["worker_id"], "pod-abc");
    for key in ["error_type", "error_traceback", "hostname", "runpod_version"] {
        assert!(error[key].is_string(), "{key}");
    }
}

/// C22: a slow result does not hold up the other slot.
#[tokio::test(flavor = "multi_thread")]
async fn slow_posts_do_not_block_others() {
    let plane = Plane::start().await;
    plane
        .script(
            "take",
            [Answer::json(json!([{"id": "a", "input": {"mock_return": 1}}]))],
        )
        .script("done", [Answer::status(200).held(AGES)]);
    let options = WorkerOptions {
        concurrency: 2,
        ..WorkerOptions::default()
    };
    let timings = Timings {
        post: AGES,
        ..quick()
    };
    let worker = Running::with(&plane, options, timings, |_| {});
    plane.until_finals(1).await;
    plane.script("take", [Answer::job("b", json!({"mock_return": 2}))]);
    let second = plane.until_finals(2).await.remove(1);
    assert_eq!(second.headers["x-request-id"], "b");
    worker.worker.abort();
}

/// D1, D5: chunks in order, each until it is taken, then the final post.
#[tokio::test(flavor = "multi_thread")]
async fn streams() {
    let plane = Plane::start().await;
    plane.script(
        "stream",
        [Answer::status(200), Answer::status(500), Answer::status(200)],
    );
    let input = json!({"mock_chunks": [{"i": 0}, {"i": 1}, {"i": 2}]});
    let done = finals_of(&plane, input, [], 1).await.remove(0);
    let bodies: Vec<_> = plane
        .calls("stream")
        .iter()
        .map(|c| c.json()["output"]["i"].clone())
        .collect();
    assert_eq!(bodies, [0, 1, 1, 2]);
    for call in plane.calls("stream") {
        assert_eq!(
            call.target,
            "/v2/ep/job-stream/pod-abc/j?gpu=NVIDIA+RTX&isStream=false"
        );
        assert!(call.at < done.at);
    }
    assert!(done.target.ends_with("&isStream=true"));
    assert_eq!(done.json(), json!({"output": []}));
}

/// D2.
#[tokio::test(flavor = "multi_thread")]
async fn aggregated_streams() {
    let plane = Plane::start().await;
    plane.script("take", [Answer::job("j", json!({"mock_chunks": [1, 2]}))]);
    let options = WorkerOptions {
        aggregate: true,
        ..WorkerOptions::default()
    };
    let worker = Running::with(&plane, options, quick(), |_| {});
    assert_eq!(plane.until_finals(1).await[0].json(), json!({"output": [1, 2]}));
    assert_eq!(plane.calls("stream").len(), 2);
    worker.stop().await;
}

/// D3, D4, D9: a stream that fails keeps what was said and ends with the error.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_fail() {
    for (input, chunks, error) in [
        (
            json!({"mock_chunks": [1], "mock_raise": "gen boom"}),
            1,
            "gen boom",
        ),
        (json!({"mock_chunks": [1, {"error": "bad"}, 3]}), 1, "bad"),
        (json!({"mock_chunks": [1, "z".repeat(2 << 20)]}), 1, "1 MiB"),
    ] {
        let plane = Plane::start().await;
        let done = finals_of(&plane, input, [], 1).await.remove(0);
        assert_eq!(plane.calls("stream").len(), chunks);
        assert!(done.target.ends_with("&isStream=true"), "{}", done.target);
        assert!(
            done.json()["error"].as_str().unwrap().contains(error),
            "{}",
            done.body
        );
        assert!(done.json().get("output").is_none());
    }
}

/// D6, D8: progress goes out at most so often, the latest counts, the result comes last.
#[tokio::test(flavor = "multi_thread")]
async fn progress_is_ordered_and_rare() {
    let plane = Plane::start().await;
    let updates: Vec<Value> = (0..1000).map(|i| json!({ "step": i })).collect();
    let input = json!({"mock_progress": {"updates": updates, "wait_time": 0.001}, "mock_return": "end"});
    finals_of(&plane, input, [], 1).await;
    let calls = plane.calls("done");
    let steps: Vec<i64> = calls
        .iter()
        .filter(|c| c.is_progress())
        .map(|c| c.json()["output"]["step"].as_i64().unwrap())
        .collect();
    assert!(steps.is_sorted() && steps.len() >= 2, "{steps:?}");
    let seconds = (calls[calls.len() - 1].at - calls[0].at).as_secs_f64();
    assert!(
        steps.len() as f64 <= seconds / 0.2 + 2.0,
        "{} posts in {seconds} s",
        steps.len()
    );
    assert_eq!(calls.last().unwrap().json(), json!({"output": "end"}));
}

/// D7: a progress post that fails as the job ends never comes after the result.
#[tokio::test(flavor = "multi_thread")]
async fn no_progress_after_the_result() {
    for trouble in [Answer::status(502), Answer::status(200).held(AGES)] {
        let plane = Plane::start().await;
        let input = json!({"mock_progress": {"updates": [{"s": 1}], "wait_time": 1.0}, "mock_return": 1});
        plane
            .script("take", [Answer::job("j", input)])
            .script("done", [trouble]);
        let timings = Timings {
            progress_wait: Duration::from_millis(200),
            post: AGES,
            ..quick()
        };
        let worker = Running::with(&plane, WorkerOptions::default(), timings, |_| {});
        plane.until_finals(1).await;
        tokio::time::sleep(Duration::from_millis(1200)).await;
        let calls = plane.calls("done");
        assert!(!calls.last().unwrap().is_progress());
        assert_eq!(calls.iter().filter(|c| c.is_progress()).count(), 1);
        worker.stop().await;
    }
}

/// A chunk that the platform does not take neither fails the job nor is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_chunk_does_not_fail_a_finished_job() {
    for (answers, undelivered) in [
        (vec![Answer::status(200), Answer::status(400)], json!([1])),
        // A stream address that does not work at all is given up once, not for every chunk.
        ((0..1000).map(|_| Answer::status(500)).collect(), json!([0, 1, 2])),
    ] {
        let plane = Plane::start().await;
        plane.script("stream", answers);
        let input = json!({"mock_chunks": [0, 1, 2]});
        let done = finals_of(&plane, input, [], 1).await.remove(0);
        assert_eq!(done.json(), json!({ "output": undelivered }));
        assert!(done.target.ends_with("&isStream=true"), "{}", done.target);
    }
    // A result of its own stays as it is.
    let plane = Plane::start().await;
    plane.script("stream", [Answer::status(400)]);
    let input = json!({"mock_chunks": [0], "mock_return": "whole"});
    let done = finals_of(&plane, input, [], 1).await.remove(0);
    assert_eq!(done.json(), json!({"output": "whole"}));
}

/// `options.stream` of a scan: the worker posts the stages as chunks, the result stays the result.
#[tokio::test(flavor = "multi_thread")]
async fn a_scan_streams_its_stages_if_asked() {
    let image = json!({"base64": crate::app::png_base64()});
    for (input, chunks) in [
        (json!({ "image": image }), 0),
        (json!({"image": image, "options": {"stream": true}}), 7),
        (
            json!({"task": "depth", "image": image, "options": {"stream": true}}),
            2,
        ),
    ] {
        let plane = Plane::start().await;
        let done = finals_of(&plane, input, [], 1).await.remove(0);
        let sent = plane.calls("stream");
        assert_eq!(sent.len(), chunks, "{sent:?}");
        if let Some(first) = sent.first() {
            assert_eq!(first.json()["output"]["stage"], "intake");
        }
        assert_eq!(done.target.ends_with("&isStream=true"), chunks > 0);
        assert!(done.json()["output"].is_object(), "{}", done.body);
    }
}
