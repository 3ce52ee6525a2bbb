//! Things that are made, read, changed and removed.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Wish, service};

#[tokio::test]
async fn profile_by_version() {
    let s = service!();
    let c = s.user("a");
    let first = c.get("/profile").await;
    let tag = first.etag();
    assert_eq!(first.expect(200)["timezone"], Value::Null);
    c.call(Method::PATCH, "/profile", &[], Some(&json!({})))
        .await
        .refused(428, "version_required");
    let full = json!({"height_cm": 180, "weight_kg": 80.25, "birth_date": "1996-06-10", "gender": "male",
        "primary_goal": "fat_loss", "dietary_preference": "vegan", "allergies": ["nuts"], "is_fasting_enabled": true,
        "fasting_start_time": "20:00", "fasting_end_time": "12:00:30", "timezone": "Europe/Berlin"});
    let done = c
        .call(Method::PATCH, "/profile", &[("if-match", &tag)], Some(&full))
        .await;
    let new_tag = done.etag();
    let body = done.expect(200);
    assert_eq!(
        (&body["weight_kg"], &body["fasting_end_time"]),
        (&json!(80.25), &json!("12:00:00"))
    );
    let stale = c
        .call(
            Method::PATCH,
            "/profile",
            &[("if-match", &tag)],
            Some(&json!({"height_cm": 170})),
        )
        .await;
    let stale = stale.refused(412, "version_stale");
    assert_eq!(stale["current"]["height_cm"], 180);
    assert_eq!(stale["etag"], json!(new_tag));
    let cleared = c
        .patch("/profile", json!({"height_cm": null, "gender": null}))
        .await
        .expect(200);
    assert_eq!(
        (&cleared["height_cm"], &cleared["weight_kg"]),
        (&Value::Null, &json!(80.25))
    );
    for (field, bad) in [
        ("height_cm", json!(9)),
        ("weight_kg", json!(-1)),
        ("birth_date", json!("2999-01-01")),
        ("birth_date", json!("yesterday")),
        ("timezone", json!("Mars/Base")),
        ("timezone", json!("+01:00")),
        ("fasting_end_time", json!("20:00")),
        ("fasting_end_time", Value::Null),
        ("gender", json!("x".repeat(21))),
        ("allergies", json!(["a\u{0}b"])),
        ("allergies", json!(vec!["a"; 101])),
        ("sleep_time", json!("07:00")),
        ("surprise", json!(1)),
    ] {
        let answer = c
            .patch("/profile", json!({ field: bad }))
            .await
            .refused(422, "invalid_field");
        let pointer = answer["errors"][0]["pointer"].as_str().unwrap();
        assert!(
            pointer.starts_with(&format!("/{field}")) || field == "surprise",
            "{field} {pointer}"
        );
    }
}

#[tokio::test]
async fn plan_is_made_by_its_first_reader_and_follows_the_profile() {
    let now = "2026-06-10T11:00:00Z".parse().unwrap();
    let s = service!(Wish {
        now: Some(now),
        ..Wish::default()
    });
    let c = s.user("a");
    let empty = c.get("/plan").await.expect(200);
    assert_eq!(
        (&empty["date"], &empty["target_calories"]),
        (&json!("2026-06-10"), &Value::Null)
    );
    assert_eq!(
        empty["missing"],
        json!(["height_cm", "weight_kg", "birth_date", "primary_goal"])
    );
    let body = json!({"height_cm": 165, "weight_kg": 62, "birth_date": "1998-06-10", "gender": "female",
                      "primary_goal": "maintain"});
    c.patch("/profile", body).await.expect(200);
    let plan = c.get("/plan").await.expect(200);
    assert_eq!(
        (&plan["target_calories"], &plan["target_protein"]),
        (&json!(1857), &json!(87))
    );
    c.post("/plan/accept", json!({"food": "Cake"}))
        .await
        .refused(409, "no_suggestion");
    // A day later the weight has changed: yesterday keeps its target.
    s.clock.set("2026-06-11T11:00:00Z".parse().unwrap());
    let c = s.user("a");
    c.patch("/profile", json!({"weight_kg": 90, "timezone": "Asia/Tokyo"}))
        .await
        .expect(200);
    assert_eq!(
        c.get("/diary/2026-06-10").await.expect(200)["target_calories"],
        1857
    );
    assert_ne!(c.get("/plan").await.expect(200)["target_calories"], 1857);
    // And the zone that it was lived in.
    assert_eq!(c.get("/diary/2026-06-10").await.expect(200)["timezone"], "UTC");
    assert_eq!(
        c.get("/diary/2026-06-11").await.expect(200)["timezone"],
        "Asia/Tokyo"
    );
}

#[tokio::test]
async fn pantry_in_order_of_expiry_by_pages() {
    let s = service!();
    let c = s.user("a");
    for (name, date) in [
        ("c", json!(null)),
        ("a", json!("2026-01-02")),
        ("b", json!("2026-03-01")),
        ("d", json!(null)),
    ] {
        c.post("/pantry", json!({"item_name": name, "expiry_date": date}))
            .await
            .expect(201);
    }
    let (mut names, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = c.get(&format!("/pantry?limit=1{cursor}")).await.expect(200);
        names.push(page["items"][0]["item_name"].as_str().unwrap().to_owned());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(names[..2], ["a", "b"]);
    assert_eq!(names.len(), 4);
    for bad in ["limit=0", "limit=201", "limit=x"] {
        c.get(&format!("/pantry?{bad}"))
            .await
            .refused(422, "invalid_field");
    }
    c.get(&format!("/food_logs?limit=1{cursor}"))
        .await
        .refused(400, "cursor_invalid");
    s.user("b")
        .get(&format!("/pantry?limit=1{cursor}"))
        .await
        .refused(400, "cursor_invalid");
    c.get("/pantry?cursor=AAAA").await.refused(400, "cursor_invalid");
    // Removed is gone from view and kept for the export.
    let id = c.get("/pantry?limit=1").await.expect(200)["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    c.delete(&format!("/pantry/{id}")).await.expect(204);
    c.get(&format!("/pantry/{id}")).await.refused(404, "not_found");
    assert_eq!(
        s.sql("SELECT count(*) FROM pantry_inventory WHERE is_deleted"),
        ["1"]
    );
}

#[tokio::test]
async fn meals_move_between_days_and_keep_their_numbers() {
    let now = "2026-06-10T20:00:00Z".parse().unwrap();
    let s = service!(Wish {
        now: Some(now),
        ..Wish::default()
    });
    let c = s.user("a");
    let meal = json!({"log_time": "2026-06-10T10:00:00.123456789+02:00", "food_name": "Bread", "calories": 170,
        "protein_g": 5, "carbs_g": 30, "fats_g": 3, "meal_type": "breakfast",
        "meta_data": {"breakdown": {"bread": 120, "butter": 50}}});
    let made = c.post("/food_logs", meal).await.expect(201);
    assert_eq!(made["log_time"], "2026-06-10T08:00:00.123456Z");
    assert_eq!(made["warnings"], json!([]));
    let path = format!("/food_logs/{}", made["id"].as_str().unwrap());
    assert_eq!(
        c.get("/diary/2026-06-10").await.expect(200)["totals"]["calories"],
        170
    );
    c.patch(
        &path,
        json!({"log_time": "2026-06-09T10:00:00Z", "calories": 400}),
    )
    .await
    .expect(200);
    assert_eq!(
        c.get("/diary/2026-06-10").await.expect(200)["totals"]["calories"],
        0
    );
    assert_eq!(
        c.get("/diary/2026-06-09").await.expect(200)["totals"]["calories"],
        400
    );
    assert_eq!(
        c.get(&path).await.expect(200)["warnings"],
        json!(["macros_inconsistent"])
    );
    c.patch(&path, json!({"status": "rejected"})).await.expect(200);
    assert_eq!(c.get("/diary/2026-06-09").await.expect(200)["totals"]["meals"], 0);
    for (field, bad) in [
        ("log_time", json!("2026-06-12T20:00:01Z")),
        ("log_time", json!("1999-12-31T00:00:00Z")),
        ("log_time", json!("infinity")),
        ("calories", json!(-1)),
        ("calories", json!(1.5)),
        ("food_name", json!("")),
        ("food_name", json!("x".repeat(201))),
        ("meal_type", json!("feast")),
        ("meta_data", json!({"a\u{0}": 1})),
        ("meta_data", json!({"a": "x".repeat(40_000)})),
        ("status", json!("eaten")),
    ] {
        c.patch(&path, json!({ field: bad }))
            .await
            .refused(422, "invalid_field");
    }
    c.delete(&path).await.expect(204);
    c.get(&path).await.refused(404, "not_found");
}

/// PostgreSQL writes a jsonb number out in full: 309 digits, or 324 places.
#[tokio::test]
async fn the_largest_and_smallest_numbers_come_back() {
    let s = service!();
    let c = s.user("a");
    let extremes =
        json!({"largest": f64::MAX, "smallest": -f64::MIN_POSITIVE, "tiny": 5e-324, "third": 1.0 / 3.0});
    let made = c
        .post("/food_logs", json!({"food_name": "Bread", "meta_data": extremes}))
        .await
        .expect(201);
    assert_eq!(made["meta_data"], extremes);
    let path = format!("/food_logs/{}", made["id"].as_str().unwrap());
    assert_eq!(c.get(&path).await.expect(200)["meta_data"], extremes);
}

#[tokio::test]
async fn leftovers_by_version() {
    let s = service!();
    let c = s.user("a");
    let made = c
        .post(
            "/pantry/leftovers",
            json!({"recipe_name": " Stew ", "total_servings": 4.0, "calories_per_serving": 500,
            "macros_json": {"p": 20, "c": 40, "f": 10}}),
        )
        .await
        .expect(201);
    assert_eq!(made["recipe_name"], "Stew");
    let path = format!("/pantry/leftovers/{}", made["id"].as_str().unwrap());
    let changed = c
        .patch(&path, json!({"remaining_servings": 1.5}))
        .await
        .expect(200);
    assert_eq!(changed["remaining_servings"], 1.5);
    c.patch(&path, json!({"remaining_servings": 4.1}))
        .await
        .refused(422, "invalid_field");
    c.patch(&path, json!({"remaining_servings": 0})).await.expect(200);
    assert_eq!(c.get("/pantry/leftovers").await.expect(200)["items"], json!([]));
    assert_eq!(
        c.get("/pantry/leftovers?all=true").await.expect(200)["items"][0]["is_active"],
        false
    );
    c.call(Method::DELETE, &path, &[("if-match", "\"v1\"")], None)
        .await
        .refused(412, "version_stale");
    c.call(Method::DELETE, &path, &[("if-match", "nonsense")], None)
        .await
        .refused(412, "version_stale");
    c.delete(&path).await.expect(204);
}

#[tokio::test]
async fn consents_are_kept_and_the_latest_holds() {
    let s = service!();
    let c = s.user("a");
    for granted in [true, false] {
        let body = json!({"purpose": "training", "granted": granted, "text_version": "2026-01"});
        c.post("/consents", body).await.expect(201);
    }
    let now = c.get("/consents").await.expect(200);
    assert_eq!(
        (now.as_array().unwrap().len(), &now[0]["granted"]),
        (1, &json!(false))
    );
    assert_eq!(s.sql("SELECT count(*) FROM consents"), ["2"]);
}
