//! A user's plan of the day: made from the tables by the rules of [`crate::domain`], for whoever asks first.

use jiff::Timestamp;

use crate::domain::day::{Window, next};
use crate::domain::energy;
use crate::domain::plan::{Eater, Rejected, Suggestion, low_energy};
use crate::domain::targets::{Targets, targets};
use crate::store::UserTx;
use crate::store::bio_profile::BioProfile;
use crate::store::daily_plan::DailyPlan;

/// The plan of the diary day at `now`; its first reader makes it.
///
/// # Errors
/// The database.
pub async fn of_today(
    tx: &mut UserTx,
    profile: &BioProfile,
    now: Timestamp,
) -> Result<DailyPlan, sqlx::Error> {
    let calendar = profile.calendar();
    let today = calendar.diary_date(now);
    if let Some(plan) = tx.plan(today).await? {
        return Ok(plan);
    }
    let targets = targets_at(tx, profile, now).await?;
    tx.plan_or_new(today, profile.zone_name(), &targets).await
}

async fn targets_at(tx: &mut UserTx, profile: &BioProfile, now: Timestamp) -> Result<Targets, sqlx::Error> {
    let calendar = profile.calendar();
    let samples = tx.samples_until(energy::reach(&calendar, now), now).await?;
    let usual = energy::usual_active_kcal(&calendar, now, &samples);
    Ok(targets(&profile.body(usual), calendar.diary_date(now)))
}

/// After a change of the profile, today follows it.
///
/// # Errors
/// The database.
pub async fn retarget(tx: &mut UserTx, profile: &BioProfile, now: Timestamp) -> Result<(), sqlx::Error> {
    let targets = targets_at(tx, profile, now).await?;
    let today = profile.calendar().diary_date(now);
    tx.retarget(today, profile.zone_name(), &targets).await
}

/// A dinner for a day of low energy, from what is known of the user now.
///
/// # Errors
/// The database.
pub async fn suggest(
    tx: &mut UserTx,
    profile: &BioProfile,
    rejected: &[Rejected],
    now: Timestamp,
) -> Result<Suggestion, sqlx::Error> {
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
            Window {
                from: Timestamp::MIN,
                to: Timestamp::MAX,
            },
            jiff::civil::Time::midnight(),
        )
    };
    let opens = format!("{:02}:{:02}", opens.hour(), opens.minute());
    Ok(low_energy(&eater, now, today, window, &opens))
}
