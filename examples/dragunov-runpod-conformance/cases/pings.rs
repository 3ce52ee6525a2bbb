//! E: pings. F: stopping single jobs.

use std::time::Duration;

use serde_json::json;

use crate::case::{Case, SOON, START, case, ensure, job_of, pause};
use crate::plane::Answer;

fn secs(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = pings();
    cases.extend(stops());
    cases
}

fn pings() -> Vec<Case> {
    vec![
        case!(
            "E1",
            "the first ping names no job and says a version",
            [],
            |rig| {
                let _worker = rig.start()?;
                let first = rig.calls("ping", 1, START).await?.remove(0).target;
                ensure!(!first.contains("job_id"), "{first}");
                ensure!(first.contains("runpod_version="), "{first}");
                let head = "/v2/ep/ping/pod-abc?gpu=NVIDIA+RTX&";
                ensure!(first.starts_with(head), "{first}");
            }
        ),
        case!("E2", "pings list the jobs in hand", [Delay, Concurrency], |rig| {
            let jobs = ["a", "b", "c"].map(|id| json!({"id": id, "input": {"mock_delay": 5}}));
            rig.takes([Answer::json(json!(jobs))]);
            let _worker = rig.start_many(3)?;
            rig.finals(3, START).await?;
            let lists = rig.plane.calls("ping").into_iter().any(|c| {
                let ids = c.target.split("job_id=").nth(1).unwrap_or_default();
                let ids = ids.split('&').next().unwrap_or_default();
                ids.split("%2C").count() == 3
            });
            ensure!(lists, "no ping lists all three");
        }),
        case!(
            "E3",
            "a handler that blocks its thread does not stop the pings",
            [Block],
            |rig| {
                rig.takes([Answer::job("j", json!({"mock_block": 6, "mock_return": 1}))]);
                let _worker = rig.start()?;
                let end = rig.finals(1, START).await?[0].at;
                let during = rig.plane.calls("ping");
                let n = during
                    .iter()
                    .filter(|c| c.at < end && c.target.contains("job_id=j"))
                    .count();
                ensure!(n >= 3, "{n} pings listed it within 6 s");
            }
        ),
        case!("E4", "refused pings do not disturb the work", [], |rig| {
            let trouble = [Answer::status(500), Answer::status(429), Answer::reset()];
            rig.plane.script("ping", trouble);
            rig.takes([Answer::job("j", json!({"mock_return": 1}))]);
            let _worker = rig.start()?;
            rig.finals(1, START).await?;
            rig.calls("ping", 6, SOON).await?;
        }),
        case!(
            "E5",
            "a ping that is never answered is followed by another",
            [],
            |rig| {
                rig.plane.script("ping", [Answer::status(200).held(secs(100.0))]);
                let _worker = rig.start()?;
                let first = rig.calls("ping", 1, START).await?[0].at;
                let second = rig.calls("ping", 2, SOON).await?[1].at;
                let gap = second - first;
                ensure!(gap < secs(4.0), "{gap:?} later, at an interval of 1 s");
            }
        ),
        case!(
            "E6",
            "a job stays in the pings while its result is under way",
            [],
            |rig| {
                rig.takes([Answer::job("j", json!({"mock_return": 1}))]);
                rig.dones([Answer::status(200).held(secs(5.0))]);
                let _worker = rig.start()?;
                let posted = rig.finals(1, START).await?[0].at;
                pause(4.0).await;
                let pings = rig.plane.calls("ping");
                let n = pings
                    .iter()
                    .filter(|c| c.at > posted && c.target.contains("job_id=j"))
                    .count();
                ensure!(n >= 2, "{n} pings listed it");
            }
        ),
        case!("E7", "a finished job is not listed", [], |rig| {
            rig.takes([Answer::job("j", json!({"mock_return": 1}))]);
            let _worker = rig.start()?;
            rig.finals(1, START).await?;
            pause(3.0).await;
            let last = rig.plane.calls("ping").pop().ok_or("no pings")?.target;
            ensure!(!last.contains("job_id"), "{last}");
        }),
    ]
}

fn stops() -> Vec<Case> {
    vec![
        case!("F1", "the stop channel is polled beside taking", [], |rig| {
            let _worker = rig.start()?;
            let stop = rig.calls("stop", 1, START).await?.remove(0).target;
            ensure!(stop == "/v2/ep/job-stop/pod-abc?gpu=NVIDIA+RTX", "{stop}");
        }),
        case!(
            "F2",
            "a stopped job posts nothing and frees its place",
            [Delay],
            |rig| {
                rig.takes([
                    Answer::job("a", json!({"mock_delay": 60})),
                    Answer::job("b", json!({"mock_return": 1})),
                ]);
                let _worker = rig.start()?;
                rig.calls("take", 1, START).await?;
                pause(1.0).await;
                rig.plane
                    .script("stop", [Answer::json(json!({"jobsToStop": ["a"]}))]);
                let done = rig.finals(1, SOON).await?;
                ensure!(job_of(&done[0]) == "b", "{}", done[0].body);
                pause(1.0).await;
                ensure!(rig.plane.finals().len() == 1, "the stopped job was posted");
            }
        ),
        case!("F3", "nonsense on the stop channel is ignored", [Delay], |rig| {
            rig.takes([Answer::job("a", json!({"mock_delay": 6, "mock_return": 1}))]);
            let odd = [
                Answer::text("<html>").of_kind("text/html"),
                Answer::json(json!(["a"])),
                Answer::json(json!({"jobsToStop": "a"})),
                Answer::json(json!({"jobsToStop": ["unknown", 5]})),
            ];
            rig.plane.script("stop", odd);
            let _worker = rig.start()?;
            let body = rig.result(START).await?;
            ensure!(body == json!({"output": 1}), "{body}");
        }),
        case!(
            "F4",
            "hasty answers on the stop channel are not hammered",
            [],
            |rig| {
                rig.plane.script("stop", (0..10_000).map(|_| Answer::status(204)));
                let _worker = rig.start()?;
                rig.calls("stop", 1, START).await?;
                pause(5.0).await;
                let n = rig.plane.calls("stop").len();
                ensure!(n <= 20, "{n} polls in 5 s");
            }
        ),
        case!(
            "F5",
            "404 on the stop channel is backed off, and jobs run",
            [],
            |rig| {
                rig.plane.script("stop", (0..10_000).map(|_| Answer::status(404)));
                rig.takes([Answer::job("j", json!({"mock_return": 1}))]);
                let _worker = rig.start()?;
                rig.finals(1, START).await?;
                pause(5.0).await;
                let n = rig.plane.calls("stop").len();
                ensure!(n <= 20, "{n} polls");
            }
        ),
        case!(
            "F6",
            "a stop that crosses the result: one post, and the worker goes on",
            [],
            |rig| {
                rig.takes([Answer::job("j", json!({"mock_return": 1}))]);
                rig.dones([Answer::status(200).held(secs(3.0))]);
                let _worker = rig.start()?;
                rig.finals(1, START).await?;
                rig.plane
                    .script("stop", [Answer::json(json!({"jobsToStop": ["j"]}))]);
                rig.takes([Answer::job("next", json!({"mock_return": 2}))]);
                let done = rig.finals(2, SOON).await?;
                ensure!(job_of(&done[1]) == "next", "{}", job_of(&done[1]));
            }
        ),
        case!(
            "F7",
            "a stop channel that repeats itself is not hammered",
            [],
            |rig| {
                rig.plane.script(
                    "stop",
                    (0..10_000).map(|_| Answer::json(json!({"jobsToStop": ["x"]}))),
                );
                let _worker = rig.start()?;
                rig.calls("stop", 1, START).await?;
                pause(5.0).await;
                let n = rig.plane.calls("stop").len();
                ensure!(n <= 20, "{n} polls in 5 s");
            }
        ),
    ]
}
