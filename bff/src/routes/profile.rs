//! The profile: who the user is, and when they eat.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::civil::{Date, Time};
use serde::Deserialize;
use utoipa::ToSchema;

use super::App;
use super::body::{Check, Json, given};
use super::caller::CurrentUser;
use super::etag::{IfMatch, outcome, tagged};
use crate::domain::day;
use crate::problem::{Problem, ProblemBody};
use crate::store::bio_profile::BioProfile;
use crate::store::outbox::kinds::FORGET_TRAINING;
use crate::store::row::Changed;

/// The profile; before the first change everything is null.
#[utoipa::path(get, path = "/profile", tag = "profile", responses(
    (status = 200, body = BioProfile, headers(("etag" = String, description = "version, for If-Match")))))]
pub(super) async fn read(State(app): State<Arc<App>>, user: CurrentUser) -> Result<Response, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let profile = tx.profile().await?;
    Ok(tagged(StatusCode::OK, &profile))
}

/// Fields to change; null clears a field, what is absent stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ProfileChange {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<i32>, minimum = 50, maximum = 280)]
    height_cm: Option<Option<i32>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<f64>, minimum = 2, maximum = 700)]
    weight_kg: Option<Option<f64>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, format = Date)]
    birth_date: Option<Option<Date>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    gender: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "fat_loss")]
    primary_goal: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "vegan")]
    dietary_preference: Option<Option<String>>,
    #[schema(max_items = 100)]
    allergies: Option<Vec<String>>,
    #[schema(max_items = 100)]
    dislikes: Option<Vec<String>>,
    is_fasting_enabled: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "20:00")]
    fasting_start_time: Option<Option<Time>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "12:00")]
    fasting_end_time: Option<Option<Time>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "Europe/Berlin")]
    timezone: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "07:00")]
    wake_time: Option<Option<Time>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>, example = "23:00")]
    sleep_time: Option<Option<Time>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<f64>, minimum = 5, maximum = 60)]
    plate_diameter_cm: Option<Option<f64>>,
    consent_training: Option<bool>,
}

impl ProfileChange {
    /// The profile after this change.
    fn apply(self, old: BioProfile, today: Date) -> Result<BioProfile, Problem> {
        let mut check = Check::default();
        let mut word = |pointer: &str, new: Option<Option<String>>, old, max| match new {
            Some(new) => new.map(|w| check.word(pointer, &w, max)),
            None => old,
        };
        let gender = word("/gender", self.gender, old.gender, 20);
        let primary_goal = word("/primary_goal", self.primary_goal, old.primary_goal, 50);
        let dietary_preference = word(
            "/dietary_preference",
            self.dietary_preference,
            old.dietary_preference,
            50,
        );
        let height_cm = check.range("/height_cm", self.height_cm.unwrap_or(old.height_cm), 50, 280);
        let weight_kg = check.range("/weight_kg", self.weight_kg.unwrap_or(old.weight_kg), 2.0, 700.0);
        let plate = self.plate_diameter_cm.unwrap_or(old.plate_diameter_cm);
        let plate_diameter_cm = check.range("/plate_diameter_cm", plate, 5.0, 60.0);
        let birth_date = self.birth_date.unwrap_or(old.birth_date);
        if birth_date.is_some_and(|b| b > today || b.year() < 1900) {
            check.fail("/birth_date", "out_of_range");
        }
        let timezone = self.timezone.unwrap_or(old.timezone);
        if timezone.as_deref().is_some_and(|z| day::zone(z).is_none()) {
            check.fail("/timezone", "unknown_time_zone");
        }
        let next = BioProfile {
            height_cm,
            weight_kg,
            birth_date,
            gender,
            primary_goal,
            dietary_preference,
            allergies: words(&mut check, "/allergies", self.allergies, old.allergies),
            dislikes: words(&mut check, "/dislikes", self.dislikes, old.dislikes),
            is_fasting_enabled: self.is_fasting_enabled.unwrap_or(old.is_fasting_enabled),
            fasting_start_time: self
                .fasting_start_time
                .unwrap_or(old.fasting_start_time)
                .map(seconds),
            fasting_end_time: self.fasting_end_time.unwrap_or(old.fasting_end_time).map(seconds),
            timezone,
            wake_time: self.wake_time.unwrap_or(old.wake_time).map(seconds),
            sleep_time: self.sleep_time.unwrap_or(old.sleep_time).map(seconds),
            plate_diameter_cm,
            consent_training: self.consent_training.unwrap_or(old.consent_training),
        };
        check_hours(&mut check, &next);
        check.done()?;
        Ok(next)
    }
}

/// Seconds say nothing about meals.
fn seconds(t: Time) -> Time {
    jiff::civil::time(t.hour(), t.minute(), 0, 0)
}

fn words(check: &mut Check, pointer: &str, new: Option<Vec<String>>, old: Vec<String>) -> Vec<String> {
    let Some(new) = new else { return old };
    if new.len() > 100 {
        check.fail(pointer, "too_many");
        return old;
    }
    new.iter()
        .enumerate()
        .map(|(i, w)| check.text(&format!("{pointer}/{i}"), w, 100))
        .collect()
}

fn check_hours(check: &mut Check, p: &BioProfile) {
    if p.is_fasting_enabled {
        match (p.fasting_start_time, p.fasting_end_time) {
            (None, _) => check.fail("/fasting_start_time", "needed_for_fasting"),
            (_, None) => check.fail("/fasting_end_time", "needed_for_fasting"),
            (Some(start), Some(end)) if start == end => check.fail("/fasting_end_time", "same_as_start"),
            _ => {}
        }
    }
    let hours = day::EatingHours::awake(p.wake_time, p.sleep_time);
    if hours.start == hours.end {
        check.fail("/sleep_time", "same_as_wake_time");
    }
}

/// Changes the profile. Today's targets and the rings follow at once; closed days keep theirs.
#[utoipa::path(patch, path = "/profile", tag = "profile", request_body = ProfileChange,
    params(("if-match" = String, Header, description = "ETag of the last read")),
    responses(
        (status = 200, body = BioProfile, headers(("etag" = String, description = "new version"))),
        (status = 412, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json"),
        (status = 428, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn change(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    IfMatch(seen): IfMatch,
    Json(change): Json<ProfileChange>,
) -> Result<Response, Problem> {
    let now = app.clock.now();
    let mut tx = app.db.user(user.id).await?;
    let old = tx.profile().await?;
    let allowed = old.value.consent_training;
    // The merge is of what the client saw; if it saw something else, the write below says so.
    let next = change.apply(old.value, now.to_zoned(jiff::tz::TimeZone::UTC).date())?;
    let changed = tx.put_profile(seen, &next).await?;
    if let Changed::Done(profile) = &changed {
        crate::plan::retarget(&mut tx, &profile.value, now).await?;
        if allowed && !profile.value.consent_training {
            tx.emit(FORGET_TRAINING, None, &serde_json::json!({})).await?;
        }
        tx.commit().await?;
    }
    // Also if it was changed before: whoever did it may have died before it told the cache.
    app.changed(user.id).await;
    outcome(changed)
}
