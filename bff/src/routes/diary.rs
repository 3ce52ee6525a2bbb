//! Sums of one day, past or present, counted where it was lived.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use utoipa::ToSchema;

use super::App;
use super::caller::CurrentUser;
use super::query::Day;
use crate::domain::day;
use crate::domain::macros::Totals;
use crate::domain::metrics::{SLOT_US, merged_slots, sum_between};
use crate::problem::{Problem, ProblemBody};

/// One diary day.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DiaryDay {
    #[schema(value_type = String, format = Date)]
    date: Date,
    timezone: String,
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    totals: Totals,
    pending: i64,
    #[schema(required)]
    target_calories: Option<i32>,
    #[schema(required)]
    target_protein: Option<i32>,
    #[schema(required)]
    energy_score: Option<f64>,
    /// Merged over sources; null if nothing was measured.
    #[schema(required)]
    steps: Option<i64>,
    /// kcal, merged over sources; null if nothing was measured.
    #[schema(required)]
    active_energy_kcal: Option<f64>,
}

/// A day's meals and measures. After a flight a past day keeps the zone that it was lived in.
#[utoipa::path(get, path = "/diary/{date}", tag = "diary",
    params(("date" = String, Path, description = "local date, YYYY-MM-DD")),
    responses((status = 200, body = DiaryDay),
        (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn read(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Day(date): Day,
) -> Result<Answer<DiaryDay>, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let profile = tx.profile().await?.value;
    let mut calendar = profile.calendar();
    let mut timezone = profile.zone_name().to_owned();
    if let Some(name) = tx.day_zone(date).await?
        && let Some(zone) = day::zone(&name)
    {
        calendar.zone = zone;
        timezone = name;
    }
    let span = calendar.diary_day(date);
    let (totals, pending) = tx.eaten(span.from, span.to).await?;
    let plan = tx.plan(date).await?;
    // Samples of a slot that began before the day do not count for it, but the slot's first rows may.
    let first = Timestamp::from_microsecond(span.from.as_microsecond().div_euclid(SLOT_US) * SLOT_US)
        .unwrap_or(span.from);
    let samples = tx.samples(first, span.to).await?;
    let steps = sum_between(
        &merged_slots(&samples, |s| s.steps.map(f64::from)),
        span.from,
        span.to,
    );
    let energy = sum_between(&merged_slots(&samples, |s| s.energy), span.from, span.to);
    Ok(Answer(DiaryDay {
        date,
        timezone,
        from: span.from,
        to: span.to,
        totals,
        pending,
        target_calories: plan.as_ref().and_then(|p| p.target_calories),
        target_protein: plan.as_ref().and_then(|p| p.target_protein),
        energy_score: plan.as_ref().and_then(|p| p.energy_score),
        steps: steps.map(|s| s.round() as i64),
        active_energy_kcal: energy.map(|e| (e * 10.0).round() / 10.0),
    }))
}
