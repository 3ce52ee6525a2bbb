//! SIGTERM at every moment: no job that was handed out is lost, and the end comes in time.

use std::time::{Duration, Instant};

use dragunov::worker::{Ended, Timings, WorkerOptions};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::plane::{AGES, Answer, Plane, Running, quick};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A platform of one take, answered in parts, `pause` apart; tells when the first has gone out.
async fn answers_in_parts(
    parts: Vec<String>,
    pause: Duration,
) -> (String, tokio::sync::oneshot::Receiver<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v2/ep/job-take/$ID", listener.local_addr().unwrap());
    let (begun, has_begun) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut begun = Some(begun);
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let n = stream.read(&mut request).await.unwrap_or(0);
            let asks = String::from_utf8_lossy(&request[..n]).starts_with("GET /v2/ep/job-take/");
            let Some(begun) = begun.take_if(|_| asks) else {
                // The stop channel: held.
                tokio::spawn(async move {
                    tokio::time::sleep(AGES).await;
                    drop(stream);
                });
                continue;
            };
            stream.write_all(parts[0].as_bytes()).await.unwrap();
            tokio::time::sleep(ms(50)).await;
            let _ = begun.send(());
            for part in &parts[1..] {
                tokio::time::sleep(pause).await;
                let _ = stream.write_all(part.as_bytes()).await;
            }
            // A server that closes its half and waits.
            let _ = stream.shutdown().await;
            tokio::spawn(async move {
                tokio::time::sleep(AGES).await;
                drop(stream);
            });
        }
    });
    (address, has_begun)
}

/// The answer's head, then its body in pieces, then the platform closes: whatever part SIGTERM falls on, the job runs.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_arriving_is_read_to_its_end() {
    let body = json!({"id": "late", "input": {"mock_return": 1}}).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let (first, second) = body.split_at(10);
    for parts in [
        // Half of the head.
        vec![head[..30].to_owned(), format!("{}{body}", &head[30..])],
        // The head alone.
        vec![head.clone(), body.clone()],
        vec![
            format!("{head}{first}"),
            second[..5].to_owned(),
            second[5..].to_owned(),
        ],
        // No length: the body ends with the connection.
        vec![
            format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{first}"),
            second.to_owned(),
        ],
    ] {
        let plane = Plane::start().await;
        let (take, begun) = answers_in_parts(parts.clone(), ms(400)).await;
        let timings = Timings {
            take_grace: ms(10_000),
            ..quick()
        };
        let worker = Running::with(&plane, WorkerOptions::default(), timings, |env| {
            env.insert("RUNPOD_WEBHOOK_GET_JOB".into(), take);
        });
        begun.await.unwrap();
        assert_eq!(worker.stop().await, Ended::Stopped);
        let finals = plane.finals();
        assert_eq!(finals.len(), 1, "lost: {parts:?}");
        assert_eq!(finals[0].json(), json!({"output": 1}));
    }
}

/// Many workers, each stopped at another moment of taking, running and posting: every answer that held a job is
/// followed by its result.
#[tokio::test(flavor = "multi_thread")]
async fn no_moment_loses_a_job() {
    let runs = (0..40_u64).map(|i| async move {
        let plane = Plane::start().await;
        let job = |n: usize| {
            let input = json!({"mock_delay": 0.03, "mock_return": n});
            Answer::job(&format!("{i}-{n}"), input)
                .held(ms(20))
                .in_two_parts(ms(30))
        };
        plane.script("take", (0..200).map(job));
        let timings = Timings {
            take_grace: ms(8000),
            ..quick()
        };
        let worker = Running::with(&plane, WorkerOptions::default(), timings, |_| {});
        plane.until_calls("take", 1).await;
        tokio::time::sleep(ms(i * 7)).await;
        worker.stop().await;
        (i, plane.calls("take").len(), plane.finals().len())
    });
    for (i, taken, done) in futures::future::join_all(runs).await {
        assert_eq!(taken, done, "stopped after {} ms", i * 7);
    }
}

/// A platform that accepts a result and never answers does not keep a drained worker alive.
#[tokio::test(flavor = "multi_thread")]
async fn posts_keep_the_drain_deadline() {
    let plane = Plane::start().await;
    plane
        .script("take", [Answer::job("j", json!({"mock_return": 1}))])
        .script("done", (0..100).map(|_| Answer::status(200).held(AGES)));
    let timings = Timings {
        post: AGES,
        drain: ms(1500),
        drain_post: ms(400),
        ..quick()
    };
    let worker = Running::with(&plane, WorkerOptions::default(), timings, |_| {});
    plane.until_finals(1).await;
    let begun = Instant::now();
    worker.stop().await;
    assert!(begun.elapsed() < ms(10_000), "{:?}", begun.elapsed());
    let tries = plane.finals();
    assert!(tries.len() >= 2, "a try that hangs is given up for another");
    assert!(tries.iter().all(|c| c.body == tries[0].body));
}

/// A result that waits for its next try when SIGTERM comes is tried at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_drain_does_not_wait_for_the_next_try() {
    let plane = Plane::start().await;
    plane
        .script("take", [Answer::job("j", json!({"mock_return": 1}))])
        .script("done", [Answer::status(503).header("retry-after", "100")]);
    let timings = Timings {
        result_for: AGES,
        drain: ms(10_000),
        ..quick()
    };
    let worker = Running::with(&plane, WorkerOptions::default(), timings, |_| {});
    plane.until_finals(1).await;
    worker.stop().await;
    assert_eq!(plane.finals().len(), 2);
}
