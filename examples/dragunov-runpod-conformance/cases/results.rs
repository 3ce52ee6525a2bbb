//! C: results, and what a platform or a network does to their posts.

use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{
    Case, Outcome, Rig, SOON, START, brief, case, ensure, error_of, job_of, json as body_of, pause,
};
use crate::plane::Answer;

fn ok(id: &str) -> Answer {
    Answer::job(id, json!({"mock_return": {"of": id}}))
}

/// What the handler returns, and the body of the final post.
async fn posts(rig: &Rig, returned: Value, posted: Value) -> Outcome {
    rig.takes([Answer::job("j", json!({"mock_return": returned}))]);
    let _worker = rig.start()?;
    let body = rig.result(START).await?;
    ensure!(body == posted, "{returned} was posted as {body}, not {posted}");
    Ok(())
}

/// A job whose result is delivered after these answers, the same bytes each time.
async fn delivered(rig: &Rig, trouble: Vec<Answer>, within: Duration) -> Outcome {
    let n = trouble.len() + 1;
    rig.takes([ok("j")]).dones(trouble);
    let mut worker = rig.start()?;
    rig.finals(1, START).await?;
    let done = rig.finals(n, within).await?;
    ensure!(
        done.iter().all(|c| c.body == done[0].body),
        "the body changes between tries"
    );
    ensure!(worker.is_running(), "it ended");
    Ok(())
}

pub(crate) fn all() -> Vec<Case> {
    vec![
        case!("C1", "text", [], |rig| {
            posts(&rig, json!("x"), json!({"output": "x"})).await?;
        }),
        case!("C2", "null", [], |rig| {
            posts(&rig, json!(null), json!({"output": null})).await?;
        }),
        case!("C3", "a list", [], |rig| {
            posts(&rig, json!([1]), json!({"output": [1]})).await?;
        }),
        case!("C4", "an object", [], |rig| {
            posts(&rig, json!({"a": 1}), json!({"output": {"a": 1}})).await?;
        }),
        case!("C5", "an empty object", [], |rig| {
            posts(&rig, json!({}), json!({})).await?;
        }),
        case!("C6", "error as text", [], |rig| {
            posts(&rig, json!({"error": "soft"}), json!({"error": "soft"})).await?;
        }),
        case!("C7", "error beside other keys", [], |rig| {
            let posted = json!({"output": {"extra": 1}, "error": "soft"});
            posts(&rig, json!({"error": "soft", "extra": 1}), posted).await?;
        }),
        case!(
            "C8",
            "error as an object becomes text, or the platform shows a success",
            [],
            |rig| {
                rig.takes([Answer::job("j", json!({"mock_return": {"error": {"code": 7}}}))]);
                let _worker = rig.start()?;
                let text = error_of(&rig.finals(1, START).await?[0])?;
                ensure!(text.contains('7'), "{text}");
            }
        ),
        case!("C9", "a key output is not unwrapped", [], |rig| {
            posts(&rig, json!({"output": 1}), json!({"output": {"output": 1}})).await?;
        }),
        case!(
            "C10",
            "a raised error is text that holds the six official keys",
            [Raise],
            |rig| {
                rig.takes([Answer::job("j", json!({"mock_raise": "boom <é>"}))]);
                let _worker = rig.start()?;
                let text = error_of(&rig.finals(1, START).await?[0])?;
                let object: Value =
                    serde_json::from_str(&text).map_err(|e| format!("{e}: {}", brief(&text)))?;
                for key in [
                    "error_type",
                    "error_message",
                    "error_traceback",
                    "hostname",
                    "worker_id",
                    "runpod_version",
                ] {
                    ensure!(object[key].is_string(), "no {key} in {}", brief(&text));
                }
                ensure!(
                    object["error_message"]
                        .as_str()
                        .is_some_and(|m| m.contains("boom <é>")),
                    "{}",
                    brief(&text)
                );
            }
        ),
        case!("C11", "headers of a result", [], |rig| {
            rig.takes([ok("j-1")]);
            let _worker = rig.start()?;
            let done = rig.finals(1, START).await?.remove(0);
            let header = |name: &str| done.headers.get(name).cloned().unwrap_or_default();
            let kind = header("content-type");
            ensure!(
                kind.starts_with("application/x-www-form-urlencoded"),
                "content type {kind}"
            );
            ensure!(job_of(&done) == "j-1", "X-Request-ID {}", job_of(&done));
            body_of(&done)?;
        }),
        case!(
            "C12",
            "no job's id stays in the headers of later calls",
            [],
            |rig| {
                rig.takes([ok("j-1")]);
                let _worker = rig.start()?;
                let end = rig.finals(1, START).await?[0].at;
                pause(1.5).await;
                let takes = rig.plane.calls("take");
                let stale = takes.iter().filter(|c| c.at > end).find(|c| job_of(c) == "j-1");
                ensure!(stale.is_none(), "a take names the finished job");
            }
        ),
        case!("C13", "500, 500, then 200", [], |rig| {
            delivered(&rig, [500, 500].map(Answer::status).to_vec(), SOON).await?;
        }),
        case!(
            "C14",
            "500 for 20 s: delivered afterwards, in the pings meanwhile",
            [],
            |rig| {
                rig.takes([ok("j")])
                    .dones((0..10_000).map(|_| Answer::status(500)));
                let _worker = rig.start()?;
                rig.finals(1, START).await?;
                pause(20.0).await;
                let pings = rig.plane.calls("ping");
                let last = pings.last().ok_or("no pings")?;
                ensure!(
                    last.target.contains("job_id=j"),
                    "the last ping is {}",
                    last.target
                );
                let tries = rig.plane.finals().len();
                rig.plane.forget("done");
                rig.finals(tries + 1, Duration::from_secs(45)).await?;
            }
        ),
        case!("C15", "429, then 200", [], |rig| {
            delivered(&rig, vec![Answer::status(429).header("retry-after", "1")], SOON).await?;
        }),
        case!("C16", "a connection that breaks off, then 200", [], |rig| {
            delivered(&rig, vec![Answer::reset()], SOON).await?;
        }),
        case!(
            "C17",
            "a result refused for good becomes one short error",
            [],
            |rig| {
                rig.takes([ok("j"), ok("next")]).dones([Answer::status(400)]);
                let _worker = rig.start()?;
                let done = rig.finals(3, START).await?;
                let of_j: Vec<_> = done.iter().filter(|c| job_of(c) == "j").collect();
                ensure!(of_j.len() == 2, "{} posts about it", of_j.len());
                error_of(of_j[1])?;
            }
        ),
        case!("C18", "404 is let go, and the worker goes on", [], |rig| {
            rig.takes([ok("j"), ok("next")]).dones([Answer::status(404)]);
            let _worker = rig.start()?;
            let done = rig.finals(2, START).await?;
            ensure!(job_of(&done[1]) == "next", "it was posted again");
        }),
        case!(
            "C19",
            "25 MB are not posted to a platform that takes 20",
            [],
            |rig| {
                rig.takes([Answer::job("j", json!({"mock_return": "y".repeat(25 << 20)}))]);
                let _worker = rig.start()?;
                let done = rig.finals(1, START).await?.remove(0);
                ensure!(
                    done.body.len() < 20 << 20,
                    "{} bytes were posted",
                    done.body.len()
                );
                error_of(&done)?;
            }
        ),
        case!("C21", "text that is not ASCII arrives", [], |rig| {
            posts(&rig, json!("é€🍚"), json!({"output": "é€🍚"})).await?;
        }),
        case!(
            "C22",
            "a slow result post does not hold up another job",
            [Concurrency],
            |rig| {
                rig.takes([ok("a"), ok("b")])
                    .dones([Answer::status(200).held(Duration::from_secs(10))]);
                let _worker = rig.start_many(2)?;
                let done = rig.finals(2, START).await?;
                let gap = done[1].at - done[0].at;
                ensure!(gap < Duration::from_secs(6), "the other one came {gap:?} later");
            }
        ),
    ]
}
