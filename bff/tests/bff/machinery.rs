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

/// Columns that clients of the database rely on; others may stand beside them.
const COLUMNS: &[(&str, &[&str])] = &[
    (
        "users",
        &[
            "id uuid PK DEFAULT uuid_generate_v4()",
            "email character varying(255) NOT NULL UNIQUE",
            "cognito_sub character varying(255) UNIQUE",
            "created_at timestamp with time zone DEFAULT now()",
            "tier character varying(50) DEFAULT 'free'::character varying",
        ],
    ),
    (
        "bio_profile",
        &[
            "user_id uuid PK",
            "height_cm integer",
            "weight_kg numeric(5,2)",
            "birth_date date",
            "gender character varying(20)",
            "primary_goal character varying(50)",
            "dietary_preference character varying(50)",
            "allergies text[]",
            "dislikes text[]",
            "is_fasting_enabled boolean NOT NULL DEFAULT false",
            "fasting_start_time time without time zone",
            "fasting_end_time time without time zone",
            "timezone character varying(64)",
            "wake_time time without time zone",
            "sleep_time time without time zone",
            "plate_diameter_cm numeric(4,1)",
            "consent_training boolean NOT NULL DEFAULT false",
        ],
    ),
    (
        "health_metrics",
        &[
            "time timestamp with time zone NOT NULL",
            "user_id uuid NOT NULL",
            "source character varying(50) NOT NULL",
            "steps_delta integer",
            "active_energy_kcal numeric",
            "resting_hr integer",
            "hrv_ms integer",
            "sleep_score integer",
            "hrv_kind character varying(10)",
            "subj_feel integer",
            "device character varying(100)",
        ],
    ),
    (
        "pantry_inventory",
        &[
            "id uuid PK DEFAULT uuid_generate_v4()",
            "user_id uuid NOT NULL",
            "item_name character varying(100) NOT NULL",
            "category character varying(50)",
            "expiry_date date",
            "is_deleted boolean NOT NULL DEFAULT false",
        ],
    ),
    (
        "leftovers",
        &[
            "id uuid PK DEFAULT uuid_generate_v4()",
            "user_id uuid NOT NULL",
            "recipe_name character varying(150) NOT NULL",
            "total_servings numeric(4,1) NOT NULL",
            "remaining_servings numeric(4,1) NOT NULL",
            "calories_per_serving integer NOT NULL",
            "macros_json jsonb NOT NULL",
            "created_at timestamp with time zone NOT NULL DEFAULT now()",
            "is_active boolean GENERATED (remaining_servings > (0)::numeric)",
        ],
    ),
    (
        "food_logs",
        &[
            "id uuid PK DEFAULT uuid_generate_v4()",
            "user_id uuid NOT NULL",
            "log_time timestamp with time zone NOT NULL",
            "food_name character varying(200) NOT NULL",
            "calories integer",
            "protein_g integer",
            "carbs_g integer",
            "fats_g integer",
            "meal_type character varying(20)",
            "is_caffeine boolean NOT NULL DEFAULT false",
            "is_alcohol boolean NOT NULL DEFAULT false",
            "meta_data jsonb NOT NULL DEFAULT '{}'::jsonb",
            "status character varying(30) NOT NULL DEFAULT 'confirmed'::character varying",
            "scan_id uuid",
        ],
    ),
    (
        "daily_plan",
        &[
            "id uuid PK DEFAULT uuid_generate_v4()",
            "user_id uuid NOT NULL",
            "date date NOT NULL",
            "target_calories integer",
            "target_protein integer",
            "next_meal_suggestion jsonb",
            "rejected_suggestions jsonb[] NOT NULL DEFAULT '{}'::jsonb[]",
            "energy_score numeric(4,1)",
        ],
    ),
    (
        "scans",
        &[
            "id uuid PK DEFAULT uuid_generate_v4()",
            "user_id uuid NOT NULL",
            "meal_group uuid NOT NULL",
            "job_id character varying(1000)",
            "state character varying(20) NOT NULL DEFAULT 'created'::character varying",
            "plate_diameter_cm numeric(4,1)",
            "camera_height_cm numeric(5,1)",
            "original_result jsonb",
            "error character varying(50)",
            "version bigint NOT NULL DEFAULT 1",
            "created_at timestamp with time zone NOT NULL",
            "updated_at timestamp with time zone NOT NULL",
        ],
    ),
    // A meal has up to six photos: what is one photo's stands with it.
    (
        "scan_photos",
        &[
            "meal_group uuid NOT NULL",
            "s3_key character varying(200) NOT NULL UNIQUE",
            "pitch numeric(5,2)",
        ],
    ),
    (
        "restaurant_cache",
        &[
            "name_key character varying(80) PK",
            "display_name character varying(120)",
            "menu jsonb",
            "source character varying(40)",
            "fetched_at timestamp with time zone",
            "expires_at timestamp with time zone",
        ],
    ),
];

#[tokio::test]
async fn columns_and_types_are_those_that_were_agreed() {
    let s = service!();
    for (table, wanted) in COLUMNS {
        let found = s.sql(&format!(
            "SELECT concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod), \
             CASE WHEN i.indisprimary THEN 'PK' WHEN a.attnotnull THEN 'NOT NULL' END, \
             CASE WHEN i.indisunique AND NOT i.indisprimary THEN 'UNIQUE' END, \
             CASE WHEN a.attgenerated = 's' THEN 'GENERATED ' || pg_get_expr(d.adbin, d.adrelid) \
             ELSE 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid) END) \
             FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
             LEFT JOIN pg_index i ON i.indrelid = a.attrelid AND i.indisunique AND i.indkey::text = a.attnum::text \
             WHERE a.attrelid = '{table}'::regclass AND a.attnum > 0 AND NOT a.attisdropped"
        ));
        for column in *wanted {
            assert!(
                found.iter().any(|f| f == column),
                "{table} lacks {column}: {found:#?}"
            );
        }
    }
    let unique = s.sql(
        "SELECT conrelid::regclass::text || pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'u' ORDER BY 1",
    );
    for wanted in [
        "health_metricsUNIQUE (\"time\", user_id, source)",
        "daily_planUNIQUE (user_id, date)",
    ] {
        assert!(unique.iter().any(|u| u == wanted), "{unique:?}");
    }
    let follows = s.sql(
        "SELECT confdeltype FROM pg_constraint WHERE conrelid = 'bio_profile'::regclass AND contype = 'f'",
    );
    assert_eq!(follows, ["c"], "ON DELETE CASCADE");
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
    // Exporters throw a chunk away that got 429, and come again after 503.
    for path in [
        "/sync/batch",
        "/sync/adapters/open_wearables",
        "/sync/adapters/sparky",
    ] {
        let refused = a.post(path, json!({"records": []})).await;
        assert!(refused.headers.contains_key("retry-after"));
        refused.refused(503, "overloaded");
    }
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
