//! A user corrects, on one phone or two.

use reqwest::Method;
use serde_json::{Value, json};

use super::lab;
use crate::harness::Answer;

async fn correct(c: &crate::harness::Client, scan: &str, tag: &str, edits: Value) -> Answer {
    let body = json!({ "edits": edits });
    c.call(
        Method::PATCH,
        &format!("/scans/{scan}"),
        &[("if-match", tag)],
        Some(&body),
    )
    .await
}

#[tokio::test]
async fn told_grams_win_and_the_original_stays() {
    let lab = lab!();
    let c = &lab.c;
    let scan = lab.ready(c).await;
    let path = format!("/scans/{scan}");
    let tag = c.get(&path).await.etag();
    let first = correct(
        c,
        &scan,
        &tag,
        json!([{"item": "item_2", "label": "Veggie patty"}]),
    )
    .await;
    let tag = first.etag();
    let first = first.expect(200);
    assert_eq!(first["result"]["items"][1]["label"], "Veggie patty");
    let second = correct(c, &scan, &tag, json!([{"item": "item_2", "grams": 100}]))
        .await
        .expect(200);
    // Both statements hold; the original is as it was.
    assert_eq!(
        second["edits"],
        json!([{"item": "item_2", "label": "Veggie patty", "grams": 100.0}])
    );
    let item = &second["result"]["items"][1];
    assert_eq!(
        (&item["label"], &item["mass_g"]["p50"]),
        (&json!("Veggie patty"), &json!(100.0))
    );
    assert_eq!(
        item["origins"],
        json!({"label": "told", "volume": "measured", "density": "looked_up",
        "mass": "told", "nutrients": "looked_up"})
    );
    assert_eq!(second["original_result"]["items"][1]["label"], "burger patty");
    assert!(second["result"].get("original").is_none());
    let meal = &c.get("/food_logs").await.expect(200)["items"][0];
    assert_eq!(meal["status"], "pending_confirmation");
    // 708.02 - 547.55 (1 - 100/219.02), rounded.
    assert_eq!(meal["calories"], 410);
    assert_eq!(meal["meta_data"]["items"][1]["origins"]["mass"], "told");
    // All of it taken back: nothing has to be computed.
    let computed = lab.vision.recomputed();
    let tag = c.get(&path).await.etag();
    let back = correct(
        c,
        &scan,
        &tag,
        json!([{"item": "item_2", "label": null, "grams": null}]),
    )
    .await
    .expect(200);
    assert_eq!(
        (&back["edits"], &back["original_result"]),
        (&json!([]), &Value::Null)
    );
    assert_eq!(lab.vision.recomputed(), computed);
    c.act(&scan, "confirm", json!({})).await.expect(200);
    assert_eq!(c.get("/food_logs").await.expect(200)["items"][0]["calories"], 708);
    let tag = c.get(&path).await.etag();
    correct(c, &scan, &tag, json!([{"item": "item_1", "grams": 10}]))
        .await
        .refused(409, "scan_state");
    // The database itself refuses to change what was measured.
    let changed = lab
        .s
        .servers
        .postgres
        .sql(&lab.s.database, "UPDATE scans SET original_result = '{}'");
    assert!(changed.unwrap_err().to_string().contains("does not change"));
}

#[tokio::test]
async fn two_phones_do_not_overwrite_each_other() {
    let lab = lab!();
    let c = &lab.c;
    let scan = lab.ready(c).await;
    let tag = c.get(&format!("/scans/{scan}")).await.etag();
    let (a, b) = tokio::join!(
        correct(c, &scan, &tag, json!([{"item": "item_1", "grams": 50}])),
        correct(c, &scan, &tag, json!([{"item": "item_2", "grams": 60}])),
    );
    let (won, lost) = if a.status == 200 { (a, b) } else { (b, a) };
    let won = won.expect(200);
    let lost = lost.refused(412, "version_stale");
    assert_eq!(lost["current"]["edits"], won["edits"]);
    assert_eq!(won["edits"].as_array().unwrap().len(), 1);
    // The second phone reads and says it again.
    let tag = lost["etag"].as_str().unwrap();
    let both = correct(c, &scan, tag, json!([{"item": "item_1", "note": "left half"}]))
        .await
        .expect(200);
    assert!(both["edits"].to_string().contains("left half"));
    c.act_from(&scan, "confirm", tag, json!({}))
        .await
        .refused(412, "version_stale");
    c.call(
        Method::PATCH,
        &format!("/scans/{scan}"),
        &[],
        Some(&json!({"edits": []})),
    )
    .await
    .refused(428, "version_required");
}

#[tokio::test]
async fn what_cannot_be_said_is_refused_and_changes_nothing() {
    let lab = lab!();
    let c = &lab.c;
    let scan = lab.ready(c).await;
    let before = c.get(&format!("/scans/{scan}")).await;
    for edits in [
        json!([]),
        json!([{"item": "item_9", "grams": 5}]),
        json!([{"item": "item_1", "grams": 0}]),
        json!([{"item": "item_1", "grams": 50000}]),
        json!([{"item": "item_1", "note": "x".repeat(10_000)}]),
        json!([{"item": "item_1", "colour": "red"}]),
        json!(vec![json!({"item": "item_1", "grams": 5}); 65]),
        json!("all of it"),
    ] {
        correct(c, &scan, &before.etag(), edits)
            .await
            .refused(422, "invalid_field");
    }
    // The vision service is away: nothing is lost, and nothing is half done.
    lab.vision.set(|s| s.away = true);
    let told = json!([{"item": "item_1", "grams": 50}]);
    correct(c, &scan, &before.etag(), told.clone())
        .await
        .refused(503, "vision_unavailable");
    let still = c.get(&format!("/scans/{scan}")).await;
    assert_eq!(
        (still.etag(), &still.json()["edits"]),
        (before.etag(), &json!([]))
    );
    lab.vision.set(|s| s.away = false);
    correct(c, &scan, &before.etag(), told).await.expect(200);
}
