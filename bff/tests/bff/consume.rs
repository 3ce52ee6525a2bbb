//! The last serving goes to one.

use futures::StreamExt;
use serde_json::{Value, json};

use crate::harness::{Client, service};

async fn leftover(c: &Client, servings: f64) -> String {
    let body = json!({"recipe_name": "Stew", "total_servings": servings, "calories_per_serving": 301,
                      "macros_json": {"p": 12.5, "c": 30, "f": 9.9}});
    c.post("/pantry/leftovers", body).await.expect(201)["id"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn wish(id: &str, servings: f64) -> Value {
    json!({"leftover_id": id, "consumed_servings": servings})
}

const PATH: &str = "/pantry/leftovers/consume";

#[tokio::test]
async fn scaled_logged_and_never_below_zero() {
    let s = service!();
    let c = s.user("a");
    let id = leftover(&c, 1.5).await;
    let got = c.post_once(PATH, "k1", wish(&id, 0.5)).await.expect(200);
    assert_eq!(got["leftover"]["remaining_servings"], 1.0);
    let log = &got["food_log"];
    // 150.5, 6.25, 15, 4.95: half up.
    assert_eq!(
        (
            &log["calories"],
            &log["protein_g"],
            &log["carbs_g"],
            &log["fats_g"]
        ),
        (&json!(151), &json!(6), &json!(15), &json!(5))
    );
    assert_eq!(log["food_name"], "Stew");
    let refusal = c
        .post_once(PATH, "k2", wish(&id, 1.1))
        .await
        .refused(409, "not_enough_left");
    assert_eq!(refusal["remaining_servings"], 1.0);
    let last = c.post_once(PATH, "k3", wish(&id, 1.0)).await.expect(200);
    assert_eq!(last["leftover"]["is_active"], false);
    assert_eq!(
        c.post_once(PATH, "k4", wish(&id, 0.1))
            .await
            .refused(409, "not_enough_left")["remaining_servings"],
        0.0
    );
    assert_eq!(s.sql("SELECT count(*) FROM food_logs"), ["2"]);
}

#[tokio::test]
async fn what_is_no_number_of_servings() {
    let s = service!();
    let c = s.user("a");
    let id = leftover(&c, 2.0).await;
    for (i, bad) in [
        json!(0.25),
        json!(0.04),
        json!(0),
        json!(-1),
        json!("1"),
        Value::Null,
        json!(1e300),
    ]
    .into_iter()
    .enumerate()
    {
        let body = json!({"leftover_id": id, "consumed_servings": bad});
        c.post_once(PATH, &format!("k{i}"), body)
            .await
            .refused(422, "invalid_field");
    }
    c.post(PATH, wish(&id, 1.0))
        .await
        .refused(400, "idempotency_key_missing");
    c.post_once(PATH, "a b", wish(&id, 1.0))
        .await
        .refused(400, "idempotency_key_invalid");
    c.post_once(PATH, "k", wish("018f0000-0000-7000-8000-000000000000", 1.0))
        .await
        .refused(404, "not_found");
    assert_eq!(s.sql("SELECT remaining_servings FROM leftovers"), ["2.0"]);
}

#[tokio::test]
async fn one_key_is_one_action() {
    let s = service!();
    let c = s.user("a");
    let id = leftover(&c, 10.0).await;
    let first = c.post_once(PATH, "k", wish(&id, 1.0)).await;
    let again = c.post_once(PATH, "\"k\"", wish(&id, 1.0)).await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    c.post_once(PATH, "k", wish(&id, 2.0))
        .await
        .refused(422, "idempotency_key_reused");
    // Twenty at once under one key: one effect; the others get its answer or 409.
    let many = futures::future::join_all((0..20).map(|_| c.post_once(PATH, "crowd", wish(&id, 1.0)))).await;
    assert!(many.iter().all(|a| matches!(a.status.as_u16(), 200 | 409)));
    let bodies: std::collections::HashSet<_> = many
        .iter()
        .filter(|a| a.status == 200)
        .map(|a| a.text.clone())
        .collect();
    assert_eq!(bodies.len(), 1);
    assert_eq!(s.sql("SELECT remaining_servings FROM leftovers"), ["8.0"]);
    assert_eq!(s.sql("SELECT count(*) FROM food_logs"), ["2"]);
    // Another user's same key is another action.
    let b = s.user("b");
    let other = leftover(&b, 1.0).await;
    b.post_once(PATH, "k", wish(&other, 1.0)).await.expect(200);
}

/// Twice as many as there are tenths. `BFF_CONSUMES` says how many; scripts/ci-bff.sh sends ten thousand.
#[tokio::test]
async fn many_connections_never_oversell() {
    let s = service!(crate::harness::Wish {
        connections: 20,
        ..Default::default()
    });
    let c = s.user("a");
    let requests: usize = std::env::var("BFF_CONSUMES").map_or(2000, |n| n.parse().unwrap());
    let id = leftover(&c, requests as f64 / 20.0).await;
    let begun = std::time::Instant::now();
    let answers: Vec<u16> = futures::stream::iter(0..requests)
        .map(|i| {
            let (c, id) = (c.clone(), id.clone());
            async move {
                c.post_once(PATH, &format!("k{i}"), wish(&id, 0.1))
                    .await
                    .status
                    .as_u16()
            }
        })
        .buffer_unordered(50)
        .collect()
        .await;
    eprintln!(
        "{requests} consumes over 50 connections: in {:?}",
        begun.elapsed()
    );
    let count = |status| answers.iter().filter(|a| **a == status).count();
    assert_eq!((count(200), count(409)), (requests / 2, requests / 2));
    assert_eq!(s.sql("SELECT remaining_servings FROM leftovers"), ["0.0"]);
    assert_eq!(
        s.sql("SELECT count(*) FROM food_logs"),
        [(requests / 2).to_string()]
    );
}
