//! What other people's exporters post.

use reqwest::Method;
use serde_json::json;

use super::{NOW, at_now, day_steps, old_user, verdicts};

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
