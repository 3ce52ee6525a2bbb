//! The day's plan: targets, and a suggestion to accept or reject.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::App;
use super::body::{Check, Json};
use super::caller::CurrentUser;
use crate::domain::plan::{Rejected, Status, Suggestion};
use crate::domain::targets::targets;
use crate::plan::{of_today, suggest};
use crate::problem::{Code, Problem, ProblemBody};
use crate::store::UserTx;
use crate::store::bio_profile::BioProfile;
use crate::store::daily_plan::DailyPlan;

/// Targets and suggestion of a day.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct PlanView {
    #[schema(value_type = String, format = Date)]
    date: Date,
    timezone: String,
    /// kcal; null while the profile does not say enough.
    #[schema(required)]
    target_calories: Option<i32>,
    #[schema(required)]
    target_protein: Option<i32>,
    /// Fields of the profile that targets need.
    missing: Vec<&'static str>,
    #[schema(required)]
    next_meal_suggestion: Option<Suggestion>,
    rejected_suggestions: Vec<Rejected>,
    #[schema(required)]
    energy_score: Option<f64>,
}

fn view(plan: DailyPlan, profile: &BioProfile) -> PlanView {
    let missing = targets(&profile.body(None), plan.date).missing;
    PlanView {
        date: plan.date,
        timezone: plan.timezone,
        target_calories: plan.target_calories,
        target_protein: plan.target_protein,
        missing,
        next_meal_suggestion: plan.suggestion,
        rejected_suggestions: plan.rejected,
        energy_score: plan.energy_score,
    }
}

/// The plan of today; the first read of a day makes it.
#[utoipa::path(get, path = "/plan", tag = "plan", responses((status = 200, body = PlanView)))]
pub(super) async fn read(
    State(app): State<Arc<App>>,
    user: CurrentUser,
) -> Result<Answer<PlanView>, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let profile = tx.profile().await?.value;
    let plan = of_today(&mut tx, &profile, app.clock.now()).await?;
    tx.commit().await?;
    Ok(Answer(view(plan, &profile)))
}

/// Which suggestion is meant: one that has changed meanwhile is not accepted or rejected by mistake.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SuggestionVerdict {
    #[schema(max_length = 200)]
    food: String,
    #[schema(max_length = 200)]
    reason: Option<String>,
}

/// Accepts today's suggestion; it is not replaced any more.
#[utoipa::path(post, path = "/plan/accept", tag = "plan", request_body = SuggestionVerdict, responses(
    (status = 200, body = PlanView),
    (status = 409, description = "`no_suggestion`: there is none, or another", body = ProblemBody,
        content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn accept(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Json(verdict): Json<SuggestionVerdict>,
) -> Result<Answer<PlanView>, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let profile = tx.profile().await?.value;
    let (plan, mut suggestion) = current(&mut tx, &profile, app.clock.now(), &verdict).await?;
    suggestion.status = Status::Accepted;
    tx.put_suggestion(plan.date, Some(&suggestion), None).await?;
    commit_and_show(&app, tx, plan.date, &profile).await
}

/// Rejects today's suggestion; the next that fits takes its place, or the word that there is none.
#[utoipa::path(post, path = "/plan/reject", tag = "plan", request_body = SuggestionVerdict, responses(
    (status = 200, body = PlanView),
    (status = 409, description = "`no_suggestion`: there is none, or another", body = ProblemBody,
        content_type = "application/problem+json"),
    (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn reject(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Json(verdict): Json<SuggestionVerdict>,
) -> Result<Answer<PlanView>, Problem> {
    let mut check = Check::default();
    let reason = check.maybe_text("/reason", verdict.reason.as_deref(), 200);
    check.done()?;
    let now = app.clock.now();
    let mut tx = app.db.user(user.id).await?;
    let profile = tx.profile().await?.value;
    let (plan, _) = current(&mut tx, &profile, now, &verdict).await?;
    let rejected = Rejected {
        food: verdict.food,
        reason,
        at: now.to_string(),
    };
    let mut all = plan.rejected;
    all.push(rejected.clone());
    let next = suggest(&mut tx, &profile, &all, now).await?;
    tx.put_suggestion(plan.date, Some(&next), Some(&rejected)).await?;
    commit_and_show(&app, tx, plan.date, &profile).await
}

/// Today's plan, locked, and its suggestion if it is the one meant.
async fn current(
    tx: &mut UserTx,
    profile: &BioProfile,
    now: Timestamp,
    verdict: &SuggestionVerdict,
) -> Result<(DailyPlan, Suggestion), Problem> {
    let none = || Problem::new(Code::NoSuggestion, "this is not the suggestion of today");
    let date = of_today(tx, profile, now).await?.date;
    tx.lock_plan(date).await?;
    let plan = tx.plan(date).await?.ok_or_else(none)?;
    match plan.suggestion.clone() {
        Some(s) if s.food.as_deref() == Some(verdict.food.as_str()) => Ok((plan, s)),
        _ => Err(none()),
    }
}

async fn commit_and_show(
    app: &App,
    mut tx: UserTx,
    date: Date,
    profile: &BioProfile,
) -> Result<Answer<PlanView>, Problem> {
    let user = tx.user();
    let plan = tx.plan(date).await?.ok_or_else(Problem::not_found)?;
    tx.commit().await?;
    app.changed(user).await;
    Ok(Answer(view(plan, profile)))
}
