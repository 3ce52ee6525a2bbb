//! G: how a worker ends. I: command line and log.

use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{Case, SOON, START, brief, case, ensure, job_of, pause};
use crate::plane::Answer;

const HOLD: Duration = Duration::from_secs(120);

fn secs(s: f64) -> Duration {
    Duration::from_secs_f64(s)
}

pub(crate) fn all() -> Vec<Case> {
    let mut cases = ends();
    cases.extend(starts());
    cases
}

fn ends() -> Vec<Case> {
    vec![
        case!(
            "G1",
            "SIGTERM during a job: it is finished and posted, nothing more is taken, exit 0",
            [Delay],
            |rig| {
                rig.takes([Answer::job("j", json!({"mock_delay": 5, "mock_return": 1}))]);
                let mut worker = rig.start()?;
                rig.calls("take", 1, START).await?;
                pause(1.5).await;
                let takes = rig.plane.calls("take").len();
                worker.signal("-TERM");
                let status = worker.ended(SOON).await?;
                ensure!(
                    rig.plane.finals().len() == 1,
                    "{} results",
                    rig.plane.finals().len()
                );
                ensure!(rig.plane.calls("take").len() == takes, "it took another job");
                ensure!(status.code() == Some(0), "{status}");
            }
        ),
        case!(
            "G2",
            "SIGTERM while a poll is held: exit 0 within 3 s",
            [],
            |rig| {
                rig.takes([Answer::status(204).held(HOLD)]);
                let mut worker = rig.start()?;
                rig.calls("take", 1, START).await?;
                pause(0.5).await;
                worker.signal("-TERM");
                let status = worker.ended(secs(5.0)).await?;
                ensure!(status.code() == Some(0), "{status}");
            }
        ),
        case!(
            "G3",
            "SIGTERM while a poll's answer arrives: the job is run and posted",
            [],
            |rig| {
                rig.takes([Answer::job("late", json!({"mock_return": 1})).in_two_parts(secs(3.0))]);
                let mut worker = rig.start()?;
                rig.calls("take", 1, START).await?;
                pause(1.0).await;
                worker.signal("-TERM");
                let status = worker.ended(SOON).await?;
                let done = rig.plane.finals();
                ensure!(done.len() == 1 && job_of(&done[0]) == "late", "the job was lost");
                ensure!(status.code() == Some(0), "{status}");
            }
        ),
        case!("G4", "a second SIGTERM ends it at once", [Block], |rig| {
            rig.takes([Answer::job("j", json!({"mock_block": 20, "mock_return": 1}))]);
            let mut worker = rig.start()?;
            rig.calls("take", 1, START).await?;
            pause(1.5).await;
            worker.signal("-TERM");
            pause(1.0).await;
            worker.signal("-TERM");
            worker.ended(secs(4.0)).await?;
        }),
        case!(
            "G5",
            "a job that asks for a new worker: stopPod, no further take, exit 0",
            [Refresh],
            |rig| {
                rig.takes([
                    Answer::job("r", json!({"mock_return": {"a": 1}, "mock_refresh": true})),
                    Answer::job("never", json!({"mock_return": 2})),
                ]);
                let mut worker = rig.start()?;
                let body = rig.result(START).await?;
                ensure!(body == json!({"output": {"a": 1}, "stopPod": true}), "{body}");
                let status = worker.ended(SOON).await?;
                ensure!(rig.plane.finals().len() == 1, "it took another job");
                ensure!(status.code() == Some(0), "{status}");
            }
        ),
        case!(
            "G7",
            "an unfit machine: one unhealthy ping, exit 1, no job taken",
            [],
            |rig| {
                let mut worker = rig.start_with(|env| {
                    env.remove("RUNPOD_SKIP_AUTO_SYSTEM_CHECKS");
                    env.insert("RUNPOD_MIN_MEMORY_GB".into(), "99999".into());
                })?;
                let status = worker.ended(START).await?;
                ensure!(status.code() == Some(1), "{status}");
                let pings = rig.plane.calls("ping");
                let report = pings.iter().find(|c| c.target.contains("status=unhealthy"));
                let report = &report.ok_or("no unhealthy ping")?.target;
                ensure!(report.contains("check=_memory_check"), "{report}");
                ensure!(rig.plane.calls("take").is_empty(), "it took a job");
            }
        ),
        case!("G9", "nothing of a killed worker goes on pinging", [], |rig| {
            let worker = rig.start()?;
            rig.calls("ping", 1, START).await?;
            worker.signal("-KILL");
            pause(1.0).await;
            let n = rig.plane.calls("ping").len();
            pause(4.0).await;
            let more = rig.plane.calls("ping").len() - n;
            ensure!(more == 0, "{more} pings after its death");
        }),
        case!(
            "G10",
            "SIGTERM while the platform does not answer a result: it ends within 40 s",
            [],
            |rig| {
                rig.takes([Answer::job("j", json!({"mock_return": 1}))]);
                rig.dones((0..1000).map(|_| Answer::status(200).held(HOLD)));
                let mut worker = rig.start()?;
                rig.finals(1, START).await?;
                worker.signal("-TERM");
                worker.ended(secs(40.0)).await?;
            }
        ),
        case!(
            "G11",
            "a result that hangs when SIGTERM comes is tried again before the end",
            [],
            |rig| {
                rig.takes([Answer::job("j", json!({"mock_return": 1}))]);
                rig.dones([Answer::status(200).held(HOLD)]);
                let mut worker = rig.start()?;
                rig.finals(1, START).await?;
                worker.signal("-TERM");
                worker.ended(secs(40.0)).await?;
                ensure!(rig.plane.finals().len() >= 2, "it was not tried again");
            }
        ),
        case!("G12", "no result address: no job is taken, exit 1", [], |rig| {
            rig.takes([Answer::job("j", json!({"mock_return": 1}))]);
            let mut worker = rig.start_with(|env| drop(env.remove("RUNPOD_WEBHOOK_POST_OUTPUT")))?;
            let status = worker.ended(secs(20.0)).await?;
            ensure!(status.code() == Some(1), "{status}");
            ensure!(
                rig.plane.calls("take").is_empty(),
                "it took a job whose result has nowhere to go"
            );
        }),
    ]
}

fn starts() -> Vec<Case> {
    vec![
        case!(
            "I1",
            "--test_input runs one local job: exit 0, and its result in the output",
            [Local],
            |rig| {
                let mut worker =
                    rig.start_local(&["--test_input", r#"{"input": {"mock_return": "seen-4711"}}"#])?;
                let status = worker.ended(START).await?;
                ensure!(status.code() == Some(0), "{status}: {}", brief(&worker.output()));
                ensure!(
                    worker.output().contains("seen-4711"),
                    "{}",
                    brief(&worker.output())
                );
            }
        ),
        case!(
            "I2",
            "a local job without input, or none at all: exit 1",
            [Local],
            |rig| {
                for args in [
                    &["--test_input", r#"{"id": "x"}"#][..],
                    &["--test_input", "{"],
                    &[],
                ] {
                    let status = rig.start_local(args)?.ended(START).await?;
                    ensure!(status.code() == Some(1), "{args:?}: {status}");
                }
            }
        ),
        case!(
            "I4",
            "with an endpoint id every line of the log is one JSON object of three keys",
            [],
            |rig| {
                rig.takes([Answer::job("j-1", json!({"mock_return": 1}))]);
                let mut worker = rig.start_with(|env| {
                    env.insert("RUNPOD_ENDPOINT_ID".into(), "ep".into());
                })?;
                rig.finals(1, START).await?;
                pause(0.5).await;
                worker.signal("-TERM");
                // Some workers wait for their polls.
                let _ = worker.ended(secs(3.0)).await;
                let log = worker.stdout();
                ensure!(log.contains("j-1"), "the job is not in the log");
                for line in log.lines() {
                    let object: Value =
                        serde_json::from_str(line).map_err(|e| format!("{e}: {}", brief(line)))?;
                    let keys: Vec<&str> = object
                        .as_object()
                        .into_iter()
                        .flatten()
                        .map(|(k, _)| k.as_str())
                        .collect();
                    let whole =
                        keys.len() == 3 && ["requestId", "message", "level"].iter().all(|k| keys.contains(k));
                    ensure!(whole, "{}", brief(line));
                }
                ensure!(!log.contains("KEY123"), "the key is in the log");
            }
        ),
        case!(
            "I7",
            "nothing of an input is in the log at the usual level",
            [],
            |rig| {
                let input = json!({"mock_return": 1, "photo": "PLANTED".repeat(2000)});
                rig.takes([
                    Answer::job("j", input),
                    Answer::job("k", json!("PLANTED".repeat(2000))),
                ]);
                let worker = rig.start()?;
                rig.finals(2, START).await?;
                let log = worker.output();
                let n = log.matches(
                    "PLANTEDPLANTEDPLANTEDPLANTEDPLANTEDPLANTEDPLANTEDPLANTEDPLANTEDPLANTEDPLANTEDPLANTED",
                );
                ensure!(
                    n.count() == 0,
                    "more than 80 characters of an input are in the log"
                );
            }
        ),
    ]
}
