//! The rings, fresh after every write of one's own, from two replicas, with the cache there or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bio_bff::cache::{Cache, Look, RedisCache};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Client, PATIENCE, Redis, Service, Wish, free_port, until};

const NOON: &str = "2026-06-10T14:00:00Z";

async fn start(redis: bool) -> Option<Service> {
    Service::start(Wish {
        now: Some(NOON.parse().unwrap()),
        redis,
        ..Wish::default()
    })
    .await
}

async fn set_up(c: &Client) {
    let body = json!({"height_cm": 165, "weight_kg": 62, "birth_date": "1998-06-10", "gender": "female",
        "primary_goal": "maintain", "timezone": "Europe/Berlin", "is_fasting_enabled": true,
        "fasting_start_time": "20:00", "fasting_end_time": "12:00"});
    c.patch("/profile", body).await.expect(200);
}

async fn eat(c: &Client, kcal: i64) -> Value {
    c.post("/food_logs", json!({"food_name": "Food", "calories": kcal}))
        .await
        .expect(201)
}

async fn state(c: &Client) -> Value {
    c.get("/dashboard/state").await.expect(200)
}

#[tokio::test]
async fn rings_totals_targets_and_words() {
    let Some(s) = start(true).await else { return };
    let c = s.user("a");
    let bare = state(&c).await;
    assert_eq!(bare["rings"]["inner_percent"], Value::Null);
    assert_eq!(
        bare["targets"]["missing"],
        json!(["height_cm", "weight_kg", "birth_date", "primary_goal"])
    );
    set_up(&c).await;
    eat(&c, 929).await;
    let got = state(&c).await;
    assert_eq!(
        got["rings"],
        json!({"outer_percent": 50.0, "inner_percent": 50.0})
    );
    assert_eq!(
        (&got["status_msg"], &got["fasting_active"]),
        (&json!("On Track"), &json!(false))
    );
    assert_eq!(
        (&got["targets"]["calories"], &got["totals"]["calories"]),
        (&json!(1857), &json!(929))
    );
    assert_eq!(
        (&got["ai_card"], &got["pending_scans"], &got["date"]),
        (&Value::Null, &json!(0), &json!("2026-06-10"))
    );
    // The rings age by themselves, from the same cached entry.
    s.clock.set("2026-06-10T17:00:00Z".parse().unwrap());
    let later = state(&c).await;
    assert_eq!(later["rings"]["outer_percent"], 87.5);
    assert_eq!(later["status_msg"], "Fuel Up - You are behind schedule.");
    s.clock.set("2026-06-10T19:00:00Z".parse().unwrap());
    let night = state(&c).await;
    assert_eq!(
        (&night["status_msg"], &night["fasting_active"]),
        (&json!("Fasting - next window at 12:00"), &json!(true))
    );
    // And the day turns.
    s.clock.set("2026-06-10T22:30:00Z".parse().unwrap());
    let next = state(&c).await;
    assert_eq!(
        (&next["date"], &next["totals"]["calories"]),
        (&json!("2026-06-11"), &json!(0))
    );
}

#[tokio::test]
async fn conditional_reads() {
    let Some(s) = start(true).await else { return };
    let c = s.user("a");
    set_up(&c).await;
    let first = c.get("/dashboard/state").await;
    let tag = first.etag();
    assert!(tag.starts_with("W/"));
    assert_eq!(first.headers["cache-control"], "private, no-cache");
    let again = c
        .call(Method::GET, "/dashboard/state", &[("if-none-match", &tag)], None)
        .await;
    assert_eq!(
        (again.status.as_u16(), again.text.as_str(), again.etag()),
        (304, "", tag.clone())
    );
    assert_eq!(again.headers["cache-control"], "private, no-cache");
    s.clock.set("2026-06-10T14:00:10Z".parse().unwrap());
    let soon = c
        .call(Method::GET, "/dashboard/state", &[("if-none-match", &tag)], None)
        .await;
    assert_eq!(soon.status, 304, "the outer ring has not moved by 0.1");
    eat(&c, 10).await;
    let changed = c
        .call(Method::GET, "/dashboard/state", &[("if-none-match", &tag)], None)
        .await;
    assert_eq!(changed.status, 200);
}

#[tokio::test]
async fn the_cached_entry_is_used_and_every_write_is_seen_in_every_replica() {
    let Some(s) = start(true).await else { return };
    let other = s
        .replica(Wish {
            now: Some(NOON.parse().unwrap()),
            ..Wish::default()
        })
        .await;
    let (a, b) = (
        s.user("a"),
        Client {
            base: other.base.clone(),
            ..s.user("a")
        },
    );
    set_up(&a).await;
    state(&a).await;
    // Behind the service's back: a cached answer does not know it.
    s.sql("UPDATE daily_plan SET target_calories = 1");
    assert_eq!(state(&b).await["targets"]["calories"], 1857);
    let mut sum = 0;
    for i in 0..20 {
        let (writer, reader) = if i % 2 == 0 { (&a, &b) } else { (&b, &a) };
        eat(writer, 10).await;
        sum += 10;
        assert_eq!(state(reader).await["totals"]["calories"], sum);
        assert_eq!(state(writer).await["totals"]["calories"], sum);
    }
    // Readers all the while, who fill the cache with what they computed before the write.
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = [a.clone(), b.clone(), a.clone(), b.clone()]
        .into_iter()
        .map(|c| {
            let stop = stop.clone();
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    state(&c).await;
                }
            })
        })
        .collect();
    for i in 0..50 {
        let (writer, reader) = if i % 2 == 0 { (&a, &b) } else { (&b, &a) };
        eat(writer, 1).await;
        sum += 1;
        assert_eq!(state(reader).await["totals"]["calories"], sum, "write {i}");
    }
    stop.store(true, Ordering::SeqCst);
    for r in readers {
        r.await.unwrap();
    }
    let key = format!(
        "user:{}:dashboard",
        a.get("/me").await.expect(200)["id"].as_str().unwrap()
    );
    let client = redis::Client::open(s.servers.redis.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let ttl: i64 = redis::cmd("TTL").arg(key).query_async(&mut redis).await.unwrap();
    assert!((1..=3600).contains(&ttl), "{ttl}");
}

#[tokio::test]
async fn redis_away_is_slower_and_never_wrong() {
    let Some(s) = start(false).await else { return };
    let port = free_port().unwrap();
    let Some(redis) = Redis::start(port).unwrap() else {
        return;
    };
    let cache = RedisCache::patient(&redis.url(), PATIENCE).unwrap();
    s.user("a").get("/me").await.expect(200);
    let (_, user) = s.app.users.iter().next().unwrap();
    assert!(matches!(cache.look(user).await, Look::Miss(_)));
    let Look::Miss(ticket) = cache.look(user).await else {
        panic!("no ticket")
    };
    cache
        .fill(user, ticket, b"old".to_vec(), Duration::from_secs(60))
        .await;
    assert!(matches!(cache.look(user).await, Look::Hit(_)));
    drop(redis);
    // Written while it was away.
    cache.invalidate(user).await;
    assert!(matches!(cache.look(user).await, Look::Bypass));
    let begun = std::time::Instant::now();
    for _ in 0..100 {
        assert!(matches!(cache.look(user).await, Look::Bypass));
    }
    // Each waiting for the server would be a quarter of a second.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    let Some(_again) = Redis::start(port).unwrap() else {
        return;
    };
    // Another process stores the old value again before this one comes back: it must not be believed.
    let other = RedisCache::patient(&format!("redis://127.0.0.1:{port}"), PATIENCE).unwrap();
    let Look::Miss(ticket) = other.look(user).await else {
        panic!("no ticket")
    };
    other
        .fill(user, ticket, b"old".to_vec(), Duration::from_secs(60))
        .await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!matches!(cache.look(user).await, Look::Hit(_)));
    assert!(!matches!(other.look(user).await, Look::Hit(_)));
}

#[tokio::test]
async fn without_a_cache_everything_works() {
    let Some(s) = start(false).await else { return };
    let c = s.user("a");
    set_up(&c).await;
    eat(&c, 929).await;
    assert_eq!(state(&c).await["rings"]["inner_percent"], 50.0);
}

#[tokio::test]
async fn a_crowd_of_one_user_computes_once() {
    let Some(s) = start(true).await else { return };
    let c = s.user("a");
    set_up(&c).await;
    // Whoever computes waits for this table.
    let url = s.servers.postgres.url("postgres", &s.database);
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE food_logs IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let computing = || {
        s.sql("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
            [0]
        .parse::<usize>()
        .unwrap()
    };
    let crowd = futures::future::join_all((0..50).map(|_| c.get("/dashboard/state")));
    let (answers, ()) = tokio::join!(crowd, async {
        until("one computes", async || computing() > 0).await;
        // Time for the others to do so, too, were they let; there are connections for eight.
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(computing(), 1);
        holder.commit().await.unwrap();
    });
    assert!(
        answers
            .iter()
            .all(|a| a.status == 200 && a.text == answers[0].text)
    );
}
