//! The energy score, and how the user feels.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::App;
use super::body::{Check, Json};
use super::caller::CurrentUser;
use crate::domain::energy::{self, EnergyScore};
use crate::domain::metrics::Sample;
use crate::problem::{Problem, ProblemBody};
use crate::store::outbox::kinds::CALCULATE_ENERGY_SCORE;

/// The score of today as it stands now, its components and what they are held against. Daytime samples of a watch
/// against an all-day baseline are noisy, and the last four hours are often empty: then that term is absent.
#[utoipa::path(get, path = "/energy", tag = "energy", responses((status = 200, body = EnergyScore)))]
pub(super) async fn read(
    State(app): State<Arc<App>>,
    user: CurrentUser,
) -> Result<Answer<EnergyScore>, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let calendar = tx.profile().await?.value.calendar();
    let now = app.clock.now();
    let samples = tx.samples_until(energy::reach(&calendar, now), now).await?;
    Ok(Answer(energy::score(energy::gather(&calendar, now, &samples))))
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Feeling {
    /// 0 is worst, 100 is best.
    #[schema(minimum = 0, maximum = 100)]
    value: i32,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Felt {
    value: i32,
}

/// How the user feels now; the last word of a day counts.
#[utoipa::path(post, path = "/feel", tag = "energy", request_body = Feeling, responses(
    (status = 200, body = Felt),
    (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn feel(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Json(feeling): Json<Feeling>,
) -> Result<Answer<Felt>, Problem> {
    let mut check = Check::default();
    check.range("/value", Some(feeling.value), 0, 100);
    check.done()?;
    let row = Sample {
        time: app.clock.now().as_microsecond(),
        source: "manual".into(),
        feel: Some(feeling.value),
        ..Sample::default()
    };
    let mut tx = app.db.user(user.id).await?;
    tx.upsert_samples(&[row]).await?;
    tx.emit(CALCULATE_ENERGY_SCORE, None, &json!({})).await?;
    tx.commit().await?;
    Ok(Answer(Felt { value: feeling.value }))
}
