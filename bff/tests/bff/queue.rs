//! What every queue must do; the one in PostgreSQL here, SQS in `sqs.rs`.

use std::sync::Arc;
use std::time::Duration;

use bio_bff::events::relay::relay_once;
use bio_bff::queue::{Outgoing, Queue};
use serde_json::{Value, json};

use crate::events::{Worker, feel, start};
use crate::harness::{Client, Service, service};

fn message(body: Value, delay: Duration) -> Outgoing {
    Outgoing {
        body,
        dedup_key: None,
        delay,
    }
}

/// Messages are hidden while they are in hand, come back, and wait; eight clients get each once.
pub async fn hides_returns_and_delays(queue: Arc<dyn Queue>) {
    const NOW: Duration = Duration::ZERO;
    let number = |n: i64, seconds| message(json!(n), Duration::from_secs(seconds));
    let taken = queue.send(&[number(1, 0), number(2, 14)]).await.unwrap();
    assert_eq!(taken, [true, true]);
    let receive = async |seconds, wait| {
        queue
            .receive(10, Duration::from_secs(seconds), wait)
            .await
            .unwrap()
    };
    let first = receive(5, NOW).await;
    assert_eq!((first.len(), &first[0].body), (1, &json!(1)));
    assert!(receive(9, NOW).await.is_empty());
    tokio::time::sleep(Duration::from_millis(5100)).await;
    let again = receive(9, NOW).await;
    assert_eq!((again.len(), again[0].attempts), (1, 2));
    // The first receipt has run out.
    let _ = queue.delete(&first[0].receipt).await;
    queue.hide(&again[0].receipt, NOW).await.unwrap();
    let third = receive(9, NOW).await;
    queue.delete(&third[0].receipt).await.unwrap();
    let late = receive(9, Duration::from_secs(20)).await;
    assert_eq!(late[0].body, json!(2));
    queue.delete(&late[0].receipt).await.unwrap();
    let many: Vec<_> = (0..1000).map(|n| number(n, 0)).collect();
    assert!(queue.send(&many).await.unwrap().into_iter().all(|taken| taken));
    let claims = (0..8).map(|_| {
        let queue = queue.clone();
        tokio::spawn(async move {
            let mut seen = Vec::new();
            loop {
                let got = queue.receive(10, Duration::from_secs(60), NOW).await.unwrap();
                if got.is_empty() {
                    return seen;
                }
                for m in got {
                    queue.delete(&m.receipt).await.unwrap();
                    seen.push(m.body.as_i64().unwrap());
                }
            }
        })
    });
    let all = futures::future::join_all(claims).await;
    let mut seen: Vec<i64> = all.into_iter().flat_map(Result::unwrap).collect();
    seen.sort_unstable();
    assert_eq!(seen, (0..1000).collect::<Vec<_>>());
}

/// Bad messages fail alone, end among the dead letters after three tries, and can be given another chance.
pub async fn a_poisoned_message_takes_no_other_along(c: &Client, w: &Worker) {
    feel(c, 55).await;
    relay_once(&w.hands.db, &*w.queue).await.unwrap();
    let bad = |body| message(body, Duration::ZERO);
    let unknown = json!({"event_id": uuid::Uuid::nil(), "user_id": uuid::Uuid::nil(), "kind": "Surprise"});
    w.queue
        .send(&[bad(json!("junk")), bad(Value::Null), bad(unknown)])
        .await
        .unwrap();
    let (_, failed) = w.drain().await;
    assert_eq!(failed.len(), 3 * 3, "three tries each");
    assert_eq!(c.get("/plan").await.expect(200)["energy_score"], 55.0);
    let depth = w.queue.depth().await.unwrap();
    assert_eq!((depth.waiting, depth.hidden, depth.dead), (0, 0, 3));
}

fn of(s: &Service) -> Arc<dyn Queue> {
    Worker::of(s).queue
}

#[tokio::test]
async fn in_postgresql_messages_hide_return_and_wait() {
    let s = service!();
    hides_returns_and_delays(of(&s)).await;
}

#[tokio::test]
async fn in_postgresql_a_poisoned_message_is_alone() {
    let Some((s, c, w)) = start().await else { return };
    a_poisoned_message_takes_no_other_along(&c, &w).await;
    assert_eq!(w.queue.redrive(2).await.unwrap(), 2);
    assert_eq!(w.queue.depth().await.unwrap().waiting, 2);
    // For a user who is gone there is nothing to do, and that is no failure.
    let gone = json!({"event_id": uuid::Uuid::nil(), "user_id": uuid::Uuid::new_v4(), "kind": "CalculateEnergyScore"});
    w.hands.handle(&gone).await.unwrap();
    assert_eq!(s.sql("SELECT count(*) FROM users"), ["1"]);
}
