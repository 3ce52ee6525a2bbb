//! The hypertable, its compression and its daily aggregate, on the TimescaleDB of `BFF_TEST_TIMESCALE_URL`:
//! scripts/ci-bff.sh starts one. That server has one connection and one session, whose role stays as it was set.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bio_bff::cache::NoCache;
use bio_bff::events::handle::Hands;
use bio_bff::events::menu::Fetching;
use bio_bff::events::relay::relay_once;
use bio_bff::events::worker;
use bio_bff::notify::push::Senders;
use bio_bff::queue::{Depth, Outcome, Outgoing, Queue, Received};
use bio_bff::store::migrate::{Tier, migrate};
use bio_bff::store::{self, Db};
use futures::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};

use crate::auth::idp::Idp;
use crate::harness::{Running, Wish};

/// The queue in PostgreSQL wants a second connection.
#[derive(Debug, Default)]
struct Memory {
    messages: Mutex<VecDeque<Value>>,
    received: AtomicU64,
}

impl Queue for Memory {
    fn send<'a>(&'a self, messages: &'a [Outgoing]) -> BoxFuture<'a, Outcome<Vec<bool>>> {
        let bodies = messages.iter().map(|m| m.body.clone());
        self.messages.lock().unwrap().extend(bodies);
        Box::pin(async { Ok(vec![true; messages.len()]) })
    }
    fn receive(&self, most: u32, _: Duration, _: Duration) -> BoxFuture<'_, Outcome<Vec<Received>>> {
        let mut messages = self.messages.lock().unwrap();
        let n = messages.len().min(most as usize);
        let got = messages
            .drain(..n)
            .map(|body| Received {
                id: self.received.fetch_add(1, Ordering::Relaxed).to_string(),
                body,
                receipt: String::new(),
                attempts: 1,
            })
            .collect();
        Box::pin(async { Ok(got) })
    }
    fn delete<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Outcome<()>> {
        Box::pin(async { Ok(()) })
    }
    fn hide<'a>(&'a self, _: &'a str, _: Duration) -> BoxFuture<'a, Outcome<()>> {
        Box::pin(async { Ok(()) })
    }
    fn redrive(&self, _: u32) -> BoxFuture<'_, Outcome<u64>> {
        Box::pin(async { Ok(0) })
    }
    fn depth(&self) -> BoxFuture<'_, Outcome<Depth>> {
        Box::pin(async { Ok(Depth::default()) })
    }
}

/// Runs statements as the superuser, and leaves the session in this role.
async fn as_superuser(url: &str, statements: &[&str], role: &str) {
    let mut c = PgConnection::connect_with(&store::options(url).unwrap())
        .await
        .unwrap();
    for statement in ["RESET ROLE"].iter().chain(statements) {
        sqlx::raw_sql(AssertSqlSafe((*statement).to_owned()))
            .execute(&mut c)
            .await
            .unwrap_or_else(|e| panic!("{statement}: {e}"));
    }
    sqlx::raw_sql(AssertSqlSafe(format!("SET ROLE {role}")))
        .execute(&mut c)
        .await
        .unwrap();
    c.close().await.unwrap();
}

/// The first column of the first row, as text; asked as the worker.
async fn one(db: &Db, sql: &str) -> String {
    let row = sqlx::query(AssertSqlSafe(format!("SELECT ({sql})::text")))
        .fetch_one(db.pool())
        .await
        .unwrap_or_else(|e| panic!("{sql}: {e}"));
    row.get::<Option<String>, _>(0).unwrap_or_default()
}

/// All events, until none is left; none may fail.
async fn drain(hands: &Hands, queue: &Memory) {
    loop {
        let sent = relay_once(&hands.db, queue).await.unwrap();
        let got = queue.receive(10, Duration::ZERO, Duration::ZERO).await.unwrap();
        if sent == 0 && got.is_empty() {
            return;
        }
        assert_eq!(worker::handle_all(hands, queue, got).await, Vec::<String>::new());
    }
}

fn steps(at: Timestamp, value: i64) -> Value {
    json!({"kind": "steps", "start": at.to_string(), "end": (at + SignedDuration::from_mins(15)).to_string(),
        "value": value, "source": "watch"})
}

#[tokio::test]
async fn hypertable_compression_and_an_aggregate_that_forgets() {
    let Ok(url) = std::env::var("BFF_TEST_TIMESCALE_URL") else {
        eprintln!("NOT RUN: needs BFF_TEST_TIMESCALE_URL (scripts/ci-bff.sh)");
        return;
    };
    let owner = store::options(&url).unwrap();
    let prepare = [
        "CREATE ROLE bio_owner LOGIN CREATEROLE",
        "ALTER DATABASE template1 OWNER TO bio_owner",
        "ALTER SCHEMA public OWNER TO bio_owner",
    ];
    as_superuser(&url, &prepare, "bio_owner").await;
    // A plain table first, with data; then the server gets the extension.
    assert_eq!(migrate(&owner).await.unwrap(), Tier::Plain);
    let old = "INSERT INTO users (id, email) VALUES ('00000000-0000-0000-0000-000000000001', 'old@users.invalid'); \
        INSERT INTO health_metrics (time, user_id, source, steps_delta) \
        SELECT t, '00000000-0000-0000-0000-000000000001', 'watch', 10 \
        FROM generate_series(now() - interval '100 days', now(), interval '1 hour') t";
    as_superuser(&url, &[old, "CREATE EXTENSION timescaledb"], "bio_owner").await;
    for _ in 0..2 {
        assert_eq!(migrate(&owner).await.unwrap(), Tier::Compressed);
    }
    let job = "SELECT count(*) FROM timescaledb_information.jobs WHERE proc_name IN \
        ('policy_compression', 'policy_refresh_continuous_aggregate')";
    let compress =
        "SELECT compress_chunk(c) FROM show_chunks('health_metrics', older_than => interval '40 days') c";
    as_superuser(&url, &[compress], "bio_worker").await;

    let wish = Wish {
        connections: 1,
        ..Wish::default()
    };
    let s = Running::start(&url, Arc::new(NoCache), Arc::new(Idp::start().await), wish).await;
    let db = &s.app.db;
    assert_eq!(one(db, job).await, "2");
    let chunks = "SELECT count(*) FILTER (WHERE is_compressed) > 5 AND count(*) FILTER (WHERE NOT is_compressed) > 5 \
        FROM timescaledb_information.chunks WHERE hypertable_name = 'health_metrics'";
    assert_eq!(one(db, chunks).await, "true");
    assert_eq!(one(db, "SELECT sum(steps) FROM health_daily").await, "24010");
    let hands = Hands {
        db: db.clone(),
        cache: Arc::new(NoCache),
        clock: s.clock.clone(),
        threshold: 40.0,
        objects: Vec::new(),
        scans: None,
        menus: Fetching::Off,
        gateway: None,
        push: Senders::default(),
    };
    let queue = Memory::default();
    let c = s.user("a");
    let id = c.get("/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    let older = format!("UPDATE users SET created_at = '2020-01-01' WHERE id = '{id}'");
    sqlx::query("RESET ROLE").execute(db.pool()).await.unwrap();
    sqlx::query(AssertSqlSafe(older))
        .execute(db.pool())
        .await
        .unwrap();
    sqlx::query("SET ROLE bio_worker")
        .execute(db.pool())
        .await
        .unwrap();
    let shown = format!("SELECT coalesce(sum(steps), 0) FROM health_daily WHERE user_id = '{id}'");
    let raw = format!("SELECT coalesce(sum(steps_delta), 0) FROM health_metrics WHERE user_id = '{id}'");
    let send = async |records: Vec<Value>| {
        let answer = c.post("/sync/batch", json!({"records": records})).await;
        answer.expect(200)["counts"].clone()
    };
    let now = Timestamp::from_second(s.clock.now().as_second() / 900 * 900).unwrap();
    let ago = |days: i64| now - SignedDuration::from_hours(24 * days + 2);

    // What came a moment ago shows, though nothing has been materialised of it.
    assert_eq!(send(vec![steps(ago(0), 100)]).await["stored"], 1);
    assert_eq!(one(db, &shown).await, "100");
    hands.db.refresh_aggregates(None).await.unwrap();
    assert_eq!(one(db, &shown).await, "100");
    drain(&hands, &queue).await;

    // A row that comes half a year late: the aggregate does not see it until the event of it is handled.
    assert_eq!(send(vec![steps(ago(180), 7)]).await["stored"], 1);
    assert_eq!(one(db, &shown).await, "100");
    drain(&hands, &queue).await;
    assert_eq!(one(db, &shown).await, "107");
    // Into a chunk that is compressed: new, again, corrected.
    for (value, verdict) in [(30, "stored"), (30, "duplicate"), (20, "corrected")] {
        assert_eq!(send(vec![steps(ago(60), value)]).await[verdict], 1, "{value}");
    }
    drain(&hands, &queue).await;
    assert_eq!(
        (one(db, &raw).await, one(db, &shown).await),
        ("127".into(), "127".into())
    );
    // A deletion long after the fact.
    let (from, to) = (ago(60).to_string(), ago(59).to_string());
    let deletion = json!({"source": "watch", "kind": "steps", "from": from, "to": to});
    c.post("/sync/batch", json!({"records": [], "deletions": [deletion]}))
        .await
        .expect(200);
    drain(&hands, &queue).await;
    assert_eq!(
        (one(db, &raw).await, one(db, &shown).await),
        ("107".into(), "107".into())
    );
    // Rows of this week need no event of their own.
    send(vec![steps(ago(2), 1)]).await;
    let late = "SELECT count(*) FROM outbox WHERE kind = 'RefreshHealthDaily'";
    assert_eq!(one(db, late).await, "0");

    // Forgotten: also by the aggregate, and nobody else is.
    c.call(Method::DELETE, "/me", &[], None).await.expect(202);
    let theirs = format!("SELECT count(*) FROM health_metrics WHERE user_id = '{id}'");
    drain(&hands, &queue).await;
    assert_eq!(
        (one(db, &theirs).await, one(db, &shown).await),
        ("0".into(), "0".into())
    );
    assert_eq!(one(db, "SELECT sum(steps) FROM health_daily").await, "24010");
}
