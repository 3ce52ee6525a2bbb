//! From the outbox over the queue to what changes.

use std::sync::Arc;
use std::time::Duration;

use bio_bff::cache::{Cache, RedisCache};
use bio_bff::events::handle::Hands;
use bio_bff::events::menu::Fetching;
use bio_bff::events::relay::relay_once;
use bio_bff::events::worker;
use bio_bff::notify::push::Senders;
use bio_bff::queue::{Outgoing, PostgresQueue, Queue};
use bio_bff::scans::Scans;
use bio_bff::store::{self, Db};
use serde_json::{Value, json};

use crate::harness::{Client, PATIENCE, Service, Wish};

const NOW: &str = "2026-06-10T14:00:00Z";

/// A worker beside the service, stepped by hand.
pub struct Worker {
    pub hands: Hands,
    pub queue: Arc<dyn Queue>,
}

impl Worker {
    /// Over the queue in the database.
    pub fn of(s: &Service) -> Self {
        Self::over(s, |db| Arc::new(PostgresQueue::new(db, "events", 3)))
    }

    pub fn over(s: &Service, queue: impl FnOnce(Db) -> Arc<dyn Queue>) -> Self {
        let url = s.servers.postgres.url("worker_login", &s.database);
        let db = Db::lazy(store::options(&url).unwrap(), 4, PATIENCE);
        let cache: Arc<dyn Cache> = Arc::new(RedisCache::patient(&s.servers.redis.url(), PATIENCE).unwrap());
        // As the worker's own login, which sees the scans of everybody.
        let scans = s.app.scans.as_deref().map(|scans| {
            Arc::new(Scans {
                db: db.clone(),
                ..scans.clone()
            })
        });
        let hands = Hands {
            db: db.clone(),
            cache,
            clock: s.clock.clone(),
            threshold: 40.0,
            objects: s
                .app
                .scans
                .iter()
                .flat_map(|s| [s.buckets.uploads.clone(), s.buckets.media.clone()])
                .collect(),
            scans,
            menus: Fetching::Off,
            gateway: None,
            push: Senders::default(),
        };
        Self {
            hands,
            queue: queue(db),
        }
    }

    /// Until nothing is left to do; how many messages were handled, and the ids that failed.
    pub async fn drain(&self) -> (usize, Vec<String>) {
        let (mut handled, mut failed) = (0, Vec::new());
        loop {
            let sent = relay_once(&self.hands.db, &*self.queue).await.unwrap();
            let got = self
                .queue
                .receive(10, Duration::from_secs(30), Duration::ZERO)
                .await
                .unwrap();
            if sent == 0 && got.is_empty() {
                return (handled, failed);
            }
            handled += got.len();
            failed.extend(worker::handle_all(&self.hands, &*self.queue, got).await);
        }
    }
}

pub(crate) async fn start() -> Option<(Service, Client, Worker)> {
    let s = Service::start(Wish {
        now: Some(NOW.parse().unwrap()),
        ..Wish::default()
    })
    .await?;
    let c = s.user("a");
    c.patch("/profile", json!({"timezone": "Europe/Berlin"}))
        .await
        .expect(200);
    // The account is older than the told clock's records.
    s.sql("UPDATE users SET created_at = '2026-01-01'");
    let w = Worker::of(&s);
    Some((s, c, w))
}

async fn sleep_score(c: &Client, score: i64) {
    let r = json!({"kind": "sleep_score", "start": "2026-06-09T21:00:00Z", "end": "2026-06-10T05:00:00Z", "value": score, "source": "watch"});
    c.post("/sync/batch", json!({"records": [r]})).await.expect(200);
}

pub(crate) async fn feel(c: &Client, value: i64) {
    c.post("/feel", json!({"value": value})).await.expect(200);
}

async fn card(c: &Client) -> Value {
    c.get("/dashboard/state").await.expect(200)["ai_card"].clone()
}

#[tokio::test]
async fn a_low_score_changes_the_plan_once_a_day() {
    let Some((s, c, w)) = start().await else { return };
    sleep_score(&c, 80).await;
    w.drain().await;
    assert_eq!(c.get("/plan").await.expect(200)["energy_score"], 80.0);
    assert_eq!(card(&c).await, Value::Null);
    feel(&c, 0).await;
    w.drain().await;
    // (80*0.4 + 0*0.3) / 0.7
    assert_eq!(c.get("/dashboard/state").await.expect(200)["energy_score"], 45.7);
    s.clock.set("2026-06-10T14:01:00Z".parse().unwrap());
    sleep_score(&c, 30).await;
    w.drain().await;
    let plan = c.get("/plan").await.expect(200);
    assert_eq!(plan["energy_score"], 17.1);
    let food = card(&c).await["food"].as_str().unwrap().to_owned();
    assert_eq!(food, "Roast sweet potato with chicken");
    // Up and down again: no second suggestion.
    sleep_score(&c, 100).await;
    w.drain().await;
    sleep_score(&c, 20).await;
    w.drain().await;
    assert_eq!(card(&c).await["food"], food.as_str());
    // Rejected: the next; rejected again: yet another; accepted: it stays.
    let second = c
        .post("/plan/reject", json!({"food": food, "reason": "no chicken"}))
        .await
        .expect(200);
    let second = second["next_meal_suggestion"]["food"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(second, food);
    c.post("/plan/reject", json!({"food": food}))
        .await
        .refused(409, "no_suggestion");
    let done = c.post("/plan/accept", json!({"food": second})).await.expect(200);
    assert_eq!(done["next_meal_suggestion"]["status"], "accepted");
    assert_eq!(done["rejected_suggestions"].as_array().unwrap().len(), 1);
    sleep_score(&c, 90).await;
    w.drain().await;
    sleep_score(&c, 10).await;
    w.drain().await;
    assert_eq!(card(&c).await["food"], second.as_str());
    // Tomorrow is another day.
    s.clock.set("2026-06-11T14:00:00Z".parse().unwrap());
    assert_eq!(card(&c).await, Value::Null);
}

#[tokio::test]
async fn allergies_diet_and_hours_decide_and_nothing_left_is_said() {
    let Some((s, c, w)) = start().await else { return };
    c.patch("/profile", json!({"dietary_preference": "keto"}))
        .await
        .expect(200);
    feel(&c, 5).await;
    w.drain().await;
    let got = card(&c).await;
    assert_eq!((&got["food"], &got["status"]), (&Value::Null, &json!("none")));
    assert!(got["reason"].as_str().unwrap().contains("No dinner"));
    let other = s.user("b");
    let fasting =
        json!({"is_fasting_enabled": true, "fasting_start_time": "12:00", "fasting_end_time": "08:00"});
    other.patch("/profile", fasting).await.expect(200);
    feel(&other, 5).await;
    w.drain().await;
    assert!(card(&other).await["reason"].as_str().unwrap().contains("fasting"));
}

#[tokio::test]
async fn many_changes_ask_for_one_computation_and_a_repetition_does_no_harm() {
    let Some((s, c, w)) = start().await else { return };
    for i in 0..20 {
        s.clock.set(format!("2026-06-10T14:{i:02}:00Z").parse().unwrap());
        feel(&c, 30 + i).await;
    }
    assert_eq!(s.sql("SELECT count(*) FROM outbox"), ["20"]);
    assert_eq!(relay_once(&w.hands.db, &*w.queue).await.unwrap(), 20);
    assert_eq!(w.queue.depth().await.unwrap().waiting, 1);
    let got = w
        .queue
        .receive(10, Duration::from_secs(30), Duration::ZERO)
        .await
        .unwrap();
    // What changes while it is in hand is not dropped.
    feel(&c, 90).await;
    relay_once(&w.hands.db, &*w.queue).await.unwrap();
    for m in &got {
        w.hands.handle(&m.body).await.unwrap();
        w.hands.handle(&m.body).await.unwrap();
    }
    w.drain().await;
    assert_eq!(c.get("/plan").await.expect(200)["energy_score"], 90.0);
}

#[tokio::test]
async fn an_outbox_row_that_cannot_be_sent_waits_and_is_kept() {
    #[derive(Debug)]
    struct Away;
    use bio_bff::queue::{Depth, Outcome, QueueError, Received};
    use futures::future::BoxFuture;
    fn away<T>() -> Outcome<T> {
        Err(QueueError::Sqs("away".into()))
    }
    impl Queue for Away {
        fn send<'a>(&'a self, _: &'a [Outgoing]) -> BoxFuture<'a, Outcome<Vec<bool>>> {
            Box::pin(async { away() })
        }
        fn receive(&self, _: u32, _: Duration, _: Duration) -> BoxFuture<'_, Outcome<Vec<Received>>> {
            Box::pin(async { away() })
        }
        fn delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Outcome<()>> {
            Box::pin(async { away() })
        }
        fn hide<'a>(&'a self, _: &'a str, _: Duration) -> BoxFuture<'a, Outcome<()>> {
            Box::pin(async { away() })
        }
        fn redrive(&self, _: u32) -> BoxFuture<'_, Outcome<u64>> {
            Box::pin(async { away() })
        }
        fn depth(&self) -> BoxFuture<'_, Outcome<Depth>> {
            Box::pin(async { away() })
        }
    }
    let Some((s, c, w)) = start().await else { return };
    feel(&c, 50).await;
    relay_once(&w.hands.db, &Away).await.unwrap_err();
    assert_eq!(
        s.sql("SELECT attempts, last_error IS NOT NULL, next_at > now() FROM outbox"),
        ["1|t|t"]
    );
    s.sql("UPDATE outbox SET attempts = 9, next_at = now()");
    relay_once(&w.hands.db, &Away).await.unwrap_err();
    assert_eq!(
        s.sql("SELECT attempts, dead_at IS NOT NULL FROM outbox"),
        ["10|t"]
    );
    // A person looks at it and sends it again.
    s.sql("UPDATE outbox SET dead_at = NULL, next_at = now()");
    w.drain().await;
    assert_eq!(c.get("/plan").await.expect(200)["energy_score"], 50.0);
}
