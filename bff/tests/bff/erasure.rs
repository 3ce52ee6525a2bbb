//! Forgotten means forgotten, and a copy has everything.

use std::io::Read;

use reqwest::Method;
use serde_json::{Value, json};

use crate::auth::idp::sign;
use crate::events::Worker;
use crate::harness::{Client, Service, service};

/// Something in every table.
async fn live(s: &Service, c: &Client, w: &Worker) -> String {
    c.patch("/profile", json!({"timezone": "Europe/Berlin", "height_cm": 180}))
        .await
        .expect(200);
    c.post("/pantry", json!({"item_name": "Egg"})).await.expect(201);
    c.post("/food_logs", json!({"food_name": "Egg", "calories": 70}))
        .await
        .expect(201);
    c.post(
        "/consents",
        json!({"purpose": "health_data", "granted": true, "text_version": "1"}),
    )
    .await
    .expect(201);
    let stew = json!({"recipe_name": "Stew", "total_servings": 2, "calories_per_serving": 1, "macros_json": {"p": 1, "c": 1, "f": 1}});
    let id = c.post("/pantry/leftovers", stew).await.expect(201)["id"].clone();
    c.post_once(
        "/pantry/leftovers/consume",
        "k",
        json!({"leftover_id": id, "consumed_servings": 1}),
    )
    .await
    .expect(200);
    let now = s.clock.now();
    let r = json!({"kind": "resting_hr", "start": now.to_string(), "value": 61, "source": "watch"});
    c.post("/sync/batch", json!({"records": [r], "device": "d"}))
        .await
        .expect(200);
    w.drain().await;
    c.post("/feel", json!({"value": 50})).await.expect(200);
    c.get("/dashboard/state").await.expect(200);
    c.get("/me").await.expect(200)["id"].as_str().unwrap().to_owned()
}

/// Rows of a user in every table that has a column for one, as the catalogue lists them.
fn rows_of(s: &Service, id: &str) -> Vec<String> {
    let tables = s.sql(
        "SELECT table_schema || '.' || table_name FROM information_schema.columns JOIN information_schema.tables \
         USING (table_schema, table_name) WHERE column_name = 'user_id' AND table_type = 'BASE TABLE' ORDER BY 1",
    );
    let mut found = Vec::new();
    for table in tables {
        let n = s.sql(&format!("SELECT count(*) FROM {table} WHERE user_id = '{id}'"));
        if n != ["0"] {
            found.push(format!("{table} {}", n[0]));
        }
    }
    if s.sql(&format!("SELECT count(*) FROM users WHERE id = '{id}'")) != ["0"] {
        found.push("users".into());
    }
    found
}

#[tokio::test]
async fn nothing_is_left_and_nobody_else_is_touched() {
    let s = service!();
    let w = Worker::of(&s);
    let (alice, bob) = (s.user("alice"), s.user("bob"));
    let a = live(&s, &alice, &w).await;
    let b = live(&s, &bob, &w).await;
    let had = rows_of(&s, &a);
    assert!(had.len() >= 10, "{had:?}");
    // Events wait in the outbox only until they are relayed.
    let kept = |rows: Vec<String>| {
        rows.into_iter()
            .filter(|r| !r.contains("outbox"))
            .collect::<Vec<_>>()
    };
    let bobs = kept(rows_of(&s, &b));

    let asked = alice.call(Method::DELETE, "/me", &[], None).await;
    assert_eq!(asked.headers["location"], "/me/erasure");
    assert_eq!(asked.expect(202)["state"], "pending");
    // Gone at once, here and in a replica that knew the user.
    for path in ["/me", "/profile", "/dashboard/state", "/food_logs"] {
        alice.get(path).await.refused(404, "account_erased");
    }
    alice
        .post("/food_logs", json!({"food_name": "Ghost"}))
        .await
        .refused(404, "account_erased");
    assert_eq!(
        alice.call(Method::DELETE, "/me", &[], None).await.expect(202)["state"],
        "pending"
    );
    w.drain().await;
    assert_eq!(alice.get("/me/erasure").await.expect(200)["state"], "done");
    assert_eq!(rows_of(&s, &a), Vec::<String>::new());
    assert_eq!(kept(rows_of(&s, &b)), bobs);
    assert_eq!(bob.get("/profile").await.expect(200)["height_cm"], 180);
    let client = redis::Client::open(s.servers.redis.url()).unwrap();
    let mut redis = client.get_multiplexed_async_connection().await.unwrap();
    let cached: bool = redis::cmd("EXISTS")
        .arg(format!("user:{a}:dashboard"))
        .query_async(&mut redis)
        .await
        .unwrap();
    assert!(!cached);
    // A renewed token of the old sign-in stays nobody; a new sign-in is a new user.
    let now = s.clock.now().as_second();
    let mut claims = s.idp.access_claims("alice", now);
    claims["iat"] = json!(now + 5);
    // Signed in before the erasure, whatever second it is now.
    claims["auth_time"] = json!(now - 3600);
    s.with_token(sign(&claims))
        .get("/me")
        .await
        .refused(404, "account_erased");
    claims["auth_time"] = json!(now + 29);
    let anew = s.with_token(sign(&claims)).get("/me").await.expect(200);
    assert_ne!(anew["id"], json!(a));
}

#[tokio::test]
async fn a_replica_that_remembers_an_erased_user_shows_and_writes_nothing() {
    let s = service!();
    let w = Worker::of(&s);
    let alice = s.user("alice");
    live(&s, &alice, &w).await;
    let other = s.replica(Default::default()).await;
    let there = Client {
        base: other.base.clone(),
        ..alice.clone()
    };
    there.get("/food_logs").await.expect(200);
    alice.call(Method::DELETE, "/me", &[], None).await.expect(202);
    assert_eq!(there.get("/food_logs").await.expect(200)["items"], json!([]));
    there.get("/dashboard/state").await.refused(404, "not_found");
    there
        .post("/food_logs", json!({"food_name": "Ghost"}))
        .await
        .refused(404, "not_found");
    let r = json!({"kind": "resting_hr", "start": s.clock.now().to_string(), "value": 61, "source": "ghost"});
    there
        .post("/sync/batch", json!({"records": [r]}))
        .await
        .refused(404, "not_found");
    assert_eq!(
        s.sql("SELECT count(*) FROM health_metrics WHERE source = 'ghost'"),
        ["0"]
    );
}

#[tokio::test]
async fn an_erasure_that_is_cut_goes_on() {
    let s = service!();
    let w = Worker::of(&s);
    let alice = s.user("alice");
    let a = live(&s, &alice, &w).await;
    alice.call(Method::DELETE, "/me", &[], None).await.expect(202);
    // As if the process had died after the objects.
    s.sql("UPDATE ops.erasures SET steps_done = '{objects}'");
    s.sql(&format!("DELETE FROM food_logs WHERE user_id = '{a}'"));
    w.drain().await;
    assert_eq!(rows_of(&s, &a), Vec::<String>::new());
    assert_eq!(
        s.sql("SELECT steps_done, finished_at IS NOT NULL FROM ops.erasures"),
        ["{objects,tables,aggregates,cache}|t"]
    );
}

#[tokio::test]
async fn what_cannot_be_undone_needs_a_fresh_sign_in() {
    let s = service!();
    let now = s.clock.now().as_second();
    let mut claims = s.idp.access_claims("alice", now);
    claims["auth_time"] = json!(now - 700);
    let old = s.with_token(sign(&claims));
    old.get("/me").await.expect(200);
    old.call(Method::DELETE, "/me", &[], None)
        .await
        .refused(403, "sign_in_again");
    old.get("/me/export").await.refused(403, "sign_in_again");
    s.user("bob").get("/me/erasure").await.refused(404, "not_found");
}

#[tokio::test]
async fn the_copy_has_every_row_of_the_user_and_of_nobody_else() {
    let s = service!();
    let w = Worker::of(&s);
    let (alice, bob) = (s.user("alice"), s.user("bob"));
    let a = live(&s, &alice, &w).await;
    let b = live(&s, &bob, &w).await;
    let response = alice
        .http
        .get(format!("{}/me/export", alice.base))
        .bearer_auth(&alice.token)
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "application/zip");
    let bytes = response.bytes().await.unwrap();
    let mut zip = zip::ZipArchive::new(std::io::Cursor::new(bytes)).unwrap();
    let mut read = |name: &str| {
        let mut text = String::new();
        zip.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        text
    };
    let manifest: Value = serde_json::from_str(&read("manifest.json")).unwrap();
    let mut all = String::new();
    for (name, about) in manifest["files"].as_object().unwrap() {
        let text = read(name);
        assert_eq!(
            text.lines().count() as u64,
            about["rows"].as_u64().unwrap(),
            "{name}"
        );
        for line in text.lines() {
            serde_json::from_str::<Value>(line).unwrap();
        }
        let table = if name.contains('.') && name.starts_with("ops.") {
            name.trim_end_matches(".ndjson").to_owned()
        } else {
            format!("public.{}", name.trim_end_matches(".ndjson"))
        };
        let column = if table == "public.users" { "id" } else { "user_id" };
        assert_eq!(
            s.sql(&format!("SELECT count(*) FROM {table} WHERE {column} = '{a}'")),
            [about["rows"].to_string()],
            "{name}"
        );
        all.push_str(&text);
    }
    assert!(
        manifest["files"]["health_metrics.ndjson"]["rows"]
            .as_u64()
            .unwrap()
            >= 2
    );
    assert!(all.contains(&a) && !all.contains(&b));
    assert!(
        !all.contains("alice"),
        "the provider's name of the user stays with us"
    );
}
