//! What exporters post, and what becomes of it.

use std::io::Write;

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Client, Service, Wish, finish, service};

const NOW: &str = "2026-11-29T09:05:00Z";

async fn start() -> Option<Service> {
    Service::start(Wish {
        now: Some(NOW.parse().unwrap()),
        ..Wish::default()
    })
    .await
}

macro_rules! at_now {
    () => {
        match start().await {
            Some(service) => service,
            None => return,
        }
    };
}

/// An account that is old enough for everything here.
async fn old_user(s: &Service, name: &str) -> Client {
    let c = s.user(name);
    c.get("/me").await.expect(200);
    s.sql("UPDATE users SET created_at = '2026-01-01'");
    c
}

fn record(kind: &str, start: &str, end: &str, value: f64, source: &str) -> Value {
    json!({"kind": kind, "start": start, "end": end, "value": value, "source": source})
}

fn steps(start: &str, end: &str, value: i64, source: &str) -> Value {
    record("steps", start, end, value as f64, source)
}

async fn send(c: &Client, records: Vec<Value>) -> Value {
    c.post("/sync/batch", json!({"records": records}))
        .await
        .expect(200)
}

fn verdicts(answer: &Value) -> Vec<String> {
    let one = |r: &Value| {
        let verdict = r["verdict"].as_str().unwrap();
        r["code"]
            .as_str()
            .map_or(verdict.to_owned(), |code| format!("{verdict} {code}"))
    };
    answer["results"].as_array().unwrap().iter().map(one).collect()
}

async fn day_steps(c: &Client) -> Value {
    c.get("/diary/2026-11-29").await.expect(200)["steps"].clone()
}

#[tokio::test]
async fn stored_duplicate_corrected_and_back_down() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    let one = |n| {
        steps(
            "2026-11-29T08:45:00+01:00",
            "2026-11-29T09:00:00+01:00",
            n,
            "watch",
        )
    };
    assert_eq!(verdicts(&send(&c, vec![one(1709)]).await), ["stored"]);
    let again = send(&c, vec![one(1709)]).await;
    assert_eq!(verdicts(&again), ["duplicate"]);
    let xmin = s.sql("SELECT xmin FROM health_metrics");
    let third = send(&c, vec![one(1709)]).await;
    assert_ne!(again["cursor"], third["cursor"], "the cursor moves on duplicates");
    assert_eq!(
        s.sql("SELECT xmin FROM health_metrics"),
        xmin,
        "a re-sent batch writes nothing"
    );
    assert_eq!(verdicts(&send(&c, vec![one(803)]).await), ["corrected"]);
    assert_eq!(verdicts(&send(&c, vec![one(803)]).await), ["duplicate"]);
    assert_eq!(day_steps(&c).await, 803);
    // An event for what changed, none for duplicates.
    assert_eq!(
        s.sql("SELECT count(*), count(DISTINCT kind) FROM outbox"),
        ["2|1"]
    );
    let far = c.get("/sync/cursor").await.expect(200);
    assert!(far["cursor"].is_string());
    // A new kind in a row that exists is new.
    let hrv = record(
        "hrv_rmssd",
        "2026-11-29T07:45:00Z",
        "2026-11-29T07:45:00Z",
        44.4,
        "watch",
    );
    assert_eq!(
        verdicts(&send(&c, vec![hrv.clone(), one(803)]).await),
        ["stored", "duplicate"]
    );
    assert_eq!(
        s.sql("SELECT steps_delta, hrv_ms, hrv_kind FROM health_metrics"),
        ["803|44|rmssd"]
    );
}

#[tokio::test]
async fn each_bad_record_alone() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    let good = |i: i64| {
        let at = format!(
            "2026-11-{:02}T{:02}:{:02}:00Z",
            10 + i / 96,
            i % 96 / 4,
            i % 4 * 15
        );
        json!({"id": format!("g{i}"), "kind": "resting_hr", "start": at, "value": 60, "source": "watch"})
    };
    let mut records: Vec<Value> = (0..999).map(good).collect();
    records.insert(500, json!({"kind": 7}));
    let answer = send(&c, records).await;
    assert_eq!(
        answer["counts"],
        json!({"stored": 999, "duplicate": 0, "corrected": 0, "rejected": 1})
    );
    assert_eq!(
        answer["results"][500],
        json!({"i": 500, "verdict": "rejected", "code": "malformed"})
    );
    assert_eq!(s.sql("SELECT count(*) FROM health_metrics"), ["999"]);

    let (a, b) = ("2026-11-29T08:00:00Z", "2026-11-29T08:15:00Z");
    let with = |key: &str, value: Value| {
        let mut r = steps(a, b, 10, "watch");
        r[key] = value;
        r
    };
    let cases = [
        (with("start", json!("2046-01-01T00:00:00Z")), "bad_interval"),
        (
            steps("2046-01-01T00:00:00Z", "2046-01-01T00:15:00Z", 1, "watch"),
            "future_time",
        ),
        (
            steps("2026-11-29T09:16:00Z", "2026-11-29T09:20:00Z", 1, "watch"),
            "future_time",
        ),
        (
            steps("2025-11-20T00:00:00Z", "2025-11-20T00:15:00Z", 1, "watch"),
            "before_account",
        ),
        (steps(b, a, 1, "watch"), "bad_interval"),
        (steps(a, a, 1, "watch"), "bad_interval"),
        (
            steps("2026-11-29T00:00:00Z", "2026-11-29T08:00:00Z", 4000, "watch"),
            "interval_too_coarse",
        ),
        (with("value", json!(5001)), "out_of_range"),
        (with("value", json!(-1)), "out_of_range"),
        (with("value", json!("NaN")), "not_finite"),
        (with("value", json!("many")), "malformed"),
        (with("value", Value::Null), "malformed"),
        (with("start", json!("infinity")), "bad_time"),
        (with("start", json!("2026-11-29T08:00:00")), "bad_time"),
        (with("kind", json!("mood")), "unknown_kind"),
        (with("kind", json!("hrv")), "hrv_kind_missing"),
        (with("kind", json!("total_energy_kcal")), "total_energy"),
        (with("source", json!("a\u{0}b")), "bad_text"),
        (record("hrv_sdnn", a, a, 501.0, "watch"), "out_of_range"),
        (record("resting_hr", a, a, 12.0, "watch"), "out_of_range"),
        (json!([]), "malformed"),
        (Value::Null, "malformed"),
    ];
    let answer = send(&c, cases.iter().map(|(r, _)| r.clone()).collect()).await;
    for (i, (r, code)) in cases.iter().enumerate() {
        assert_eq!(answer["results"][i]["code"], *code, "{r}");
    }
    assert_eq!(s.sql("SELECT count(*) FROM health_metrics"), ["999"]);
    assert!(answer["cursor"].is_string(), "it moves although all were refused");
    let twice = send(&c, vec![steps(a, b, 1, "watch"), steps(a, b, 2, "watch")]).await;
    assert_eq!(verdicts(&twice), ["rejected duplicate_in_batch", "stored"]);
}

#[tokio::test]
async fn two_devices_are_merged_and_never_added() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    let slot = |i: i64| format!("2026-11-29T{:02}:{:02}:00Z", i / 4, i % 4 * 15);
    let mut records = Vec::new();
    for i in 0..20 {
        records.push(steps(&slot(i), &slot(i + 1), 100, "watch"));
    }
    for i in 16..36 {
        records.push(steps(&slot(i), &slot(i + 1), 90, "phone"));
    }
    send(&c, records).await;
    assert_eq!(day_steps(&c).await, 20 * 100 + 16 * 90);
    // What the phone's own store merged is believed over both.
    let mut merged = steps(&slot(0), &slot(1), 130, "phone");
    merged["merged"] = json!(true);
    send(&c, vec![merged]).await;
    assert_eq!(day_steps(&c).await, 20 * 100 + 16 * 90 + 30);
    // Without the watch the totals follow.
    let listed = c.get("/sync/sources").await.expect(200);
    assert_eq!(listed.as_array().unwrap().len(), 3);
    assert_eq!(
        c.call(Method::DELETE, "/sync/sources/watch", &[], None)
            .await
            .status,
        204
    );
    assert_eq!(day_steps(&c).await, 130 + 20 * 90);
    c.call(Method::DELETE, "/sync/sources/watch", &[], None)
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn parts_of_a_slot_add_up_over_batches_and_a_whole_replaces_them() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    send(
        &c,
        vec![steps(
            "2026-11-29T07:45:00Z",
            "2026-11-29T07:52:30Z",
            100,
            "watch",
        )],
    )
    .await;
    send(
        &c,
        vec![steps("2026-11-29T07:52:30Z", "2026-11-29T08:00:00Z", 50, "watch")],
    )
    .await;
    assert_eq!(day_steps(&c).await, 150);
    send(
        &c,
        vec![steps(
            "2026-11-29T07:45:00Z",
            "2026-11-29T08:00:00Z",
            140,
            "watch",
        )],
    )
    .await;
    assert_eq!(day_steps(&c).await, 140);
    // A longer one is split by time, and its sum is kept.
    send(
        &c,
        vec![steps(
            "2026-11-29T08:10:00Z",
            "2026-11-29T09:00:00Z",
            101,
            "watch",
        )],
    )
    .await;
    assert_eq!(day_steps(&c).await, 241);
    assert_eq!(
        s.sql("SELECT steps_delta FROM health_metrics WHERE time >= '2026-11-29T08:10Z' ORDER BY time"),
        ["10", "31", "30", "30"]
    );
    // A running total is differenced.
    let total = |end: &str, n: i64| json!({"kind": "steps", "start": "2026-11-28T08:00:00Z", "end": end, "value": n, "source": "phone", "cumulative": true});
    let answer = send(
        &c,
        vec![
            total("2026-11-28T08:30:00Z", 100),
            total("2026-11-28T08:45:00Z", 160),
        ],
    )
    .await;
    assert_eq!(verdicts(&answer), ["stored", "stored"]);
    assert_eq!(c.get("/diary/2026-11-28").await.expect(200)["steps"], 160);
}

#[tokio::test]
async fn deletions_clear_and_totals_follow() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    send(
        &c,
        vec![
            steps("2026-11-29T07:45:00Z", "2026-11-29T08:00:00Z", 100, "watch"),
            steps("2026-11-29T08:00:00Z", "2026-11-29T08:15:00Z", 40, "watch"),
            record(
                "active_energy_kcal",
                "2026-11-29T08:00:00Z",
                "2026-11-29T08:15:00Z",
                20.5,
                "watch",
            ),
        ],
    )
    .await;
    let deletion = json!({"source": "watch", "kind": "steps", "from": "2026-11-29T07:50:00Z", "to": "2026-11-29T09:00:00Z"});
    let answer = c
        .post("/sync/batch", json!({"records": [], "deletions": [deletion]}))
        .await
        .expect(200);
    assert_eq!(answer["deleted"], 1);
    assert_eq!(day_steps(&c).await, 100);
    assert_eq!(
        c.get("/diary/2026-11-29").await.expect(200)["active_energy_kcal"],
        20.5
    );
    assert_eq!(s.sql("SELECT count(*) FROM health_metrics"), ["2"]);
}

async fn raw(c: &Client, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let mut request = c
        .http
        .post(format!("{}{path}", c.base))
        .bearer_auth(&c.token)
        .header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    finish(request.body(body)).await
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut e = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    e.write_all(bytes).unwrap();
    e.finish().unwrap()
}

#[tokio::test]
async fn packed_bodies_within_both_limits() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    let batch =
        json!({"records": [steps("2026-11-29T07:45:00Z", "2026-11-29T08:00:00Z", 5, "watch")]}).to_string();
    let packed = gzip(batch.as_bytes());
    let good = raw(&c, "/sync/batch", &[("content-encoding", "gzip")], packed.clone())
        .await
        .expect(200);
    assert_eq!(verdicts(&good), ["stored"]);
    raw(&c, "/sync/batch", &[("content-encoding", "br")], packed.clone())
        .await
        .refused(415, "unsupported_media_type");
    raw(
        &c,
        "/sync/batch",
        &[("content-encoding", "gzip")],
        b"no gzip".to_vec(),
    )
    .await
    .refused(400, "bad_request");
    raw(
        &c,
        "/sync/batch",
        &[("content-encoding", "gzip")],
        packed[..packed.len() - 9].to_vec(),
    )
    .await
    .refused(400, "bad_request");
    // 64 MiB of spaces in 64 KiB.
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 100_000);
    raw(&c, "/sync/batch", &[("content-encoding", "gzip")], bomb)
        .await
        .refused(413, "body_too_large");
    // Too much on the wire, told by its length or not.
    raw(&c, "/sync/batch", &[], vec![b' '; 3 << 20])
        .await
        .refused(413, "body_too_large");
    let chunks = (0..48).map(|_| Ok::<_, std::io::Error>(vec![b' '; 64 << 10]));
    let stream = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    let request = c
        .http
        .post(format!("{}/sync/batch", c.base))
        .bearer_auth(&c.token)
        .header("content-type", "application/json");
    finish(request.body(stream)).await.refused(413, "body_too_large");
    let many: Vec<Value> = vec![json!({}); 10_001];
    c.post("/sync/batch", json!({"records": many}))
        .await
        .refused(413, "too_many_records");
    raw(&c, "/sync/batch", &[], "[".repeat(100_000).into_bytes())
        .await
        .refused(422, "invalid_field");
    raw(&c, "/sync/batch", &[], b"{\"records\": 5}".to_vec())
        .await
        .refused(422, "invalid_field");
    // Nothing that a token is missing for is unpacked.
    let nobody = s.with_token(String::new());
    nobody
        .post("/sync/batch", json!({"records": []}))
        .await
        .refused(401, "token_missing");
}

#[tokio::test]
async fn health_auto_export() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    c.patch("/profile", json!({"timezone": "Europe/Berlin"}))
        .await
        .expect(200);
    let body = json!({"data": {"metrics": [
        {"name": "step_count", "units": "count", "data": [
            {"qty": 12, "date": "2026-11-29 08:45:00 +0100", "source": "Ada's Apple Watch"},
            {"qty": 30, "date": "2026-11-29 08:46:00 +0100", "source": "Ada's Apple Watch"},
            {"qty": 31, "date": "2026-11-29 08:46:00 +0100", "source": "iPhone"}]},
        {"name": "active_energy", "units": "kJ", "data": [{"qty": 83.68, "date": "2026-11-29 08:45:00 +0100", "source": "Ada's Apple Watch"}]},
        {"name": "resting_heart_rate", "units": "bpm", "data": [{"qty": 57, "date": "2026-11-29 00:00:00 +0100"}]},
        {"name": "heart_rate_variability", "units": "ms", "data": [{"qty": 46.2, "date": "2026-11-29 06:10:00 +0100", "source": "Watch"}]},
        {"name": "heart_rate", "units": "bpm", "data": [{"Min": 50, "Avg": 60, "Max": 70, "date": "2026-11-29 06:10:00 +0100"}]},
        {"name": "sleep_analysis", "units": "hr", "data": [
            {"date": "2026-11-29", "totalSleep": 8, "asleep": 0, "core": 5, "deep": 1.5, "rem": 1.5, "awake": 0.2,
             "sleepStart": "2026-11-28 22:40:00 +0100", "sleepEnd": "2026-11-29 06:52:00 +0100", "inBed": 8.5, "source": "Watch"},
            {"date": "2026-11-28", "totalSleep": 1, "sleepEnd": "2026-11-28 15:00:00 +0100"}]}],
        "workouts": [{"activeEnergyBurned": {"qty": 425, "units": "kcal"}}]}});
    let path = "/sync/adapters/health_auto_export";
    let header = [("automation-aggregation", "minutes")];
    let answer = c.call(Method::POST, path, &header, Some(&body)).await.expect(200);
    let stored = ["stored"; 6].map(str::to_owned);
    assert_eq!(verdicts(&answer)[..6], stored);
    assert_eq!(
        verdicts(&answer)[6..],
        ["rejected unknown_kind", "stored", "rejected not_a_night"]
    );
    assert_eq!(answer["ignored"], 1);
    // The next run overlaps this one.
    let again = c.call(Method::POST, path, &header, Some(&body)).await.expect(200);
    assert_eq!(again["counts"]["duplicate"], 7);
    let day = c.get("/diary/2026-11-29").await.expect(200);
    assert_eq!(
        (&day["steps"], &day["active_energy_kcal"]),
        (&json!(42), &json!(20.0))
    );
    assert_eq!(
        s.sql("SELECT hrv_kind FROM health_metrics WHERE hrv_ms IS NOT NULL"),
        ["sdnn"]
    );
    assert_eq!(c.get("/energy").await.expect(200)["components"]["sleep"], 100.0);
    // A day's total is no measure of a moment.
    let total = json!({"data": {"metrics": [{"name": "step_count", "units": "count", "data": [
        {"qty": 4157, "date": "2026-11-28 00:00:00 +0100"}, {"qty": 3000, "date": "2026-11-29 00:00:00 +0100"}]}]}});
    let answer = c.call(Method::POST, path, &[], Some(&total)).await.expect(200);
    assert_eq!(verdicts(&answer), ["rejected interval_too_coarse"; 2]);
    c.call(Method::POST, path, &[], Some(&json!({"metrics": []})))
        .await
        .refused(422, "invalid_field");
}

#[tokio::test]
async fn open_wearables() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    c.patch("/profile", json!({"timezone": "Asia/Kolkata"}))
        .await
        .expect(200);
    let night = |stage: &str, a: &str, b: &str| json!({"id": "s", "stage": stage, "startDate": a, "endDate": b, "zoneOffset": null, "source": {"deviceType": "watch"}});
    let body = json!({"provider": "google", "sdkVersion": "0.11.0", "syncTimestamp": NOW, "data": {"records": [
        {"id": "hc-91", "type": "STEP_COUNT", "startDate": "2026-11-28T18:45:00Z", "endDate": "2026-11-28T18:52:30Z",
         "zoneOffset": "+05:30", "value": 388, "unit": "count", "source": {"appId": "com.example.fit", "deviceType": "phone"}},
        {"id": "hc-92", "type": "HEART_RATE_VARIABILITY", "startDate": "2026-11-29T08:10:00Z", "endDate": "2026-11-29T08:10:00Z",
         "zoneOffset": "+05:30", "value": 39.5, "unit": "ms", "metadata": {"method": "rmssd"}, "source": {"deviceType": "watch"}},
        {"id": "ios", "type": "HKQuantityTypeIdentifierHeartRateVariabilitySDNN", "startDate": "2026-11-29T08:20:00Z",
         "endDate": "2026-11-29T08:21:00Z", "zoneOffset": null, "value": 39.5, "unit": "ms", "source": {"deviceType": "watch", "productType": "Watch7,2"}},
        {"id": "tot", "type": "TOTAL_CALORIES_BURNED", "startDate": "2026-11-29T08:00:00Z", "endDate": "2026-11-29T08:15:00Z", "value": 90, "unit": "kcal"},
        {"id": "odd", "type": "HEART_RATE_VARIABILITY", "startDate": "2026-11-29T08:10:00Z", "value": 39.5, "metadata": {"method": "pnn50"}},
        {"id": "bad", "type": "STEP_COUNT", "startDate": "yesterday", "value": 1},
        {"id": "loc", "type": "STEP_COUNT", "startDate": "2026-11-29T13:00:00", "endDate": "2026-11-29T13:10:00", "zoneOffset": "+05:30", "value": 12, "source": {"deviceType": "phone"}}],
        "sleep": [night("light", "2026-11-28T17:00:00Z", "2026-11-28T22:00:00Z"),
                  night("deep", "2026-11-28T22:00:00Z", "2026-11-28T23:30:00Z"),
                  night("rem", "2026-11-28T23:30:00Z", "2026-11-29T01:00:00Z"),
                  night("light", "2026-11-29T05:00:00Z", "2026-11-29T05:30:00Z")],
        "workouts": [{}]}});
    let answer = c
        .post("/sync/adapters/open_wearables", body.clone())
        .await
        .expect(200);
    assert_eq!(
        verdicts(&answer),
        [
            "stored",
            "stored",
            "stored",
            "rejected total_energy",
            "rejected hrv_kind_missing",
            "rejected bad_time",
            "stored",
            "stored",
            "stored",
            "stored",
            "rejected not_a_night"
        ]
    );
    assert_eq!(answer["results"][0]["id"], "hc-91");
    // 00:15 in Kolkata is the 29th.
    assert_eq!(day_steps(&c).await, 400);
    assert_eq!(
        s.sql("SELECT hrv_kind FROM health_metrics WHERE hrv_ms IS NOT NULL ORDER BY time"),
        ["rmssd", "sdnn"]
    );
    assert_eq!(
        s.sql("SELECT source FROM health_metrics WHERE steps_delta = 388"),
        ["phone:com.example.fit"]
    );
    assert_eq!(
        c.post("/sync/adapters/open_wearables", body).await.expect(200)["counts"]["duplicate"],
        7
    );
}

#[tokio::test]
async fn sparky() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    let body = json!([
        {"type": "step", "value": 6120, "date": "2026-11-28", "source": "HealthKit"},
        {"type": "HRV_SDNN_avg", "value": 44, "unit": "ms", "date": "2026-11-28", "source": "HealthKit", "record_timezone": "Europe/Berlin"},
        {"type": "Active Calories", "value": 12.5, "timestamp": "2026-11-29T08:00:00Z", "source": "Watch"},
        {"nonsense": true}]);
    let answer = c.post("/sync/adapters/sparky", body).await.expect(200);
    assert_eq!(
        verdicts(&answer),
        [
            "rejected interval_too_coarse",
            "stored",
            "stored",
            "rejected malformed"
        ]
    );
    assert_eq!(answer["errors"], json!([]));
    assert_eq!(
        (
            answer["processed"].as_array().unwrap().len(),
            answer["skipped"].as_array().unwrap().len()
        ),
        (2, 2)
    );
    assert_eq!(
        s.sql("SELECT time FROM health_metrics WHERE hrv_ms = 44"),
        ["2026-11-28 03:00:00+00"]
    );
    assert_eq!(
        c.get("/profile").await.expect(200)["timezone"],
        "Europe/Berlin",
        "taken while none was set"
    );
    // All of it refused is still a success, or it would come back for ever.
    let refused = json!([{"type": "step", "value": 6120, "date": "2026-11-28"}]);
    c.post("/sync/adapters/sparky", refused).await.expect(200);
    c.post("/sync/adapters/other", json!({}))
        .await
        .refused(404, "not_found");
}

#[tokio::test]
async fn a_year_in_chunks_goes_on_after_a_cut_and_duplicates_end_in_two_requests() {
    let limits = bio_bff::routes::Limits {
        sync_grace: std::time::Duration::from_secs(400 * 86_400),
        ..Default::default()
    };
    let s = service!(Wish {
        now: Some(NOW.parse().unwrap()),
        limits,
        ..Wish::default()
    });
    let c = s.user("a");
    let chunk = |n: i64| -> Vec<Value> {
        (0..36)
            .map(|d| {
                let day = jiff::civil::date(2025, 12, 1)
                    .checked_add(jiff::Span::new().days(n * 36 + d))
                    .unwrap();
                steps(
                    &format!("{day}T10:00:00Z"),
                    &format!("{day}T10:15:00Z"),
                    100,
                    "watch",
                )
            })
            .collect()
    };
    // Newest first, cut at 60 %, then all of it again.
    for n in [9, 8, 7, 6, 5, 4] {
        send(&c, chunk(n)).await;
    }
    let mut cursors = std::collections::HashSet::new();
    for n in (0..10).rev() {
        let answer = send(&c, chunk(n)).await;
        assert_eq!(answer["counts"][if n >= 4 { "duplicate" } else { "stored" }], 36);
        assert!(cursors.insert(answer["cursor"].to_string()));
    }
    assert_eq!(s.sql("SELECT sum(steps_delta) FROM health_metrics"), ["36000"]);
    let nothing = c
        .post("/sync/batch", json!({"records": [], "cursor": "abc"}))
        .await
        .expect(200);
    assert_eq!(nothing["cursor"], "abc");
}

#[tokio::test]
async fn two_syncs_at_once_agree_on_who_was_first() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    let one = || {
        send(
            &c,
            vec![steps("2026-11-29T07:45:00Z", "2026-11-29T08:00:00Z", 5, "watch")],
        )
    };
    let all = futures::future::join_all((0..8).map(|_| one())).await;
    let count = |v: &str| all.iter().filter(|a| verdicts(a) == [v]).count();
    assert_eq!((count("stored"), count("duplicate")), (1, 7));
}

#[tokio::test]
async fn ten_thousand_records_in_one_batch() {
    let s = at_now!();
    let c = old_user(&s, "a").await;
    let records: Vec<Value> = (0..10_000i64)
        .map(|i| {
            let at: jiff::Timestamp = "2026-08-01T00:00:00Z".parse().unwrap();
            let (a, b) = (
                at + jiff::SignedDuration::from_mins(15 * i),
                at + jiff::SignedDuration::from_mins(15 * i + 15),
            );
            steps(&a.to_string(), &b.to_string(), 7, "watch")
        })
        .collect();
    let body = json!({"records": records});
    for verdict in ["stored", "duplicate"] {
        let begun = std::time::Instant::now();
        let answer = c.post("/sync/batch", body.clone()).await.expect(200);
        eprintln!("10,000 records, {verdict}: {:?}", begun.elapsed());
        assert_eq!(answer["counts"][verdict], 10_000);
    }
}
