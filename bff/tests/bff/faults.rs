//! Processes are killed and servers restarted in the middle of syncs and consumes. What was answered is there, once;
//! what was not answered is retried by the client, and is there once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bio_bff::dev::servers::free_port;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::PATIENCE;
use crate::processes::World;

const USERS: usize = 6;
const CALORIES: i64 = 301;

/// A client that goes to the next replica and tries again, until it has an answer that decides.
struct Client {
    bases: [String; 2],
    token: String,
    http: reqwest::Client,
    retries: Arc<AtomicU64>,
}

impl Client {
    async fn call(&self, method: Method, path: &str, key: Option<&str>, body: Option<&Value>) -> Value {
        let begun = Instant::now();
        for attempt in 0usize.. {
            let mut request = self
                .http
                .request(method.clone(), format!("{}{path}", self.bases[attempt % 2]))
                .bearer_auth(&self.token)
                .timeout(Duration::from_secs(5));
            if let Some(key) = key {
                request = request.header("idempotency-key", key);
            }
            if let Some(body) = body {
                request = request.json(body);
            }
            let why = match request.send().await {
                Err(error) => error.to_string(),
                Ok(response) => {
                    let status = response.status();
                    match response.text().await {
                        Ok(text) if status.is_success() => return serde_json::from_str(&text).unwrap(),
                        Ok(text) => {
                            let again = status.is_server_error()
                                || (status == StatusCode::CONFLICT && text.contains("idempotency_in_flight"));
                            assert!(again, "{path}: {status} {text}");
                            assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{path}: {text}");
                            text
                        }
                        Err(error) => error.to_string(),
                    }
                }
            };
            assert!(begun.elapsed() < PATIENCE, "{path}: no answer: {why}");
            self.retries.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        unreachable!()
    }

    async fn get(&self, path: &str) -> Value {
        self.call(Method::GET, path, None, None).await
    }

    async fn post(&self, path: &str, key: Option<&str>, body: &Value) -> Value {
        self.call(Method::POST, path, key, Some(body)).await
    }
}

/// What a client was told, to be compared with what is there.
#[derive(Debug, Default, PartialEq)]
struct Ledger {
    steps: i64,
    rows: i64,
    tenths: i64,
    /// The last one that was synced.
    feel: i64,
}

/// The diary day of a profile without a zone. A run over midnight compares less.
fn date_of(at: Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

/// Syncs and consumes by turns until `stop`; after each consume the dashboard must show it.
async fn live(client: Client, stop: Arc<AtomicBool>) -> Ledger {
    let stew = json!({"recipe_name": "Stew", "total_servings": 999.9, "calories_per_serving": CALORIES * 10,
        "macros_json": {"p": 10, "c": 10, "f": 10}});
    let id = client.post("/pantry/leftovers", Some("stew"), &stew).await["id"].clone();
    // At the start of a quarter of an hour: a record over the end of one would be stored as two.
    let quarter = 15 * 60;
    let begun = Timestamp::from_second(Timestamp::now().as_second() / quarter * quarter).unwrap();
    let mut ledger = Ledger::default();
    for turn in 0i64.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let mut records: Vec<Value> = (0..4)
            .map(|i| {
                let from = begun - SignedDuration::from_mins(15 * (turn * 4 + i + 2));
                json!({"kind": "steps", "start": from.to_string(),
                    "end": (from + SignedDuration::from_mins(1)).to_string(), "value": turn + i, "source": "watch"})
            })
            .collect();
        ledger.feel = turn % 101;
        records.push(
            json!({"kind": "subj_feel", "start": Timestamp::now().to_string(), "value": ledger.feel,
            "source": "manual"}),
        );
        let answer = client
            .post(
                "/sync/batch",
                None,
                &json!({"device": "Watch", "records": records}),
            )
            .await;
        assert_eq!(answer["counts"]["rejected"], 0, "{answer}");
        ledger.steps += (0..4).map(|i| turn + i).sum::<i64>();
        ledger.rows += 5;
        let wish = json!({"leftover_id": id, "consumed_servings": 0.1});
        let key = format!("turn-{turn}");
        let eaten = client.post("/pantry/leftovers/consume", Some(&key), &wish).await;
        assert_eq!(eaten["food_log"]["calories"], CALORIES);
        ledger.tenths += 1;
        let shown = client.get("/dashboard/state").await;
        if shown["date"] == date_of(begun) {
            assert_eq!(shown["totals"]["calories"], ledger.tenths * CALORIES, "{key}");
        }
    }
    ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_and_nothing_doubled() {
    let Some(mut world) = World::start().await else {
        return;
    };
    let ports = [free_port().unwrap(), free_port().unwrap()];
    let mut replicas = Vec::new();
    for port in ports {
        replicas.push(Some(world.serve(port).await));
    }
    let mut worker = Some(world.worker());
    let stop = Arc::new(AtomicBool::new(false));
    let retries = Arc::new(AtomicU64::new(0));
    let now = Timestamp::now().as_second();
    let idp = world.idp.clone();
    let client = |user: usize| Client {
        bases: [0, 1].map(|i| format!("http://127.0.0.1:{}", ports[(user + i) % 2])),
        token: idp.access(&format!("user-{user}"), now),
        http: reqwest::Client::builder().no_proxy().build().unwrap(),
        retries: retries.clone(),
    };
    let lives: Vec<_> = (0..USERS)
        .map(|user| tokio::spawn(live(client(user), stop.clone())))
        .collect();
    let pause = || tokio::time::sleep(Duration::from_millis(700));
    for round in 0..2 {
        pause().await;
        for (i, port) in ports.into_iter().enumerate() {
            replicas[i].take().unwrap().kill();
            pause().await;
            replicas[i] = Some(world.serve(port).await);
        }
        worker.take().unwrap().kill();
        worker = Some(world.worker());
        pause().await;
        world.redis = None;
        pause().await;
        world.start_redis();
        pause().await;
        let postgres = world.postgres.take().unwrap();
        if round == 0 {
            postgres.crash().unwrap();
        } else {
            drop(postgres);
        }
        pause().await;
        world.start_postgres();
    }
    pause().await;
    stop.store(true, Ordering::Relaxed);
    let mut ledgers = Vec::new();
    for life in lives {
        ledgers.push(life.await.unwrap());
    }
    assert!(retries.load(Ordering::Relaxed) > 0, "no fault was felt");
    eprintln!("{} retries, {ledgers:?}", retries.load(Ordering::Relaxed));
    for (user, told) in ledgers.iter().enumerate() {
        assert!(told.tenths > 3, "user {user} got nowhere: {told:?}");
        let id = &client(user).get("/me").await["id"];
        let id = id.as_str().unwrap();
        let is = world.sql(&format!(
            "SELECT (SELECT coalesce(sum(steps_delta), 0) FROM health_metrics WHERE user_id = '{id}'), \
             (SELECT count(*) FROM health_metrics WHERE user_id = '{id}'), \
             (SELECT ((total_servings - remaining_servings) * 10)::int FROM leftovers WHERE user_id = '{id}'), \
             (SELECT count(*) FROM food_logs WHERE user_id = '{id}'), \
             (SELECT coalesce(sum(calories), 0) FROM food_logs WHERE user_id = '{id}')"
        ));
        let Ledger {
            steps, rows, tenths, ..
        } = told;
        assert_eq!(
            is,
            [format!("{steps}|{rows}|{tenths}|{tenths}|{}", tenths * CALORIES)]
        );
    }
    // Every event is handled in the end, and none is dead.
    let begun = Instant::now();
    let left = "SELECT (SELECT count(*) FROM outbox), (SELECT count(*) FROM ops.messages)";
    while world.sql(left) != ["0|0"] {
        assert!(begun.elapsed() < PATIENCE, "{:?}", world.sql(left));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The score is of the last thing that was told.
    for (user, told) in ledgers.iter().enumerate() {
        let plan = client(user).get("/plan").await;
        if plan["date"] == date_of(Timestamp::from_second(now).unwrap()) {
            assert_eq!(plan["energy_score"], told.feel as f64, "user {user}: {plan}");
        }
    }
}
