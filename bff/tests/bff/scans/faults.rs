//! Everything that goes wrong between a phone and a confirmed meal.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{JPEG, begin, id, lab, meals, put};

const NOW: &str = "2026-06-10T12:00:00Z";

#[tokio::test]
async fn ten_minutes_without_a_vision_service_cost_time_only() {
    let lab = lab!(Some(NOW));
    let c = &lab.c;
    let scan = lab.upload(c).await;
    lab.vision.set(|s| s.away = true);
    lab.tell(&scan).await.expect(200);
    for _ in 0..10 {
        lab.pass(60);
        lab.scans().reconcile().await.unwrap();
        assert_eq!(lab.state(c, &scan).await, "uploaded");
    }
    lab.vision.set(|s| s.away = false);
    lab.pass(61);
    lab.scans().reconcile().await.unwrap();
    assert_eq!(lab.state(c, &scan).await, "queued");
    // Away again while the job runs.
    lab.vision.end("job-1");
    lab.vision.set(|s| s.away = true);
    for _ in 0..10 {
        lab.pass(60);
        lab.scans().reconcile().await.unwrap();
    }
    assert_eq!(lab.state(c, &scan).await, "queued");
    lab.vision.set(|s| s.away = false);
    lab.pass(61);
    lab.scans().reconcile().await.unwrap();
    assert_eq!(lab.state(c, &scan).await, "ready");
    assert_eq!(lab.vision.jobs().len(), 1);
}

#[tokio::test]
async fn no_state_lasts_for_ever() {
    let lab = lab!(Some(NOW));
    let c = &lab.c;
    let failed = async |scan: &str| {
        let scan = c.get(&format!("/scans/{scan}")).await.expect(200);
        (
            scan["state"].as_str().unwrap().to_owned(),
            scan["error"].as_str().unwrap_or_default().to_owned(),
        )
    };
    let reconcile = async |seconds: i64| {
        lab.pass(seconds);
        lab.scans().reconcile().await.unwrap();
    };
    let ended = |state: &str, why: &str| (state.to_owned(), why.to_owned());
    // No photo ever comes.
    let scan = id(&begin(c, 1).await["scan"]);
    reconcile(60).await;
    assert_eq!(lab.state(c, &scan).await, "created");
    reconcile(3600).await;
    assert_eq!(failed(&scan).await, ended("expired", "photos_never_came"));
    // The vision service stays away.
    lab.vision.set(|s| s.away = true);
    let scan = lab.upload(c).await;
    lab.tell(&scan).await.expect(200);
    reconcile(1801).await;
    assert_eq!(failed(&scan).await, ended("failed", "vision_unavailable"));
    // A job that hangs in the queue, then in hand, and is tried again each time.
    lab.vision.set(|s| s.away = false);
    let scan = lab.upload(c).await;
    lab.tell(&scan).await.expect(200);
    for n in 1..=2 {
        reconcile(2 * 3600).await;
        assert_eq!(lab.state(c, &scan).await, "uploaded", "{n}");
        reconcile(61).await;
        assert_eq!(lab.state(c, &scan).await, "queued", "{n}");
    }
    reconcile(2 * 3600).await;
    assert_eq!(failed(&scan).await, ended("failed", "timed_out"));
    assert!(lab.vision.jobs().iter().all(|(_, job)| job.status == "CANCELLED"));
    // Nobody confirms.
    let scan = lab.upload(c).await;
    lab.tell(&scan).await.expect(200);
    lab.vision.end_last();
    reconcile(3).await;
    // Past the life of the phone's token.
    let stands = || {
        lab.s.sql(&format!(
            "SELECT state, coalesce(error, '-'), (SELECT count(*) FROM food_logs) FROM scans WHERE id = '{scan}'"
        ))
    };
    reconcile(29 * 86_400).await;
    assert_eq!(stands(), ["ready|-|1"]);
    reconcile(2 * 86_400).await;
    assert_eq!(stands(), ["expired|never_confirmed|0"]);
    assert_eq!(
        lab.s.sql("SELECT count(*) FROM scans WHERE next_at IS NOT NULL"),
        ["0"]
    );
}

#[tokio::test]
async fn jobs_that_fail_or_vanish_are_tried_again_or_told() {
    let lab = lab!(Some(NOW));
    let c = &lab.c;
    let scan = lab.upload(c).await;
    lab.tell(&scan).await.expect(200);
    for n in 1..=3 {
        assert_eq!(lab.state(c, &scan).await, "queued", "{n}");
        if n == 1 {
            // The service has forgotten everything.
            lab.vision
                .set(|s| s.jobs.get_mut("job-1").unwrap().status = "NEVER_HEARD_OF");
        } else {
            lab.vision.fail(&format!("job-{n}"), "Traceback: the worker died");
        }
        lab.pass(61);
        lab.scans().reconcile().await.unwrap();
        lab.pass(61);
        lab.scans().reconcile().await.unwrap();
    }
    let told = c.get(&format!("/scans/{scan}")).await.expect(200);
    assert_eq!(
        (&told["state"], &told["error"]),
        (&json!("failed"), &json!("vision_failed"))
    );
    assert_eq!(lab.vision.jobs().len(), 3);
    // A photo without food is no reason to try again.
    let scan = lab.upload(c).await;
    lab.tell(&scan).await.expect(200);
    let webhook = lab.vision.fail(
        "job-4",
        r#"{"error_type":"no_food","fault":"client","retryable":false}"#,
    );
    lab.vision.call("job-4", &webhook, 0).await;
    lab.pass(3);
    lab.scans().reconcile().await.unwrap();
    let told = c.get(&format!("/scans/{scan}")).await.expect(200);
    assert_eq!(
        (&told["state"], &told["error"]),
        (&json!("failed"), &json!("no_food"))
    );
    // Another try needs no new upload.
    let again = c
        .post(&format!("/scans/{scan}/reanalyse"), json!({}))
        .await
        .expect(201);
    assert_eq!(again["state"], "queued");
}

#[tokio::test]
async fn a_result_for_a_user_who_is_gone_creates_nothing() {
    let lab = lab!();
    let scan = lab.upload(&lab.c).await;
    lab.tell(&scan).await.expect(200);
    let webhook = lab.vision.end("job-1");
    lab.c.call(Method::DELETE, "/me", &[], None).await.expect(202);
    // Erasure is asked for and not done; then done.
    assert_eq!(lab.vision.call("job-1", &webhook, 0).await, 200);
    assert_eq!(lab.s.sql("SELECT count(*) FROM food_logs"), ["0"]);
    let key = lab.s.sql("SELECT s3_key FROM scan_photos");
    lab.w.drain().await;
    assert_eq!(lab.vision.call("job-1", &webhook, 0).await, 404);
    lab.tell_key(&key[0]).await.expect(200);
    lab.scans().reconcile().await.unwrap();
    for table in ["food_logs", "scans", "scan_photos", "users"] {
        assert_eq!(
            lab.s.sql(&format!("SELECT count(*) FROM {table}")),
            ["0"],
            "{table}"
        );
    }
    assert_eq!(lab.objects("uploads").len() + lab.objects("media").len(), 0);
}

#[tokio::test]
async fn storage_events_may_come_early_twice_or_never() {
    let lab = lab!(Some(NOW));
    let c = &lab.c;
    // Before the object, of a key that is nobody's, of another bucket, of nothing.
    let scan = id(&begin(c, 1).await["scan"]);
    lab.tell(&scan).await.expect(200);
    let nobody = uuid::Uuid::new_v4();
    lab.tell_key(&format!("user_{nobody}/{nobody}/1.jpg"))
        .await
        .expect(200);
    for key in ["", "../../etc/passwd", "user_x/y/1.jpg", "%ff"] {
        lab.tell_key(key).await.expect(200);
    }
    let raw = |body: Value, token: &str| {
        let request = c
            .http
            .post(format!("{}/internal/storage-events", c.base))
            .bearer_auth(token);
        crate::harness::finish(request.json(&body))
    };
    let test = json!({"Service": "Amazon S3", "Event": "s3:TestEvent"});
    raw(test.clone(), crate::harness::STORAGE_TOKEN).await.expect(200);
    raw(test, "guessed").await.refused(401, "token_invalid");
    assert_eq!(lab.state(c, &scan).await, "created");
    // Never: storage is asked.
    let scan = lab.upload(c).await;
    lab.pass(11);
    lab.scans().reconcile().await.unwrap();
    assert_eq!(lab.state(c, &scan).await, "queued");
    // Again and again, from several sides at once.
    let scan = lab.upload(c).await;
    let told = (0..6).map(|_| lab.tell(&scan));
    for answer in futures::future::join_all(told).await {
        answer.expect(200);
    }
    c.post(&format!("/scans/{scan}/uploaded"), json!({}))
        .await
        .expect(200);
    assert_eq!(lab.state(c, &scan).await, "queued");
    assert_eq!(lab.vision.jobs().len(), 2, "one job a scan");
    // By the queue that S3 writes to.
    use bio_bff::queue::{Outgoing, PostgresQueue, Queue};
    let scan = lab.upload(c).await;
    let key = lab.s.sql(&format!(
        "SELECT s3_key FROM scan_photos JOIN scans USING (meal_group) WHERE id = '{scan}'"
    ));
    let queue = PostgresQueue::new(lab.w.hands.db.clone(), "uploads", 3);
    let body = |key: &str| json!({"Records": [{"eventName": "ObjectCreated:Post", "s3": {"bucket": {"name": "uploads"}, "object": {"key": key}}}]});
    let messages: Vec<Outgoing> = [
        body(&key[0]),
        body(&key[0]),
        json!({"Event": "s3:TestEvent"}),
        json!("?"),
    ]
    .into_iter()
    .map(|body| Outgoing {
        body,
        dedup_key: None,
        delay: Duration::ZERO,
    })
    .collect();
    queue.send(&messages).await.unwrap();
    let done = bio_bff::events::uploads::once(lab.scans(), &queue, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!((done, lab.state(c, &scan).await.as_str()), (4, "queued"));
}

#[tokio::test]
async fn files_that_are_no_photos_end_with_a_reason_and_are_removed() {
    let lab = lab!();
    let c = &lab.c;
    let large = [JPEG, &vec![0; 40 << 20]].concat();
    for (bytes, why) in [
        (&b""[..], "photo_empty"),
        (b"Dear diary, today I ate", "photo_unreadable"),
        (
            b"\x89PNG\r\n\x1a\nbut it was said to be a JPEG",
            "photo_unreadable",
        ),
        (&large, "photo_too_large"),
    ] {
        let scan = id(&begin(c, 1).await["scan"]);
        let key = lab.s.sql(&format!(
            "SELECT s3_key FROM scan_photos JOIN scans USING (meal_group) WHERE id = '{scan}'"
        ));
        // As somebody would who got past what is signed.
        let uploads = &lab.scans().buckets.uploads;
        uploads.put(&key[0], "image/jpeg", bytes.to_vec()).await.unwrap();
        lab.tell(&scan).await.expect(200);
        let told = c.get(&format!("/scans/{scan}")).await.expect(200);
        assert_eq!((&told["state"], &told["error"]), (&json!("failed"), &json!(why)));
    }
    assert_eq!(lab.objects("uploads"), Vec::<String>::new());
    assert_eq!(lab.vision.jobs().len(), 0);
}

#[tokio::test]
async fn a_phone_whose_clock_is_a_day_off_eats_today() {
    let lab = lab!(Some(NOW));
    let c = &lab.c;
    let body = json!({"photos": [super::photo(30.0)], "taken_at": "2026-06-11T11:55:00Z", "sent_at": "2026-06-11T12:00:00Z"});
    let new = c.post("/scans", body).await.expect(201);
    assert_eq!(new["scan"]["taken_at"], "2026-06-10T11:55:00Z");
    let scan = id(&new["scan"]);
    put(c, &new["uploads"][0], JPEG).await.expect(200);
    c.post(&format!("/scans/{scan}/uploaded"), json!({}))
        .await
        .expect(200);
    lab.vision.end("job-1");
    lab.pass(3);
    lab.scans().reconcile().await.unwrap();
    c.act(&scan, "confirm", json!({})).await.expect(200);
    assert_eq!(meals(c).await[0]["log_time"], "2026-06-10T11:55:00Z");
}

#[tokio::test]
async fn in_the_night_of_the_clock_change_both_half_past_twos_are_told_apart() {
    // 02:30 comes twice in Berlin: at 00:30Z and at 01:30Z.
    let lab = lab!(Some("2026-10-25T00:30:00Z"));
    let c = &lab.c;
    for _ in 0..2 {
        let scan = lab.upload(c).await;
        c.post(&format!("/scans/{scan}/uploaded"), json!({}))
            .await
            .expect(200);
        lab.vision.end_last();
        lab.pass(3);
        lab.scans().reconcile().await.unwrap();
        c.act(&scan, "confirm", json!({})).await.expect(200);
        lab.pass(3597);
    }
    let times: Vec<_> = meals(c).await.iter().map(|m| m["log_time"].clone()).collect();
    assert_eq!(times, ["2026-10-25T01:30:00Z", "2026-10-25T00:30:00Z"]);
    let diary = c.get("/diary/2026-10-25").await;
    assert!(diary.status == 200, "{}", diary.text);
    assert!(
        diary.text.contains("1416"),
        "both are of this day, once each: {}",
        diary.text
    );
}

#[tokio::test]
async fn a_database_that_dies_in_the_middle_of_a_confirmation_neither_loses_nor_doubles_it() {
    let lab = lab!();
    let c = lab.c.clone();
    let scan = lab.ready(&c).await;
    let tag = c.get(&format!("/scans/{scan}")).await.etag();
    // Somebody holds the meal's row, so that the confirmation is half done when its connection dies.
    let url = lab.s.servers.postgres.url("postgres", &lab.s.database);
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let mut holder = pool.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM food_logs FOR UPDATE")
        .execute(&mut *holder)
        .await
        .unwrap();
    let confirming = {
        let (c, scan, tag) = (c.clone(), scan.clone(), tag.clone());
        tokio::spawn(async move { c.act_from(&scan, "confirm", &tag, json!({})).await })
    };
    let mut killed = Vec::new();
    while killed.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
        killed = lab.s.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
             AND wait_event_type = 'Lock' AND usename = 'api_login'",
        );
    }
    let answer = confirming.await.unwrap();
    assert_eq!(answer.status, 503, "{}", answer.text);
    drop(holder);
    assert_eq!(lab.state(&c, &scan).await, "ready");
    assert_eq!(meals(&c).await[0]["status"], "pending_confirmation");
    // The phone tries again with what it had, twice.
    for _ in 0..2 {
        let done = c.act_from(&scan, "confirm", &tag, json!({})).await.expect(200);
        assert_eq!(done["state"], "confirmed");
    }
    assert_eq!(meals(&c).await.len(), 1);
}

#[tokio::test]
async fn two_confirmations_at_once_count_once() {
    let lab = lab!();
    let c = &lab.c;
    let scan = lab.ready(c).await;
    let tag = c.get(&format!("/scans/{scan}")).await.etag();
    let both = (0..8).map(|_| c.act_from(&scan, "confirm", &tag, json!({})));
    for answer in futures::future::join_all(both).await {
        assert_eq!(answer.expect(200)["state"], "confirmed");
    }
    let meals = meals(c).await;
    assert_eq!((meals.len(), &meals[0]["calories"]), (1, &json!(708)));
    assert_eq!(lab.s.sql("SELECT version FROM scans").len(), 1);
}

#[tokio::test]
async fn a_cache_that_forgets_everything_forgets_no_meal() {
    let lab = lab!();
    let c = &lab.c;
    let scan = lab.ready(c).await;
    c.get("/dashboard/state").await.expect(200);
    let client = redis::Client::open(lab.s.servers.redis.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let flush = async |redis: &mut redis::aio::MultiplexedConnection| {
        redis::cmd("FLUSHALL").query_async::<()>(redis).await.unwrap();
    };
    flush(&mut redis).await;
    c.act(&scan, "confirm", json!({})).await.expect(200);
    flush(&mut redis).await;
    let state = c.get("/dashboard/state").await.expect(200).to_string();
    assert!(state.contains("708"), "{state}");
}
