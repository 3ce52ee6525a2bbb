//! D: streams and progress.

use std::time::Duration;

use serde_json::{Value, json};

use crate::case::{Case, SOON, START, case, ensure, error_of, json as body_of, pause};
use crate::plane::Answer;

fn chunks(chunks: Value) -> Answer {
    Answer::job("j", json!({"mock_chunks": chunks}))
}

pub(crate) fn all() -> Vec<Case> {
    vec![
        case!(
            "D1",
            "chunks in order to the stream address, then the final post",
            [Stream],
            |rig| {
                rig.takes([chunks(json!([{"i": 0}, {"i": 1}]))]);
                let _worker = rig.start()?;
                let done = rig.finals(1, START).await?.remove(0);
                let sent = rig.plane.calls("stream");
                ensure!(sent.len() == 2, "{} chunks", sent.len());
                for (i, call) in sent.iter().enumerate() {
                    ensure!(body_of(call)? == json!({"output": {"i": i}}), "{}", call.body);
                    ensure!(call.target.ends_with("isStream=false"), "{}", call.target);
                    ensure!(call.at < done.at, "a chunk came after the end");
                }
                ensure!(done.target.ends_with("isStream=true"), "{}", done.target);
            }
        ),
        case!(
            "D3",
            "a stream that fails keeps what was said and ends with an error",
            [Stream, Raise],
            |rig| {
                rig.takes([Answer::job(
                    "j",
                    json!({"mock_chunks": [1], "mock_raise": "boom"}),
                )]);
                let _worker = rig.start()?;
                let done = rig.finals(1, START).await?.remove(0);
                let n = rig.plane.calls("stream").len();
                ensure!(n == 1, "{n} chunks");
                ensure!(error_of(&done)?.contains("boom"), "{}", done.body);
            }
        ),
        case!(
            "D4",
            "a chunk that is an error ends the stream",
            [Stream],
            |rig| {
                rig.takes([chunks(json!([1, {"error": "bad"}, 3]))]);
                let _worker = rig.start()?;
                let done = rig.finals(1, START).await?.remove(0);
                let n = rig.plane.calls("stream").len();
                ensure!(n == 1, "{n} chunks");
                ensure!(error_of(&done)? == "bad", "{}", done.body);
            }
        ),
        case!(
            "D5",
            "a chunk that failed is sent again, in its place",
            [Stream],
            |rig| {
                rig.takes([chunks(json!([0, 1]))]);
                rig.plane.script("stream", [Answer::status(500)]);
                let _worker = rig.start()?;
                rig.finals(1, START).await?;
                let mut sent = Vec::new();
                for call in rig.plane.calls("stream") {
                    sent.push(body_of(&call)?["output"].clone());
                }
                ensure!(sent == [0, 0, 1], "{sent:?}");
            }
        ),
        case!(
            "D6",
            "progress goes to the result address, the result comes last",
            [Progress],
            |rig| {
                let progress = json!({"updates": [{"step": 1}, {"step": 2}], "wait_time": 1.5});
                rig.takes([Answer::job(
                    "j",
                    json!({"mock_progress": progress, "mock_return": "end"}),
                )]);
                let _worker = rig.start()?;
                rig.finals(1, START).await?;
                pause(2.0).await;
                let calls = rig.plane.calls("done");
                let steps = calls.iter().filter(|c| c.is_progress()).count();
                ensure!(steps >= 1, "no progress");
                ensure!(
                    calls.last().is_some_and(|c| !c.is_progress()),
                    "progress came after the result"
                );
            }
        ),
        case!(
            "D7",
            "progress that failed does not come after the result",
            [Progress],
            |rig| {
                let progress = json!({"updates": [{"step": 1}], "wait_time": 0.1});
                rig.takes([Answer::job(
                    "j",
                    json!({"mock_progress": progress, "mock_return": "end"}),
                )]);
                rig.dones([Answer::status(502)]);
                let _worker = rig.start()?;
                rig.finals(1, START).await?;
                pause(5.0).await;
                let last = rig.plane.calls("done").pop();
                ensure!(
                    last.is_some_and(|c| !c.is_progress()),
                    "IN_PROGRESS came after the result"
                );
            }
        ),
        case!(
            "D8",
            "a thousand updates a second are not a thousand posts",
            [Progress],
            |rig| {
                let updates: Vec<Value> = (0..1000).map(|i| json!({ "step": i })).collect();
                let progress = json!({"updates": updates, "wait_time": 0.001});
                rig.takes([Answer::job(
                    "j",
                    json!({"mock_progress": progress, "mock_return": "end"}),
                )]);
                let _worker = rig.start()?;
                rig.finals(1, START).await?;
                pause(1.0).await;
                let n = rig.plane.calls("done").len();
                ensure!(n <= 30, "{n} posts");
            }
        ),
        case!("D9", "a chunk over 1 MB is not posted whole", [Stream], |rig| {
            rig.takes([chunks(json!(["z".repeat(2 << 20)]))]);
            let _worker = rig.start()?;
            rig.finals(1, START).await?;
            let longest = rig
                .plane
                .calls("stream")
                .iter()
                .map(|c| c.body.len())
                .max()
                .unwrap_or(0);
            ensure!(longest <= (1 << 20) + 100, "a chunk of {longest} bytes");
        }),
        case!(
            "D10",
            "a chunk that the platform refuses does not fail a job that is done",
            [Stream],
            |rig| {
                rig.takes([chunks(json!([0, 1, 2]))]);
                rig.plane
                    .script("stream", [Answer::status(200), Answer::status(400)]);
                let _worker = rig.start()?;
                let done = rig.finals(1, START + SOON).await?.remove(0);
                ensure!(body_of(&done)?.get("error").is_none(), "{}", done.body);
                ensure!(done.target.ends_with("isStream=true"), "{}", done.target);
                pause(Duration::from_millis(500).as_secs_f64()).await;
                ensure!(rig.plane.finals().len() == 1, "posted twice");
            }
        ),
    ]
}
