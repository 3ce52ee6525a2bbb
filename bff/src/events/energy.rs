//! The score of today, and what a low one changes.

use jiff::civil::Date;
use serde_json::json;

use super::handle::{Failed, Hands};
use crate::domain::energy;
use crate::plan;
use crate::store::UserId;
use crate::store::outbox::kinds::UPDATE_DAILY_PLAN;

/// Computes the score from the tables; asks for another plan when it crosses the threshold downwards.
pub(super) async fn calculate(hands: &Hands, user: UserId) -> Result<(), Failed> {
    let now = hands.now();
    let mut tx = hands.db.user(user).await?;
    let profile = tx.profile().await?.value;
    let calendar = profile.calendar();
    let date = plan::of_today(&mut tx, &profile, now).await?.date;
    // Two computations at once would both see the crossing.
    tx.lock_plan(date).await?;
    let before = tx.plan(date).await?.and_then(|p| p.energy_score);
    let samples = tx.samples_until(energy::reach(&calendar, now), now).await?;
    let score = energy::score(energy::gather(&calendar, now, &samples)).score;
    if score == before {
        tx.commit().await?;
        return Ok(());
    }
    tx.put_energy_score(date, score).await?;
    let low = |s: f64| s < hands.threshold;
    if score.is_some_and(low) && !before.is_some_and(low) {
        let key = format!("{UPDATE_DAILY_PLAN}:{}:{date}", user.uuid());
        tx.emit(
            UPDATE_DAILY_PLAN,
            Some(&key),
            &json!({ "date": date.to_string() }),
        )
        .await?;
    }
    tx.commit().await?;
    hands.cache.invalidate(user).await;
    Ok(())
}

/// Suggests a dinner for a day of low energy, once a day; what the user accepted or was shown already stays.
pub(super) async fn update_plan(hands: &Hands, user: UserId, date: Date) -> Result<(), Failed> {
    let now = hands.now();
    let mut tx = hands.db.user(user).await?;
    let profile = tx.profile().await?.value;
    let today = plan::of_today(&mut tx, &profile, now).await?.date;
    if today != date {
        // Yesterday's dinner is over.
        return Ok(());
    }
    tx.lock_plan(date).await?;
    let Some(plan) = tx.plan(date).await? else {
        return Ok(());
    };
    if plan.suggestion.is_some() || !plan.rejected.is_empty() {
        return Ok(());
    }
    let suggestion = plan::suggest(&mut tx, &profile, &plan.rejected, now).await?;
    tx.put_suggestion(date, Some(&suggestion), None).await?;
    tx.commit().await?;
    hands.cache.invalidate(user).await;
    Ok(())
}
