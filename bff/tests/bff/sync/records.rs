//! Records in our own shape: stored, duplicate, corrected, rejected, deleted.

use reqwest::Method;
use serde_json::{Value, json};

use super::{at_now, day_steps, old_user, record, send, steps, verdicts};

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
