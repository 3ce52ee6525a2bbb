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
use crate::auth::CurrentUser;
use crate::domain::day::next;
use crate::domain::energy;
use crate::domain::plan::{Eater, Rejected, Status, Suggestion, low_energy};
use crate::domain::targets::{Targets, targets};
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

/// The plan of the diary day at `now`; its first reader makes it.
pub(crate) async fn of_today(
    tx: &mut UserTx,
    profile: &BioProfile,
    now: Timestamp,
) -> Result<DailyPlan, Problem> {
    let calendar = profile.calendar();
    let today = calendar.diary_date(now);
    if let Some(plan) = tx.plan(today).await? {
        return Ok(plan);
    }
    let targets = targets_at(tx, profile, now).await?;
    Ok(tx.plan_or_new(today, profile.zone_name(), &targets).await?)
}

async fn targets_at(tx: &mut UserTx, profile: &BioProfile, now: Timestamp) -> Result<Targets, Problem> {
    let calendar = profile.calendar();
    let samples = tx.samples_until(energy::reach(&calendar, now), now).await?;
    let usual = energy::usual_active_kcal(&calendar, now, &samples);
    Ok(targets(&profile.body(usual), calendar.diary_date(now)))
}

/// After a change of the profile, today follows it.
pub(super) async fn retarget(tx: &mut UserTx, profile: &BioProfile, now: Timestamp) -> Result<(), Problem> {
    let targets = targets_at(tx, profile, now).await?;
    let today = profile.calendar().diary_date(now);
    Ok(tx.retarget(today, profile.zone_name(), &targets).await?)
}

/// A dinner for a day of low energy, from what is known of the user now.
pub(crate) async fn suggest(
    tx: &mut UserTx,
    profile: &BioProfile,
    rejected: &[Rejected],
    now: Timestamp,
) -> Result<Suggestion, Problem> {
    let calendar = profile.calendar();
    let today = calendar.diary_date(now);
    let pantry: Vec<_> = tx
        .whole_pantry()
        .await?
        .into_iter()
        .map(|i| (i.item_name, i.expiry_date))
        .collect();
    let eater = Eater {
        diet: profile.dietary_preference.as_deref(),
        allergies: &profile.allergies,
        dislikes: &profile.dislikes,
        pantry: &pantry,
        rejected,
    };
    // Without fasting a dinner is never out of hours.
    let (window, opens) = if calendar.hours.fasting {
        let today = calendar.window(today);
        let upcoming = if now < today.to {
            today
        } else {
            calendar.window(next(calendar.local_date(now)))
        };
        (upcoming, calendar.wall_time(upcoming.from))
    } else {
        (
            crate::domain::day::Window {
                from: Timestamp::MIN,
                to: Timestamp::MAX,
            },
            jiff::civil::Time::midnight(),
        )
    };
    let opens = format!("{:02}:{:02}", opens.hour(), opens.minute());
    Ok(low_energy(&eater, now, today, window, &opens))
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
