//! Phones that want to be pushed to.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::App;
use super::body::{Check, Json};
use super::caller::CurrentUser;
use super::query::Id;
use crate::problem::{Problem, ProblemBody};
use crate::store::devices::Platform;

/// Phones of one user; the oldest beyond are forgotten.
const MOST: i64 = 10;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeviceView {
    id: Uuid,
    platform: Platform,
    #[schema(value_type = String, format = DateTime)]
    registered_at: Timestamp,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewDevice {
    platform: Platform,
    /// APNs: hexadecimal. FCM: the registration token.
    #[schema(min_length = 16, max_length = 4096)]
    token: String,
}

/// This user's phones, the newest first.
#[utoipa::path(get, path = "/devices", tag = "devices", responses((status = 200, body = Vec<DeviceView>)))]
pub(super) async fn list(
    State(app): State<Arc<App>>,
    user: CurrentUser,
) -> Result<axum::Json<Vec<DeviceView>>, Problem> {
    let mut tx = app.db.user(user.id).await?;
    let devices = tx.devices().await?;
    Ok(axum::Json(
        devices
            .into_iter()
            .map(|d| DeviceView {
                id: d.id,
                platform: d.platform,
                registered_at: d.registered_at,
            })
            .collect(),
    ))
}

/// Registers a phone, or says that it is still there; to be called at each start of the app. Whoever had it before has it no
/// more. Ten phones a user; the oldest beyond are forgotten.
#[utoipa::path(put, path = "/devices", tag = "devices", request_body = NewDevice, responses(
    (status = 200, body = DeviceView),
    (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn register(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Json(new): Json<NewDevice>,
) -> Result<axum::Json<DeviceView>, Problem> {
    let good = (16..=4096).contains(&new.token.len())
        && match new.platform {
            Platform::Apns => new.token.len() <= 200 && new.token.bytes().all(|b| b.is_ascii_hexdigit()),
            Platform::Fcm => new.token.bytes().all(|b| b.is_ascii_graphic()),
        };
    let mut check = Check::default();
    if !good {
        check.fail("/token", "not_a_device_token");
    }
    check.done()?;
    let now = app.clock.now();
    let mut tx = app.db.user(user.id).await?;
    let id = tx.register_device(new.platform, &new.token, now, MOST).await?;
    tx.commit().await?;
    Ok(axum::Json(DeviceView {
        id,
        platform: new.platform,
        registered_at: now,
    }))
}

/// No more pushes to this phone; at sign-out.
#[utoipa::path(delete, path = "/devices/{device}", tag = "devices", params(("device" = Uuid, Path)), responses(
    (status = 204, description = "gone"),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(super) async fn forget(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    let mut tx = app.db.user(user.id).await?;
    if !tx.forget_device(id, None).await? {
        return Err(Problem::not_found());
    }
    tx.commit().await?;
    Ok(StatusCode::NO_CONTENT)
}
