//! Start, limits, probes, migrations.

use std::time::Duration;

use bio_bff::routes::Limits;
use bio_bff::store;
use bio_bff::store::migrate::{Tier, migrate};
use reqwest::Method;
use serde_json::json;

use crate::harness::{Wish, service};

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let s = service!();
    let c = s.user("a");
    c.post("/pantry", json!({"item_name": "Egg"})).await.expect(201);
    let schema = "SELECT table_schema, table_name, column_name, data_type, column_default FROM \
        information_schema.columns WHERE table_schema IN ('public', 'ops') ORDER BY 1, 2, 3";
    let before = s.sql(schema);
    let owner = store::options(&s.servers.postgres.url("bio_owner", &s.database)).unwrap();
    let both = tokio::join!(migrate(&owner), migrate(&owner));
    assert_eq!((both.0.unwrap(), both.1.unwrap()), (Tier::Plain, Tier::Plain));
    assert_eq!(s.sql(schema), before);
    assert_eq!(c.get("/pantry").await.expect(200)["items"][0]["item_name"], "Egg");
}

/// What `pg_dump --inserts` wrote of a database of migration 4 with something in every table.
const VERSION_4: &str = include_str!("../fixtures/database_0004.sql");

/// Rows of the tables that version 4 had.
fn counts(s: &crate::harness::Servers, database: &str) -> Vec<String> {
    let tables = [
        "users",
        "bio_profile",
        "health_metrics",
        "pantry_inventory",
        "leftovers",
        "food_logs",
        "daily_plan",
        "idempotency_keys",
        "outbox",
        "sync_cursors",
        "consents",
        "ops.messages",
        "ops.days",
        "ops.erasures",
    ];
    let count = |table: &&str| format!("SELECT '{table}', count(*) FROM {table}");
    let sql: Vec<_> = tables.iter().map(count).collect();
    s.postgres.sql(database, &sql.join(" UNION ALL ")).unwrap()
}

#[tokio::test]
async fn a_database_of_an_older_version_comes_along_with_its_data() {
    let Some(servers) = crate::harness::servers() else {
        return;
    };
    let database = "version_4";
    let sql = |database: &str, sql: &str| servers.postgres.sql(database, sql).unwrap();
    sql("postgres", &format!("CREATE DATABASE {database} OWNER bio_owner"));
    sql(database, VERSION_4);
    let before = counts(servers, database);
    assert!(before.iter().all(|line| !line.ends_with("|0")), "{before:?}");
    let owner = store::options(&servers.postgres.url("bio_owner", database)).unwrap();
    for _ in 0..2 {
        migrate(&owner).await.unwrap();
        assert_eq!(counts(servers, database), before);
    }
    let s = crate::harness::Service::of_database(servers, database).await;
    let c = s.user("kept");
    let profile = c.get("/profile").await.expect(200);
    assert_eq!(
        (&profile["height_cm"], &profile["weight_kg"]),
        (&json!(172), &json!(70.25))
    );
    let stew = &c.get("/pantry/leftovers").await.expect(200)["items"][0];
    assert_eq!(
        (&stew["recipe_name"], &stew["remaining_servings"]),
        (&json!("Stew"), &json!(2.5))
    );
    let id = &stew["id"];
    c.post_once(
        "/pantry/leftovers/consume",
        "new",
        json!({"leftover_id": id, "consumed_servings": 0.5}),
    )
    .await
    .expect(200);
    let day = c.get("/diary/2026-11-20").await.expect(200);
    assert_eq!(
        (&day["totals"]["calories"], &day["energy_score"]),
        (&json!(390), &json!(35.5))
    );
    assert_eq!(day["steps"], 210);
    assert_eq!(
        c.get("/pantry").await.expect(200)["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // What waited in outbox and queue is handled.
    let (_, failed) = crate::events::Worker::of(&s).drain().await;
    assert_eq!(failed, Vec::<String>::new());
}

#[tokio::test]
async fn errors_of_libraries_have_the_common_shape() {
    let s = service!();
    let c = s.user("a");
    c.get("/nowhere").await.refused(404, "not_found");
    c.call(Method::DELETE, "/pantry", &[], None)
        .await
        .refused(405, "method_not_allowed");
    let raw = |kind: &str, body: &str| {
        let request = c
            .http
            .post(format!("{}/pantry", c.base))
            .bearer_auth(&c.token)
            .header("content-type", kind);
        crate::harness::finish(request.body(body.to_owned()))
    };
    raw("text/plain", "{}")
        .await
        .refused(415, "unsupported_media_type");
    raw("application/json", "{").await.refused(400, "bad_request");
    raw("application/json", "{} {}")
        .await
        .refused(422, "invalid_field");
    raw("application/json", "[\"Egg\", null, null]")
        .await
        .refused(400, "bad_request");
    raw("application/json", "{\"item_name\": \"\\ud800\"}")
        .await
        .refused(400, "bad_request");
    raw(
        "application/json",
        &format!("{{\"item_name\": \"{}\"}}", "x".repeat(100_000)),
    )
    .await
    .refused(413, "body_too_large");
    raw("application/json", &"[".repeat(5000))
        .await
        .refused(400, "bad_request");
    let answer = c
        .call(Method::GET, "/me", &[("x-request-id", "abc-1")], None)
        .await;
    assert_eq!(answer.headers["x-request-id"], "abc-1");
    let answer = c.call(Method::GET, "/me", &[("x-request-id", "a b")], None).await;
    assert_ne!(answer.headers["x-request-id"], "a b");
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn one_user_cannot_take_everything() {
    let limits = Limits {
        rate_per_second: 1,
        rate_burst: 5,
        ..Limits::default()
    };
    let s = service!(Wish {
        limits,
        ..Wish::default()
    });
    let (a, b) = (s.user("a"), s.user("b"));
    for _ in 0..5 {
        a.get("/me").await.expect(200);
    }
    let refused = a.get("/me").await;
    assert!(refused.headers.contains_key("retry-after"));
    refused.refused(429, "rate_limited");
    b.get("/me").await.expect(200);
}

#[tokio::test]
async fn readiness_follows_database_and_drain() {
    let s = service!();
    let c = s.with_token(String::new());
    assert_eq!(c.get("/livez").await.status, 200);
    assert_eq!(c.get("/readyz").await.status, 200);
    s.app.begin_drain();
    c.get("/readyz").await.refused(503, "draining");
    assert_eq!(c.get("/livez").await.status, 200);
}

#[tokio::test]
async fn a_database_that_is_away_is_503_and_comes_back() {
    // A port that nobody listens on.
    let port = crate::harness::free_port().unwrap();
    let options = store::options(&format!("postgres://api_login@127.0.0.1:{port}/x")).unwrap();
    let db = store::Db::lazy(options, 2, Duration::from_millis(300));
    let error = db.existing(uuid::Uuid::new_v4()).await.unwrap_err();
    let problem = bio_bff::problem::Problem::from(error);
    assert_eq!(problem.code.status(), 503);
}
