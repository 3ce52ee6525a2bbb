//! A: addresses. B: taking jobs.

use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{Case, SOON, START, case, ensure, error_of, job_of, pause};
use crate::plane::{Answer, Plane};

fn ok(id: &str) -> Answer {
    Answer::job(id, json!({"mock_return": {"of": id}}))
}

fn secs(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

pub(crate) fn addresses() -> Vec<Case> {
    vec![
        case!(
            "A1",
            "the take address keeps its query byte for byte",
            [],
            |rig| {
                let _worker = rig.start()?;
                let take = rig.calls("take", 1, START).await?.remove(0).target;
                let want = "/v2/ep/job-take/pod-abc?gpu=NVIDIA+RTX&job_in_progress=0";
                ensure!(take == want, "{take}");
            }
        ),
        case!("A2", "a take address without a query gets one", [], |rig| {
            let base = rig.plane.base.clone();
            let _worker = rig.start_with(|env| {
                env.insert(
                    "RUNPOD_WEBHOOK_GET_JOB".into(),
                    format!("{base}/job-take/$RUNPOD_POD_ID"),
                );
            })?;
            let take = rig.calls("take", 1, START).await?.remove(0).target;
            ensure!(take == "/v2/ep/job-take/pod-abc?job_in_progress=0", "{take}");
        }),
        case!(
            "A3",
            "placeholders in the result address are filled, the GPU's name form-encoded",
            [],
            |rig| {
                let base = rig.plane.base.clone();
                rig.takes([ok("j/1")]);
                let _worker = rig.start_with(|env| {
                    env.insert(
                        "RUNPOD_WEBHOOK_POST_OUTPUT".into(),
                        format!("{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=$RUNPOD_GPU_TYPE_ID"),
                    );
                    env.insert("RUNPOD_GPU_TYPE_ID".into(), "NVIDIA A100".into());
                })?;
                let done = rig.finals(1, START).await?.remove(0).target;
                let want = "/v2/ep/job-done/pod-abc/j%2F1?gpu=NVIDIA+A100&isStream=false";
                ensure!(done == want, "{done}");
            }
        ),
        case!(
            "A4",
            "the key goes raw in Authorization, on every call",
            [],
            |rig| {
                rig.takes([ok("j")]);
                let _worker = rig.start()?;
                rig.finals(1, START).await?;
                for kind in ["take", "stop", "ping", "done"] {
                    for call in rig.calls(kind, 1, SOON).await? {
                        let key = call.headers.get("authorization").map(String::as_str);
                        ensure!(key == Some("KEY123"), "{kind}: {key:?}");
                    }
                }
            }
        ),
        case!(
            "A5",
            "without RUNPOD_POD_ID: one id in all addresses, no pings",
            [],
            |rig| {
                rig.takes([ok("j")]);
                let _worker = rig.start_with(|env| drop(env.remove("RUNPOD_POD_ID")))?;
                let done = rig.finals(1, START).await?.remove(0).target;
                let take = rig.calls("take", 2, SOON).await?;
                let id = |target: &str| target.split(['/', '?']).nth(4).map(str::to_owned);
                let ids = [id(&take[0].target), id(&take[1].target), id(&done)];
                ensure!(
                    ids[0].as_ref().is_some_and(|i| i.len() >= 8),
                    "{}",
                    take[0].target
                );
                ensure!(ids.iter().all(|i| *i == ids[0]), "{ids:?}");
                ensure!(rig.plane.calls("ping").is_empty(), "it pings");
            }
        ),
        case!(
            "A6",
            "without ping and stream addresses it works, and says nothing there",
            [],
            |rig| {
                rig.takes([ok("j")]);
                let _worker = rig.start_with(|env| {
                    env.remove("RUNPOD_WEBHOOK_PING");
                    env.remove("RUNPOD_WEBHOOK_POST_STREAM");
                })?;
                rig.finals(1, START).await?;
                ensure!(rig.plane.calls("ping").is_empty(), "it pings");
            }
        ),
        case!(
            "A7",
            "RUNPOD_PING_INTERVAL=100: pings, but at most one a second",
            [],
            |rig| {
                let _worker = rig.start_with(|env| {
                    env.insert("RUNPOD_PING_INTERVAL".into(), "100".into());
                })?;
                let pings = rig.calls("ping", 3, START).await?;
                let gap = pings[2].at - pings[1].at;
                ensure!(gap >= secs(0.8), "{gap:?} between two");
            }
        ),
        case!(
            "A8",
            "a take address of another shape: no stop channel, and jobs run",
            [],
            |rig| {
                let base = rig.plane.base.clone();
                rig.plane.script("other", [ok("a")]);
                rig.plane
                    .script("other", (0..200).map(|_| Answer::status(204).held(secs(0.5))));
                let _worker = rig.start_with(|env| {
                    env.insert("RUNPOD_WEBHOOK_GET_JOB".into(), format!("{base}/next?w=$ID"));
                })?;
                rig.finals(1, START).await?;
                let first = rig.plane.calls("other").remove(0).target;
                ensure!(first == "/v2/ep/next?w=pod-abc&job_in_progress=0", "{first}");
                ensure!(rig.plane.calls("stop").is_empty(), "it polls a stop channel");
            }
        ),
    ]
}

pub(crate) fn taking() -> Vec<Case> {
    vec![
        case!("B1", "one job, one final post", [], |rig| {
            rig.takes([ok("j")]);
            let _worker = rig.start()?;
            let body = rig.result(START).await?;
            ensure!(body == json!({"output": {"of": "j"}}), "{body}");
            pause(1.0).await;
            ensure!(
                rig.plane.finals().len() == 1,
                "{} posts",
                rig.plane.finals().len()
            );
        }),
        case!(
            "B2",
            "three places: a batch of three is asked for, then what is free",
            [Delay, Concurrency],
            |rig| {
                let jobs =
                    json!([{"id": "a", "input": {"mock_delay": 4}}, {"id": "b", "input": {"mock_delay": 4}}]);
                rig.takes([Answer::json(jobs)]);
                let _worker = rig.start_many(3)?;
                let takes = rig.calls("take", 2, START).await?;
                let want = "/v2/ep/job-take-batch/pod-abc?gpu=NVIDIA+RTX&batch_size=3&job_in_progress=0";
                ensure!(takes[0].target == want, "{}", takes[0].target);
                let want = "/v2/ep/job-take/pod-abc?gpu=NVIDIA+RTX&job_in_progress=1";
                ensure!(takes[1].target == want, "{}", takes[1].target);
                rig.finals(2, SOON).await?;
            }
        ),
        case!(
            "B3",
            "after a held empty answer it asks again at once",
            [],
            |rig| {
                rig.takes([Answer::status(204).held(secs(2.0)), ok("next")]);
                let _worker = rig.start()?;
                let takes = rig.calls("take", 2, START).await?;
                let gap = takes[1].at - takes[0].at;
                ensure!(gap < secs(2.8), "{gap:?} after the first poll");
                rig.finals(1, SOON).await?;
            }
        ),
        case!("B4", "hasty empty answers are not hammered", [], |rig| {
            rig.takes((0..20_000).map(|_| Answer::status(204)));
            let _worker = rig.start()?;
            rig.calls("take", 1, START).await?;
            pause(5.0).await;
            let n = rig.plane.calls("take").len();
            ensure!(n <= 25, "{n} polls in 5 s");
        }),
        case!("B5", "400 is a pause, not a failure", [], |rig| {
            rig.takes((0..5).map(|_| Answer::status(400)))
                .takes([ok("after")]);
            let _worker = rig.start()?;
            rig.finals(1, START).await?;
            let takes = rig.plane.calls("take");
            let spent = takes[5].at - takes[0].at;
            ensure!(spent > secs(2.0), "six polls within {spent:?}");
        }),
        case!("B6", "429 waits, for as long as Retry-After says", [], |rig| {
            rig.takes([Answer::status(429).header("retry-after", "3"), ok("after")]);
            let _worker = rig.start()?;
            rig.finals(1, START).await?;
            let takes = rig.plane.calls("take");
            let gap = takes[1].at - takes[0].at;
            ensure!(gap > secs(2.7) && gap < secs(9.0), "asked again after {gap:?}");
        }),
        case!("B7", "500, 401 and 404 are backed off", [], |rig| {
            rig.takes([500, 401, 404, 500, 502].map(Answer::status))
                .takes([ok("after")]);
            let _worker = rig.start()?;
            rig.finals(1, START).await?;
            let takes = rig.plane.calls("take");
            let spent = takes[5].at - takes[0].at;
            ensure!(spent > secs(2.5), "six polls within {spent:?}");
        }),
        case!("B8", "a platform that is not up yet is waited for", [], |rig| {
            let closed = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .map_err(|e| e.to_string())?;
            let address = closed.local_addr().map_err(|e| e.to_string())?;
            drop(closed);
            let from = rig.plane.base.clone();
            let mut worker = rig.start_with(|env| {
                for value in env.values_mut() {
                    *value = value.replace(&from, &format!("http://{address}/v2/ep"));
                }
            })?;
            pause(8.0).await;
            ensure!(
                worker.is_running(),
                "it ended: {}",
                crate::case::brief(&worker.output())
            );
            let lines = worker.output().lines().count();
            ensure!(lines < 300, "{lines} log lines meanwhile");
            let late = tokio::net::TcpListener::bind(address)
                .await
                .map_err(|e| e.to_string())?;
            let late = Plane::on(late);
            late.script("take", [ok("late")]);
            for _ in 0..400 {
                if !late.finals().is_empty() {
                    break;
                }
                pause(0.1).await;
            }
            ensure!(!late.finals().is_empty(), "no job was done once it was up");
        }),
        case!("B9", "answers that are no jobs are survived", [], |rig| {
            let odd = ["<html>", "", "{", "null", "[]", "\"text\"", "3"];
            rig.takes(odd.map(Answer::text)).takes([ok("after")]);
            let _worker = rig.start()?;
            let done = rig.finals(1, START).await?;
            ensure!(job_of(&done[0]) == "after", "{}", job_of(&done[0]));
        }),
        case!(
            "B10",
            "a list element without an id is skipped, the rest runs",
            [],
            |rig| {
                rig.takes([
                    Answer::json(json!([{"input": {}}])),
                    Answer::json(json!([{"input": {}}, {"id": "good", "input": {"mock_return": 1}}])),
                ]);
                let mut worker = rig.start()?;
                rig.finals(1, START).await?;
                ensure!(worker.is_running(), "it ended");
            }
        ),
        case!("B11", "a job without input is failed", [], |rig| {
            rig.takes([Answer::json(json!([{"id": "q"}])), ok("after")]);
            let _worker = rig.start()?;
            let done = rig.finals(2, START).await?;
            let of_q = done
                .iter()
                .find(|c| job_of(c) == "q")
                .ok_or("nothing was said of it")?;
            error_of(of_q)?;
        }),
        case!("B12", "a numeric id does not wedge the worker", [], |rig| {
            rig.takes([
                Answer::json(json!({"id": 5, "input": {"mock_return": 1}})),
                ok("after"),
            ]);
            let _worker = rig.start()?;
            let is_done = || rig.plane.finals().iter().any(|c| job_of(c) == "after");
            for _ in 0..400 {
                if is_done() {
                    break;
                }
                pause(0.1).await;
            }
            ensure!(is_done(), "the next job was not done");
        }),
        case!("B13", "a job under another content type runs", [], |rig| {
            rig.takes([ok("texty").of_kind("text/json")]);
            let _worker = rig.start()?;
            rig.finals(1, START).await?;
        }),
        case!("B14", "an input of any kind gets an answer", [], |rig| {
            let inputs = [json!(null), json!([1]), json!("text"), json!({})];
            rig.takes((0..4).map(|i| Answer::job(&format!("j{i}"), inputs[i].clone())));
            let _worker = rig.start()?;
            rig.finals(4, START).await?;
        }),
        case!("B15", "no dead time between two jobs", [], |rig| {
            rig.takes([ok("a"), ok("b")]);
            let _worker = rig.start()?;
            let done = rig.finals(2, START).await?;
            let gap = done[1].at - done[0].at;
            ensure!(gap < secs(0.6), "{gap:?} between two results");
        }),
        case!(
            "B16",
            "a job delivered twice while it runs is run once",
            [Delay],
            |rig| {
                let slow = json!({"id": "d", "input": {"mock_delay": 2, "mock_return": 1}});
                rig.takes([Answer::json(json!([slow, slow]))]);
                let _worker = rig.start()?;
                rig.finals(1, START).await?;
                pause(4.0).await;
                let n = rig.plane.finals().len();
                ensure!(n == 1, "{n} posts");
            }
        ),
        case!("B17", "an input of 10 MB runs", [], |rig| {
            let input = json!({"mock_return": 1, "padding": "x".repeat(10 << 20)});
            rig.takes([Answer::job("big", input)]);
            let _worker = rig.start()?;
            let body = rig.result(START).await?;
            ensure!(body == json!({"output": 1}), "{body}");
        }),
        case!("B18", "extra fields do no harm", [], |rig| {
            let job = json!({"id": "j", "input": {"mock_return": 1}, "webhook": "http://x/y", "delayTime": 12,
                "executionTime": 60000, "retries": 0, "status": 200, "error": "", "batchId": "B9"});
            rig.takes([Answer::json(job)]);
            let _worker = rig.start()?;
            let body = rig.result(START).await?;
            ensure!(body == json!({"output": 1}), "{body}");
        }),
        case!(
            "B20",
            "an answer that arrives in two parts is read whole",
            [],
            |rig| {
                rig.takes([ok("j").in_two_parts(secs(3.0))]);
                let _worker = rig.start()?;
                let body = rig.result(START).await?;
                ensure!(body == json!({"output": {"of": "j"}}), "{body}");
            }
        ),
        case!(
            "B21",
            "a connection that breaks off is followed by another poll",
            [],
            |rig| {
                rig.takes([Answer::reset(), ok("after")]);
                let _worker = rig.start()?;
                rig.finals(1, START).await?;
                let _: Value = rig.result(SOON).await?;
            }
        ),
    ]
}
