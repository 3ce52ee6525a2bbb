//! `serve --no-models`: corrections and food look-ups without weights.

use serde_json::{Value, json};

use crate::app::png_base64;
use crate::commands::Served;
use crate::patience::until;

fn recompute_request() -> Value {
    serde_json::from_str(include_str!("../../fixtures/contract/recompute_request.json")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn corrections_and_foods_need_no_models() {
    let service = Served::start(&["--no-models"], &[]).await;
    let url = |path: &str| format!("{}{path}", service.url);
    let ready = async || service.http.get(url("/readyz")).send().await.unwrap().status();
    until("the service is ready", async || ready().await == 200).await;
    let info: Value = service
        .http
        .get(url("/info"))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(info["engine"]["set"], "none");

    let post = |path: &str, body: Value| service.http.post(url(path)).json(&body).send();
    let corrected = post("/v1/recompute", recompute_request()).await.unwrap();
    assert_eq!(corrected.status(), 200);
    let corrected: Value = corrected.json().await.unwrap();
    assert!(corrected["original"].is_object() && corrected["totals"]["kcal"]["p50"].as_f64().unwrap() > 0.0);
    let mut job = recompute_request();
    job["task"] = json!("recompute");
    let job: Value = post("/v2/any/runsync", json!({"input": job}))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(
        (&job["status"], &job["output"]["totals"]),
        (&json!("COMPLETED"), &corrected["totals"])
    );

    let mut placed = recompute_request();
    placed["edits"] = json!([{"add": true, "point": [300, 500]}]);
    let refused = post("/v1/recompute", placed.clone()).await.unwrap();
    assert_eq!(refused.status(), 422, "the photo is missing");
    placed["photo"] = json!({"image": {"base64": png_base64()}});
    let refused = post("/v1/recompute", placed).await.unwrap();
    assert_eq!(refused.status(), 501);

    // Photos are refused before anything is fetched: nobody listens at that address.
    let far = json!({"image": {"url": "https://192.0.2.1/meal.jpg"}});
    for (path, body) in [
        ("/v1/scan", json!({"image": {"base64": png_base64()}})),
        ("/v1/scan", far.clone()),
        ("/v1/depth", far.clone()),
    ] {
        let refused = post(path, body).await.unwrap();
        assert_eq!(refused.status(), 501);
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(
            (&problem["code"], &problem["retryable"]),
            (&json!("no_models"), &json!(false)),
            "{problem}"
        );
    }
    let job: Value = post("/v2/any/runsync", json!({"input": far}))
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(job["status"], "FAILED");
    assert!(job["error"].as_str().unwrap().contains("no_models"), "{job}");
}

#[tokio::test(flavor = "multi_thread")]
async fn foods_are_looked_up_by_name() {
    let service = Served::start(&["--no-models"], &[]).await;
    let ask = |query: &str| {
        service
            .http
            .get(format!("{}/v1/foods{query}", service.url))
            .send()
    };
    let found: Value = ask("?q=2+boiled+eggs&n=3").await.unwrap().json().await.unwrap();
    let rows = found["found"].as_array().unwrap();
    assert_eq!((rows.len(), &found["foods"]["source"]), (3, &json!("builtin")));
    assert!(rows[0]["name"].as_str().unwrap().contains("egg"), "{found}");
    assert!(
        (60.0..160.0).contains(&rows[0]["told_g"].as_f64().unwrap()),
        "{found}"
    );
    let unknown: Value = ask("?q=quux").await.unwrap().json().await.unwrap();
    assert_eq!(
        (&unknown["found"][0]["food_id"], &unknown["found"][0]["match"]),
        (&Value::Null, &json!("unknown"))
    );
    for query in [
        "",
        "?q=",
        "?q=%20",
        "?q=egg&n=0",
        "?q=egg&n=51",
        "?q=egg&n=x",
        &format!("?q={}", "x".repeat(201)),
    ] {
        let refused = ask(query).await.unwrap();
        assert_eq!(refused.status(), 422, "{query}");
        assert_eq!(refused.json::<Value>().await.unwrap()["code"], "invalid_field");
    }
}
