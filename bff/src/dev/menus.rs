//! A stand-in for the language model: invented dishes under whatever name is asked for.

use std::sync::Arc;
use std::time::Duration;

use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use crate::menus::{Agent, Dialect, Menus, PATIENCE};

/// kcal, grams of protein, carbohydrate and fat, alcohol.
const DISHES: [(&str, &str, [f64; 4], bool); 8] = [
    (
        "Sample tomato soup",
        "1 bowl, 300 ml",
        [168.0, 4.0, 22.0, 7.0],
        false,
    ),
    ("Sample caesar salad", "1 plate", [431.0, 28.0, 16.0, 29.0], false),
    (
        "Sample lentil bowl",
        "1 bowl, 400 g",
        [498.0, 24.0, 67.0, 15.0],
        false,
    ),
    (
        "Sample salmon with rice",
        "1 plate",
        [612.0, 38.0, 62.0, 23.0],
        false,
    ),
    ("Sample cheeseburger", "1 piece", [574.0, 31.0, 43.0, 31.0], false),
    ("Sample oat latte", "350 ml", [161.0, 4.0, 23.0, 6.0], false),
    ("Sample carrot cake", "1 slice", [412.0, 5.0, 51.0, 21.0], false),
    ("Sample lager", "0.5 l", [215.0, 2.0, 16.0, 0.0], true),
];

async fn answer(Json(request): Json<Value>) -> Json<Value> {
    // As slow as a quick model, so that waiting is seen.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let question = request["messages"][1]["content"].as_str().unwrap_or_default();
    let question: Value = serde_json::from_str(question).unwrap_or_default();
    let items: Vec<Value> = DISHES
        .iter()
        .map(|(name, serving, [kcal, p, c, f], alcohol)| {
            json!({"name": name, "serving": serving, "kcal": kcal, "protein_g": p, "carbs_g": c, "fat_g": f, "alcohol": alcohol})
        })
        .collect();
    let name = title_case(question["restaurant"].as_str().unwrap_or_default());
    let menu = json!({ "restaurant": name, "items": items }).to_string();
    Json(json!({"choices": [{"message": {"content": menu}, "finish_reason": "stop"}]}))
}

fn title_case(name: &str) -> String {
    let word = |w: &str| {
        let mut letters = w.chars();
        letters
            .next()
            .into_iter()
            .flat_map(char::to_uppercase)
            .chain(letters)
            .collect::<String>()
    };
    name.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// # Errors
/// No port.
pub async fn sample() -> anyhow::Result<Arc<Menus>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base = Url::parse(&format!("http://{}/v1", listener.local_addr()?))?;
    let router = Router::new().route("/v1/chat/completions", post(answer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let agent = Agent::new(
        base,
        "none".to_owned().into(),
        "sample".into(),
        Dialect::None,
        PATIENCE,
    )?;
    Ok(Arc::new(Menus { agent, places: None }))
}
