//! Meals.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::App;
use super::body::{Check, Json, given};
use super::etag::{IfMatch, outcome, removal, tagged};
use super::idempotent::{self, Key};
use super::query::{Id, Params, page};
use crate::auth::CurrentUser;
use crate::problem::{Problem, ProblemBody};
use crate::store::food_logs::{FoodLog, FoodLogFields};
use crate::store::page::Page;
use crate::store::row::Changed;

const PATH: &str = "/food_logs";
const META_BYTES: usize = 32 << 10;

#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MealStatus {
    PendingConfirmation,
    Confirmed,
    Rejected,
}

impl MealStatus {
    fn as_str(self) -> &'static str {
        match self {
            Self::PendingConfirmation => "pending_confirmation",
            Self::Confirmed => "confirmed",
            Self::Rejected => "rejected",
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MealType {
    Breakfast,
    Lunch,
    Dinner,
    Snack,
    Other,
}

impl MealType {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Breakfast => "breakfast",
            Self::Lunch => "lunch",
            Self::Dinner => "dinner",
            Self::Snack => "snack",
            Self::Other => "other",
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct ListParams {
    /// Only meals of this status.
    #[param(inline)]
    status: Option<MealStatus>,
    /// 1 to 200; 50 unless told.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Meals, the latest first.
#[utoipa::path(get, path = "/food_logs", tag = "food_logs", params(ListParams), responses(
    (status = 200, body = Page<FoodLog>),
    (status = 400, body = ProblemBody, content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Params(params): Params<ListParams>,
) -> Result<axum::Json<Page<FoodLog>>, Problem> {
    let status = params.status.map(MealStatus::as_str);
    let filter = format!("food_logs {}", status.unwrap_or_default());
    let (list, limit, after) = page(user.id, &filter, params.limit, params.cursor.as_deref())?;
    let mut tx = app.db.user(user.id).await?;
    Ok(axum::Json(tx.food_logs_page(&list, status, after, limit).await?))
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewFoodLog {
    /// Now unless told; at most a day ahead.
    #[schema(value_type = Option<String>, format = DateTime)]
    log_time: Option<Timestamp>,
    #[schema(min_length = 1, max_length = 200)]
    food_name: String,
    /// kcal.
    #[schema(minimum = 0, maximum = 20_000)]
    calories: Option<i32>,
    #[schema(minimum = 0, maximum = 2_000)]
    protein_g: Option<i32>,
    #[schema(minimum = 0, maximum = 2_000)]
    carbs_g: Option<i32>,
    #[schema(minimum = 0, maximum = 2_000)]
    fats_g: Option<i32>,
    #[schema(inline)]
    meal_type: Option<MealType>,
    #[serde(default)]
    is_caffeine: bool,
    #[serde(default)]
    is_alcohol: bool,
    /// Up to 32 KiB, for example `{"breakdown":{"bread":120,"butter":50}}`.
    #[serde(default)]
    meta_data: Map<String, Value>,
}

impl NewFoodLog {
    fn checked(
        self,
        now: Timestamp,
        meal_type: Option<String>,
        status: String,
    ) -> Result<FoodLogFields, Problem> {
        let mut check = Check::default();
        let log_time = check.instant("/log_time", self.log_time.unwrap_or(now));
        if log_time > now + SignedDuration::from_hours(24) {
            check.fail("/log_time", "in_the_future");
        }
        let fields = FoodLogFields {
            log_time,
            food_name: check.text("/food_name", &self.food_name, 200),
            calories: check.range("/calories", self.calories, 0, 20_000),
            protein_g: check.range("/protein_g", self.protein_g, 0, 2_000),
            carbs_g: check.range("/carbs_g", self.carbs_g, 0, 2_000),
            fats_g: check.range("/fats_g", self.fats_g, 0, 2_000),
            meal_type,
            is_caffeine: self.is_caffeine,
            is_alcohol: self.is_alcohol,
            meta_data: check.object("/meta_data", self.meta_data, META_BYTES),
            status,
        };
        check.done()?;
        Ok(fields)
    }
}

/// Logs a meal.
#[utoipa::path(post, path = "/food_logs", tag = "food_logs", request_body = NewFoodLog,
    params(("idempotency-key" = Option<String>, Header, description = "kept for 24 hours")),
    responses((status = 201, body = FoodLog),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn add(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    key: Key,
    Json(new): Json<NewFoodLog>,
) -> Result<Response, Problem> {
    let action = key.action("POST", PATH, &new);
    let meal_type = new.meal_type.map(|m| m.as_str().to_owned());
    let fields = new.checked(app.clock.now(), meal_type, "confirmed".into())?;
    let mut tx = app.db.user(user.id).await?;
    if let Some(before) = idempotent::claim(&mut tx, action.as_ref()).await? {
        return Ok(before);
    }
    let log = tx.add_food_log(&fields).await?;
    let answer = idempotent::answer(&mut tx, action.as_ref(), StatusCode::CREATED, &log.value).await?;
    tx.commit().await?;
    app.changed(user.id).await;
    Ok(answer)
}

/// One meal.
#[utoipa::path(get, path = "/food_logs/{id}", tag = "food_logs", params(("id" = uuid::Uuid, Path)), responses(
    (status = 200, body = FoodLog, headers(("etag" = String, description = "version, for If-Match"))),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
) -> Result<Response, Problem> {
    let mut tx = app.db.user(user.id).await?;
    Ok(tagged(StatusCode::OK, &tx.food_log(id).await?))
}

/// Fields to change; null clears a number, what is absent stays. A new `log_time` moves the meal between diary days.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FoodLogChange {
    #[schema(value_type = Option<String>, format = DateTime)]
    log_time: Option<Timestamp>,
    #[schema(min_length = 1, max_length = 200)]
    food_name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 20_000)]
    calories: Option<Option<i32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 2_000)]
    protein_g: Option<Option<i32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 2_000)]
    carbs_g: Option<Option<i32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 0, maximum = 2_000)]
    fats_g: Option<Option<i32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<MealType>)]
    meal_type: Option<Option<MealType>>,
    is_caffeine: Option<bool>,
    is_alcohol: Option<bool>,
    meta_data: Option<Map<String, Value>>,
    #[schema(inline)]
    status: Option<MealStatus>,
}

/// Changes a meal.
#[utoipa::path(patch, path = "/food_logs/{id}", tag = "food_logs", request_body = FoodLogChange,
    params(("id" = uuid::Uuid, Path), ("if-match" = String, Header, description = "ETag of the last read")),
    responses((status = 200, body = FoodLog),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
    IfMatch(seen): IfMatch,
    Json(change): Json<FoodLogChange>,
) -> Result<Response, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let old = tx.food_log(id).await?.value;
    let status = change.status.map_or(old.status, |s| s.as_str().to_owned());
    let meal_type = match change.meal_type {
        Some(new) => new.map(|m| m.as_str().to_owned()),
        None => old.meal_type,
    };
    let fields = NewFoodLog {
        log_time: Some(change.log_time.unwrap_or(old.log_time)),
        food_name: change.food_name.unwrap_or(old.food_name),
        calories: change.calories.unwrap_or(old.calories),
        protein_g: change.protein_g.unwrap_or(old.protein_g),
        carbs_g: change.carbs_g.unwrap_or(old.carbs_g),
        fats_g: change.fats_g.unwrap_or(old.fats_g),
        meal_type: None,
        is_caffeine: change.is_caffeine.unwrap_or(old.is_caffeine),
        is_alcohol: change.is_alcohol.unwrap_or(old.is_alcohol),
        meta_data: change.meta_data.unwrap_or(old.meta_data),
    }
    .checked(app.clock.now(), meal_type, status)?;
    let changed = tx.put_food_log(id, seen, &fields).await?;
    if matches!(changed, Changed::Done(_)) {
        tx.commit().await?;
        app.changed(user.id).await;
    }
    outcome(changed)
}

/// Removes a meal.
#[utoipa::path(delete, path = "/food_logs/{id}", tag = "food_logs",
    params(("id" = uuid::Uuid, Path), ("if-match" = String, Header, description = "ETag of the last read")),
    responses((status = 204, description = "gone"),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
    IfMatch(seen): IfMatch,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let changed = tx.remove_food_log(id, seen).await?;
    let done = removal(&changed)?;
    tx.commit().await?;
    app.changed(user.id).await;
    Ok(done)
}
