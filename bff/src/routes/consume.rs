//! Eating from a leftover: one transaction takes the servings and logs the meal.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use super::body::{Check, Json};
use super::caller::CurrentUser;
use super::idempotent::{self, Key};
use super::leftovers::servings;
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::food_logs::{FoodLog, FoodLogFields};
use crate::store::leftovers::Leftover;

const PATH: &str = "/pantry/leftovers/consume";

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Consumption {
    leftover_id: Uuid,
    /// In steps of 0.1, above 0.
    #[schema(minimum = 0.1, maximum = 999.9, multiple_of = 0.1)]
    consumed_servings: f64,
}

/// What is left, and the meal that was logged.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Consumed {
    leftover: Leftover,
    food_log: FoodLog,
}

/// Takes servings and logs them with macros scaled from the stored ones, rounded half up. Of two at once for the last
/// serving, one gets 409 with what is left.
#[utoipa::path(post, path = "/pantry/leftovers/consume", tag = "leftovers", request_body = Consumption,
    params(("idempotency-key" = String, Header, description = "a fresh id for each action; kept for 24 hours")),
    responses((status = 200, body = Consumed),
        (status = 400, body = ProblemBody, content_type = "application/problem+json"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`not_enough_left` with `remaining_servings`, or `idempotency_in_flight`",
            body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn consume(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    key: Key,
    Json(wish): Json<Consumption>,
) -> Result<Response, Problem> {
    let action = key.required("POST", PATH, &wish)?;
    let mut check = Check::default();
    let wanted = servings(&mut check, "/consumed_servings", wish.consumed_servings);
    check.done()?;
    let mut tx = app.db.user_for(user.id, Some(&action)).await?;
    if let Some(before) = idempotent::claim(&mut tx, Some(&action)).await? {
        // The process that did it may have died before it told the cache.
        app.changed(user.id).await;
        return Ok(before);
    }
    let Some(leftover) = tx.take_servings(wish.leftover_id, wanted).await? else {
        // Not kept under the key: a retry after food was added back may succeed.
        let left = tx
            .one::<Leftover>(wish.leftover_id)
            .await?
            .value
            .remaining_servings;
        let left = f64::from(left.tenths()) / 10.0;
        return Err(
            Problem::new(Code::NotEnoughLeft, "fewer servings are left").with("remaining_servings", left)
        );
    };
    let leftover = leftover.value;
    let tenths = |grams: f64| (grams * 10.0).round() as i64;
    let grams = |per_serving: f64| Some(wanted.of_tenths(tenths(per_serving)));
    let mut meta = Map::new();
    meta.insert("leftover_id".into(), json!(leftover.id));
    meta.insert("consumed_servings".into(), json!(wanted));
    let meal = FoodLogFields {
        log_time: app.clock.now(),
        food_name: leftover.recipe_name.clone(),
        calories: Some(wanted.of_whole(leftover.calories_per_serving)),
        protein_g: grams(leftover.macros_json.p),
        carbs_g: grams(leftover.macros_json.c),
        fats_g: grams(leftover.macros_json.f),
        meal_type: None,
        is_caffeine: false,
        is_alcohol: false,
        meta_data: meta,
        status: "confirmed".into(),
    };
    let food_log = FoodLog::new(Uuid::new_v4(), meal);
    let consumed = Consumed { leftover, food_log };
    let answer = idempotent::stored(StatusCode::OK, &consumed)?;
    tx.log_and_answer(&consumed.food_log, &action, &answer).await?;
    tx.commit().await?;
    app.changed(user.id).await;
    Ok(idempotent::json(StatusCode::OK, answer.body))
}
