//! Many scans at once. The figures are printed by scripts/bff-scan-figures.sh, on a quiet machine; here only that nothing
//! is lost.

use std::time::{Duration, Instant};

use bio_bff::dev::vision::VisionService;
use serde_json::{Value, json};
use sqlx::postgres::PgListener;

use super::{JPEG, Lab, begin, id, lab, put, real};
use crate::events::Worker;
use crate::harness::Client;

fn asked(name: &str, usual: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(usual)
}

/// Reconcilers as a worker runs them, two of them.
async fn reconcile_until(lab: &Lab, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(300), "too slow");
        let (a, b) = tokio::join!(lab.scans().reconcile(), lab.scans().reconcile());
        a.unwrap();
        b.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// `BFF_QUEUED` says how many; with 1,000 it takes a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_queue_before_a_slow_service_is_worked_off_to_the_last() {
    let lab = lab!();
    let n = asked("BFF_QUEUED", 60);
    let users: Vec<Client> = (0..n.div_ceil(40))
        .map(|u| lab.s.user(&format!("user-{u}")))
        .collect();
    for i in 0..n {
        let scan = lab.upload(&users[i / 40]).await;
        lab.tell(&scan).await.expect(200);
    }
    assert_eq!(lab.vision.jobs().len(), n);
    // Two workers that take a job each, in their order, and whose webhooks are all lost.
    let handle = lab.vision.handle();
    let service = tokio::spawn(async move {
        while handle.end_next(2) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let ready = || lab.s.sql("SELECT count(*) FROM scans WHERE state = 'ready'") == [n.to_string()];
    reconcile_until(&lab, ready).await;
    service.await.unwrap();
    assert_eq!(lab.vision.jobs().len(), n, "one job a scan");
    assert_eq!(
        lab.s.sql(
            "SELECT count(*), count(DISTINCT scan_id) FROM food_logs WHERE status = 'pending_confirmation'"
        ),
        [format!("{n}|{n}")]
    );
}

/// As many jobs straight to the vision service, until the last has ended.
async fn vision_alone(vision: &VisionService, photo: &str, n: usize) -> Duration {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = json!({"input": {"image": {"url": photo}, "pitch_deg": 25, "options": {"overlay": true, "depth": true}}});
    let begun = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..n {
        let run = http.post(vision.url.join("run").unwrap()).json(&body);
        let answer: Value = run.send().await.unwrap().json().await.unwrap();
        ids.push(answer["id"].as_str().unwrap().to_owned());
    }
    for id in ids {
        let status = vision.url.join(&format!("status/{id}")).unwrap();
        loop {
            let answer = http.get(status.clone()).send().await.unwrap();
            let answer: Value = answer.json().await.unwrap();
            match answer["status"].as_str().unwrap() {
                "COMPLETED" => break,
                "IN_QUEUE" | "IN_PROGRESS" => tokio::time::sleep(Duration::from_millis(50)).await,
                other => panic!("{other}: {answer}"),
            }
        }
    }
    begun.elapsed()
}

/// `BFF_IN_FLIGHT` says how many; scripts/bff-scan-figures.sh takes 200.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_scans_in_flight_through_the_vision_service() {
    let Some(real) = real::start(&["--engine", "stub", "--stub-latency", "50ms"]).await else {
        return;
    };
    let s = &real.s;
    let n = asked("BFF_IN_FLIGHT", 24);
    let w = Worker::of(s);
    let photo = std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../fixtures/plates/scene_005/photo.jpg"
    ))
    .unwrap();
    let begun = Instant::now();
    let flights = (0..n).map(|i| {
        let (c, photo) = (s.user(&format!("user-{}", i % 8)), photo.clone());
        async move {
            let body = serde_json::json!({"photos": [{"content_type": "image/jpeg", "bytes": photo.len(), "pitch_deg": 25}]});
            let new = c.post("/scans", body).await.expect(201);
            put(&c, &new["uploads"][0], &photo).await.expect(200);
            let scan = id(&new["scan"]);
            c.post(&format!("/scans/{scan}/uploaded"), serde_json::json!({})).await.expect(200);
            scan
        }
    });
    let scans = futures::future::join_all(flights).await;
    let sent = begun.elapsed();
    let scan_machine = w.hands.scans.as_ref().unwrap();
    let ready = || s.sql("SELECT count(*) FROM scans WHERE state = 'ready'") == [n.to_string()];
    while !ready() {
        assert!(
            begun.elapsed() < Duration::from_secs(400),
            "{:?}",
            s.sql("SELECT state, error, count(*) FROM scans GROUP BY 1, 2")
        );
        scan_machine.reconcile().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let took = begun.elapsed();
    eprintln!("{n} scans sent in {sent:.1?}, all ready after {took:.1?}");
    if std::env::var_os("BFF_IN_FLIGHT").is_some() {
        let objects = real.s3.objects("uploads");
        objects.put("alone.jpg", "image/jpeg", photo).await.unwrap();
        let url = objects
            .presign_get("alone.jpg", Duration::from_secs(3600))
            .await
            .unwrap();
        let alone = vision_alone(&real.vision, &url, n).await;
        eprintln!("of it {alone:.1?} is what the vision service takes for {n} such jobs without bio-bff");
    }
    // Through the real service: a correction and a confirmation.
    let (scan, c) = (&scans[0], s.user("user-0"));
    let body = serde_json::json!({"edits": [{"item": "item-1", "grams": 100}]});
    let corrected = c.patch(&format!("/scans/{scan}"), body).await.expect(200);
    assert_eq!(corrected["result"]["items"][0]["mass_g"]["p50"], 100.0);
    assert_eq!(corrected["result"]["items"][0]["origins"]["mass"], "told");
    let done = c.act(scan, "confirm", serde_json::json!({})).await.expect(200);
    assert_eq!(done["state"], "confirmed");
}

/// What this service adds between the end of an upload and the notification, with a vision service that takes no time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a figure: scripts/bff-scan-figures.sh"]
async fn figures_of_one_scan() {
    let lab = lab!();
    let url = lab.s.servers.postgres.url("api_login", &lab.s.database);
    let mut notices = PgListener::connect(&url).await.unwrap();
    notices.listen(bio_bff::store::notices::CHANNEL).await.unwrap();
    let mut took = Vec::new();
    for round in 0..110 {
        let new = begin(&lab.c, 1).await;
        let scan = id(&new["scan"]);
        put(&lab.c, &new["uploads"][0], JPEG).await.expect(200);
        let uploaded = Instant::now();
        lab.tell(&scan).await.expect(200);
        let in_vision = Instant::now();
        let (job, webhook) = lab.vision.end_last();
        let in_vision = in_vision.elapsed();
        lab.vision.call(&job, &webhook, 0).await;
        while lab.state(&lab.c, &scan).await != "ready" {}
        notices.recv().await.unwrap();
        let ms = (uploaded.elapsed() - in_vision).as_secs_f64() * 1e3;
        if round >= 10 {
            took.push(ms);
        }
        lab.c
            .act(&scan, "reject", serde_json::json!({}))
            .await
            .expect(200);
        while tokio::time::timeout(Duration::from_millis(1), notices.recv())
            .await
            .is_ok()
        {}
    }
    took.sort_by(f64::total_cmp);
    eprintln!(
        "upload to notification: p50 {:.1} ms, p95 {:.1} ms, of {}",
        took[49],
        took[94],
        took.len()
    );
}
