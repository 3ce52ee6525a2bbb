//! Nothing of anybody is reachable by anybody else.

use bio_bff::problem::{Code, Problem};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::harness::{Client, service};
use crate::scans::{Lab, lab};

/// One of everything, by the first segments of its path.
async fn make_things(lab: &Lab, c: &Client) -> Vec<(&'static str, String)> {
    let id = |v: Value| v["id"].as_str().unwrap().to_owned();
    let stew = json!({"recipe_name": "Stew", "total_servings": 2, "calories_per_serving": 1,
                      "macros_json": {"p": 1, "c": 1, "f": 1}});
    vec![
        ("/scans/{id}", lab.ready(c).await),
        (
            "/pantry/leftovers/{id}",
            id(c.post("/pantry/leftovers", stew).await.expect(201)),
        ),
        (
            "/pantry/{id}",
            id(c.post("/pantry", json!({"item_name": "Egg"})).await.expect(201)),
        ),
        (
            "/food_logs/{id}",
            id(c.post("/food_logs", json!({"food_name": "Egg"}))
                .await
                .expect(201)),
        ),
        (
            "/devices/{device}",
            id(c.call(
                Method::PUT,
                "/devices",
                &[],
                Some(&json!({"platform": "fcm", "token": format!("token-of-{}", Uuid::new_v4())})),
            )
            .await
            .expect(200)),
        ),
    ]
}

/// Without the addresses of pictures, which are signed anew each time.
fn unsigned(text: &str) -> Value {
    let mut value: Value = serde_json::from_str(text).unwrap();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("evidence");
    }
    let photos = value.get_mut("photos").and_then(Value::as_array_mut);
    for photo in photos.into_iter().flatten() {
        photo.as_object_mut().unwrap().remove("image_url");
    }
    value
}

#[tokio::test]
async fn every_path_with_an_id_is_404_for_others() {
    let lab = lab!();
    let s = &lab.s;
    let (alice, mallory) = (s.user("alice"), s.user("mallory"));
    let things = make_things(&lab, &alice).await;
    let (_, api) = bio_bff::routes::api(&bio_bff::routes::Limits::default());
    let mut walked = 0;
    // What these name is the caller's own, whoever calls, or no user's at all.
    const OWN: [&str; 4] = [
        "/diary/{date}",
        "/sync/adapters/{adapter}",
        "/sync/sources/{source}",
        "/webhooks/scans/{token}",
    ];
    for (path, item) in &api.paths.paths {
        if !path.contains('{') || OWN.contains(&path.as_str()) {
            continue;
        }
        // A new path with an id fails here until it is among the things.
        let (thing, id) = things
            .iter()
            .find(|(p, _)| path.starts_with(p))
            .unwrap_or_else(|| panic!("nothing is made for {path}"));
        let methods = [
            (Method::GET, item.get.is_some()),
            (Method::PATCH, item.patch.is_some()),
            (Method::PUT, item.put.is_some()),
            (Method::POST, item.post.is_some()),
            (Method::DELETE, item.delete.is_some()),
        ];
        // A phone is shown by the list only.
        let shown = match *thing {
            "/devices/{device}" => "/devices".to_owned(),
            thing => thing.replace("{id}", id),
        };
        let own = alice.get(&shown).await;
        assert_eq!(own.status, 200);
        let tag = own.headers.get("etag").map_or("\"v1\"", |t| t.to_str().unwrap());
        for (method, _) in methods.into_iter().filter(|(_, has)| *has) {
            for id in [
                id.clone(),
                Uuid::new_v4().to_string(),
                "nonsense".into(),
                "%00".into(),
            ] {
                let body = (method != Method::GET && method != Method::DELETE).then(|| json!({}));
                let answer = mallory
                    .call(
                        method.clone(),
                        &path
                            .replace("{id}", &id)
                            .replace("{device}", &id)
                            .replace("{picture}", "photo-1"),
                        &[("if-match", tag)],
                        body.as_ref(),
                    )
                    .await;
                answer.refused(404, "not_found");
                walked += 1;
            }
        }
        assert_eq!(
            unsigned(&alice.get(&shown).await.text),
            unsigned(&own.text),
            "untouched"
        );
    }
    assert!(walked >= (3 * 3 + 9 + 1) * 4, "{walked}");
    let leftover = &things[1].1;
    let wish = json!({"leftover_id": leftover, "consumed_servings": 1});
    mallory
        .post_once("/pantry/leftovers/consume", "k", wish)
        .await
        .refused(404, "not_found");
    let now = s.clock.now().to_string();
    let measured = json!({"kind": "resting_hr", "start": now, "value": 61, "source": "watch"});
    alice
        .post("/sync/batch", json!({"records": [measured]}))
        .await
        .expect(200);
    assert_eq!(mallory.get("/sync/sources").await.expect(200), json!([]));
    mallory
        .call(Method::DELETE, "/sync/sources/watch", &[], None)
        .await
        .refused(404, "not_found");
    assert_eq!(alice.get("/sync/sources").await.expect(200)[0]["rows"], 1);
    for list in ["/pantry", "/pantry/leftovers?all=true", "/food_logs", "/scans"] {
        assert_eq!(mallory.get(list).await.expect(200)["items"], json!([]));
    }
}

#[tokio::test]
async fn every_table_of_users_is_bound_for_every_verb() {
    let s = service!();
    // Tables with a user column, by the catalogue: a new one cannot be forgotten.
    let tables = s.sql(
        "SELECT c.table_schema || '.' || c.table_name FROM information_schema.columns c JOIN information_schema.tables t \
         USING (table_schema, table_name) WHERE c.column_name = 'user_id' AND t.table_type = 'BASE TABLE' \
         AND c.table_schema IN ('public', 'ops') ORDER BY 1",
    );
    assert!(tables.len() >= 11, "{tables:?}");
    for table in &tables {
        if table == "public.health_metrics" {
            continue;
        }
        let forced = s.sql(&format!(
            "SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = '{table}'::regclass"
        ));
        assert_eq!(forced, ["t"], "{table}");
        for role in ["bio_api", "bio_worker"] {
            let verbs = s.sql(&format!(
                "SELECT DISTINCT polcmd FROM pg_policy WHERE polrelid = '{table}'::regclass AND \
                 (SELECT oid FROM pg_roles WHERE rolname = '{role}') = ANY (polroles)"
            ));
            assert_eq!(verbs, ["*"], "{table} {role}");
        }
    }
    assert_eq!(
        s.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'bio_%' AND (rolsuper OR rolbypassrls)"),
        ["0"]
    );
}

#[tokio::test]
async fn row_security_holds_without_our_conditions() {
    let lab = lab!();
    let s = &lab.s;
    let (alice, bob) = (s.user("alice"), s.user("bob"));
    make_things(&lab, &alice).await;
    make_things(&lab, &bob).await;
    let id = |c: &Client| {
        let c = c.clone();
        async move { c.get("/me").await.expect(200)["id"].as_str().unwrap().to_owned() }
    };
    let (a, b) = (id(&alice).await, id(&bob).await);
    let url = s.servers.postgres.url("api_login", &s.database);
    let pool = sqlx::postgres::PgPoolOptions::new()
        .max_connections(1)
        .connect(&url)
        .await
        .unwrap();
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("SELECT set_config('app.user_id', $1, true)")
        .bind(&a)
        .execute(&mut *tx)
        .await
        .unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM food_logs")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(seen, 2);
    let moved = sqlx::query("UPDATE food_logs SET user_id = $1::uuid")
        .bind(&b)
        .execute(&mut *tx)
        .await;
    assert_eq!(
        moved.unwrap_err().as_database_error().unwrap().code().unwrap(),
        "42501"
    );
    drop(tx);
    // After it the setting is '', not NULL, on the same connection: nothing, and no error.
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM food_logs")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(seen, 0);
    // The owner is bound too.
    let owner = sqlx::PgPool::connect(&s.servers.postgres.url("bio_owner", &s.database))
        .await
        .unwrap();
    let seen: i64 = sqlx::query_scalar("SELECT count(*) FROM food_logs")
        .fetch_one(&owner)
        .await
        .unwrap();
    assert_eq!(seen, 0);
}

/// A primary key that row security hides still takes part in constraints: what the database then says must read as if the
/// row were not there.
#[tokio::test]
async fn a_key_of_anothers_row_is_not_found() {
    let s = service!();
    let (alice, bob) = (s.user("alice"), s.user("bob"));
    let theirs = bob
        .post("/food_logs", json!({"food_name": "Egg"}))
        .await
        .expect(201);
    let me = alice.get("/me").await.expect(200);
    let url = s.servers.postgres.url("api_login", &s.database);
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let upsert =
        "INSERT INTO food_logs (id, user_id, log_time, food_name) VALUES ($1::uuid, $2::uuid, now(), 'Mine')";
    let inserts = [
        (upsert.to_owned(), "23505"),
        (
            format!("{upsert} ON CONFLICT (id) DO UPDATE SET food_name = excluded.food_name"),
            "42501",
        ),
    ];
    for (sql, state) in inserts {
        let mut tx = pool.begin().await.unwrap();
        sqlx::query("SELECT set_config('app.user_id', $1, true)")
            .bind(me["id"].as_str())
            .execute(&mut *tx)
            .await
            .unwrap();
        let refused = sqlx::query(sqlx::AssertSqlSafe(sql))
            .bind(theirs["id"].as_str())
            .bind(me["id"].as_str())
            .execute(&mut *tx)
            .await
            .unwrap_err();
        assert_eq!(refused.as_database_error().unwrap().code().unwrap(), state);
        assert_eq!(Problem::from(refused).code, Code::NotFound, "{state}");
    }
    let path = format!("/food_logs/{}", theirs["id"].as_str().unwrap());
    assert_eq!(bob.get(&path).await.expect(200)["food_name"], "Egg");
}
