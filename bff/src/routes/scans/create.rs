//! A scan begins: what the phone will upload, where to, and that it has.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::shape::{self, NewScanBody, ScanBody};
use crate::domain::scan;
use crate::domain::upload::{PHOTOS, PhotoKey, PhotoKind};
use crate::problem::{Code, Problem, ProblemBody};
use crate::routes::App;
use crate::routes::body::{Check, Json};
use crate::routes::caller::CurrentUser;
use crate::routes::food_logs::MealType;
use crate::routes::idempotent::{self, Key};
use crate::routes::query::Id;
use crate::scans::Scans;
use crate::store::UserTx;
use crate::store::scans::{NewScan, Photo};

const PATH: &str = "/scans";
/// Storage is asked for photos so long after a scan began, in case no event comes.
const FIRST_LOOK: SignedDuration = SignedDuration::from_secs(10);
/// A phone's clock that is off by less is believed.
const CLOCK_OFF: SignedDuration = SignedDuration::from_secs(60);
/// A meal may be scanned so long after it was eaten.
const OLDEST: SignedDuration = SignedDuration::from_hours(30 * 24);

/// One photo to come.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct PhotoToCome {
    /// `image/jpeg`, `image/png`, `image/webp` or `image/heic`.
    #[schema(max_length = 50)]
    content_type: String,
    /// Size of the file; the limit is 20 MiB unless the service is told another.
    #[schema(minimum = 1)]
    bytes: u64,
    /// 0 = phone flat, lens straight down; 90 = upright.
    #[schema(minimum = -10, maximum = 90)]
    pitch_deg: Option<f64>,
}

#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct ScanToCome {
    /// 1 to 6 of one meal, the best view first.
    #[schema(min_items = 1, max_items = 6)]
    photos: Vec<PhotoToCome>,
    /// When the first photo was taken, by the phone's clock; now unless told.
    #[schema(value_type = Option<String>, format = DateTime)]
    taken_at: Option<Timestamp>,
    /// The phone's clock at sending: tells how far it is off.
    #[schema(value_type = Option<String>, format = DateTime)]
    sent_at: Option<Timestamp>,
    /// Height of the lens above the table, if the phone knows.
    #[schema(minimum = 5, maximum = 300)]
    camera_height_cm: Option<f64>,
    /// Of the plate in view; the profile's unless told.
    #[schema(minimum = 5, maximum = 60)]
    plate_diameter_cm: Option<f64>,
    #[schema(inline)]
    meal_type: Option<MealType>,
    /// "half of it", "with olive oil": the vision model reads it.
    #[schema(min_length = 1, max_length = 500)]
    note: Option<String>,
}

/// The instant of a meal: the phone's word, put right by how far its clock is off, and never in the future.
fn eaten_at(
    taken_at: Option<Timestamp>,
    sent_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<Timestamp, &'static str> {
    let Some(taken) = taken_at else { return Ok(now) };
    let off = sent_at.map_or(SignedDuration::ZERO, |sent| now.duration_since(sent));
    let taken = if off.abs() > CLOCK_OFF {
        taken.checked_add(off).map_err(|_| "out_of_range")?
    } else {
        taken
    };
    if taken < now - OLDEST {
        return Err("too_long_ago");
    }
    Ok(taken.min(now))
}

impl ScanToCome {
    fn checked(&self, user: Uuid, most: u64, now: Timestamp) -> Result<(NewScan, Vec<Photo>), Problem> {
        let mut check = Check::default();
        if self.photos.is_empty() || self.photos.len() > PHOTOS {
            check.fail("/photos", "1_to_6");
        }
        let meal_group = Uuid::now_v7();
        let mut photos = Vec::new();
        for (photo, position) in self.photos.iter().zip(1_u8..=6) {
            let at = format!("/photos/{}", position - 1);
            let kind = PhotoKind::of_content_type(&photo.content_type);
            if kind.is_none() {
                check.fail(&format!("{at}/content_type"), "unknown_kind_of_photo");
            }
            check.range(&format!("{at}/bytes"), Some(photo.bytes), 1, most);
            let pitch_deg = check.range(&format!("{at}/pitch_deg"), photo.pitch_deg, -10.0, 90.0);
            let key = PhotoKey {
                user,
                meal_group,
                position,
            };
            photos.push(Photo {
                position: position.into(),
                key: kind.map(|k| key.text(k)).unwrap_or_default(),
                content_type: photo.content_type.clone(),
                bytes: i64::try_from(photo.bytes).unwrap_or(i64::MAX),
                // As it is signed and stored.
                pitch_deg: pitch_deg.map(|p| (p * 100.0).round() / 100.0),
                uploaded_at: None,
                kept_at: None,
            });
        }
        let camera_height_cm = check.range("/camera_height_cm", self.camera_height_cm, 5.0, 300.0);
        let plate_diameter_cm = check.range("/plate_diameter_cm", self.plate_diameter_cm, 5.0, 60.0);
        let taken_at = eaten_at(self.taken_at, self.sent_at, now).unwrap_or_else(|code| {
            check.fail("/taken_at", code);
            now
        });
        let taken_at = check.instant("/taken_at", taken_at);
        let note = check.maybe_text("/note", self.note.as_deref(), 500);
        check.done()?;
        let scan = NewScan {
            id: Uuid::now_v7(),
            meal_group,
            state: scan::State::Created,
            model_set: None,
            plate_diameter_cm,
            camera_height_cm,
            taken_at,
            meal_type: self.meal_type.map(|m| m.as_str().to_owned()),
            note,
            consent_training: false,
        };
        Ok((scan, photos))
    }
}

/// # Errors
/// `rate_limited` if too many scans of the user are under way.
async fn admit(tx: &mut UserTx, scans: &Scans) -> Result<(), Problem> {
    if tx.scans_under_way().await? < scans.rules.under_way {
        return Ok(());
    }
    let mut problem = Problem::new(Code::RateLimited, "too many scans of this user are under way");
    problem.retry_after_s = Some(10);
    Err(problem)
}

/// Begins a scan. Upload each photo to one of its addresses within five minutes; the rest happens by itself.
#[utoipa::path(post, path = "/scans", tag = "scans", request_body = ScanToCome,
    params(("idempotency-key" = Option<String>, Header, description = "kept for 24 hours")),
    responses((status = 201, body = NewScanBody),
        (status = 409, body = ProblemBody, content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::routes) async fn add(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    key: Key,
    Json(new): Json<ScanToCome>,
) -> Result<Response, Problem> {
    let scans = app.scans()?;
    let now = app.clock.now();
    let action = key.action("POST", PATH, &new);
    let (mut scan, photos) = new.checked(user.id.uuid(), scans.rules.photo_bytes, now)?;
    let mut tx = app.db.user_for(user.id, action.as_ref()).await?;
    if let Some(before) = idempotent::claim(&mut tx, action.as_ref()).await? {
        return Ok(before);
    }
    admit(&mut tx, scans).await?;
    let profile = tx.profile().await?.value;
    scan.plate_diameter_cm = scan.plate_diameter_cm.or(profile.plate_diameter_cm);
    scan.consent_training = profile.consent_training;
    let uploads = scans.sign(&photos).await?;
    let stored = tx.add_scan(&scan, now + FIRST_LOOK, now).await?;
    for photo in &photos {
        tx.add_photo(scan.meal_group, photo).await?;
    }
    // Nothing is uploaded or measured yet: no addresses have to be signed.
    let fresh = ScanBody::begun(stored, &photos);
    let body = NewScanBody { scan: fresh, uploads };
    let answer = idempotent::answer(&mut tx, action.as_ref(), StatusCode::CREATED, &body).await?;
    tx.commit().await?;
    Ok(answer)
}

/// Fresh addresses for the photos that have not come.
#[utoipa::path(post, path = "/scans/{id}/uploads", tag = "scans", params(("id" = Uuid, Path)), responses(
    (status = 200, body = NewScanBody),
    (status = 404, body = ProblemBody, content_type = "application/problem+json"),
    (status = 409, description = "`scan_state`: no photo is awaited", body = ProblemBody,
        content_type = "application/problem+json")))]
pub(in crate::routes) async fn sign(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
) -> Result<axum::Json<NewScanBody>, Problem> {
    let scans = app.scans()?;
    let mut tx = app.db.user(user.id).await?;
    let scan = tx.scan(id).await?;
    if scan.state != scan::State::Created {
        return Err(impossible(scan.state));
    }
    let photos = tx.photos(scan.meal_group).await?;
    let uploads = scans.sign(&photos).await?;
    let scan = shape::body(scans, &user, tx, scan).await?;
    Ok(axum::Json(NewScanBody { scan, uploads }))
}

/// What the phone says that it has uploaded is looked for at once; needed only where storage tells nobody.
#[utoipa::path(post, path = "/scans/{id}/uploaded", tag = "scans", params(("id" = Uuid, Path)), responses(
    (status = 200, body = ScanBody),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::routes) async fn uploaded(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
) -> Result<Response, Problem> {
    let scans = app.scans()?;
    let mut tx = app.db.user(user.id).await?;
    let scan = tx.scan(id).await?;
    drop(tx);
    if scan.state == scan::State::Created {
        match scans.look_for_photos(user.id, scan.meal_group).await {
            // The photo is safe; the job is submitted later.
            Ok(()) | Err(crate::scans::Stuck::Vision(_)) => {}
            Err(stuck) => return Err(stuck.into()),
        }
    }
    let mut tx = app.db.user(user.id).await?;
    let scan = tx.scan(id).await?;
    shape::answer(scans, &user, tx, scan, StatusCode::OK).await
}

pub(super) fn impossible(state: scan::State) -> Problem {
    Problem::new(Code::ScanState, "this cannot be done to a scan in its state").with("state", state.as_str())
}

#[derive(Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::routes) struct Reanalysis {
    /// Name of a set that this service is set up with; the usual one unless told.
    #[schema(max_length = 50)]
    model_set: Option<String>,
}

/// Another analysis of the same photos, without a new upload: after a failure, or with other models. The old scan and its
/// result stay; whichever is confirmed last is what the meal counts.
#[utoipa::path(post, path = "/scans/{id}/reanalyse", tag = "scans", request_body = Reanalysis,
    params(("id" = Uuid, Path)),
    responses((status = 201, body = ScanBody),
        (status = 404, body = ProblemBody, content_type = "application/problem+json"),
        (status = 409, description = "`scan_state`: its photos never came, or it has not ended", body = ProblemBody,
            content_type = "application/problem+json"),
        (status = 422, body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::routes) async fn reanalyse(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    Id(id): Id,
    Json(wish): Json<Reanalysis>,
) -> Result<Response, Problem> {
    let scans = app.scans()?;
    let now = app.clock.now();
    let mut tx = app.db.user(user.id).await?;
    let old = tx.lock_scan(id).await?;
    if scans.vision.named(wish.model_set.as_deref()).is_none() {
        return Err(Problem::field("/model_set", "unknown_model_set"));
    }
    let photos = tx.photos(old.meal_group).await?;
    let under_way = !old.state.is_final() && old.state != scan::State::Ready;
    if under_way || !photos.iter().all(|p| p.uploaded_at.is_some()) {
        return Err(impossible(old.state));
    }
    admit(&mut tx, scans).await?;
    let new = NewScan {
        id: Uuid::now_v7(),
        meal_group: old.meal_group,
        state: scan::State::Uploaded,
        model_set: wish.model_set,
        plate_diameter_cm: old.plate_diameter_cm,
        camera_height_cm: old.camera_height_cm,
        taken_at: old.taken_at,
        meal_type: old.meal_type,
        note: old.note,
        consent_training: old.consent_training,
    };
    tx.add_scan(&new, now, now).await?;
    tx.commit().await?;
    match scans.submit(user.id, new.id).await {
        // The reconciler submits it later.
        Ok(()) | Err(crate::scans::Stuck::Vision(_)) => {}
        Err(stuck) => return Err(stuck.into()),
    }
    let mut tx = app.db.user(user.id).await?;
    let scan = tx.scan(new.id).await?;
    shape::answer(scans, &user, tx, scan, StatusCode::CREATED).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phone_whose_clock_is_off_is_put_right() {
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let now = at("2026-06-10T12:00:00Z");
        let eaten = |taken: &str, sent: Option<&str>| eaten_at(Some(at(taken)), sent.map(at), now);
        assert_eq!(eaten_at(None, None, now), Ok(now));
        assert_eq!(
            eaten("2026-06-10T11:50:00Z", None),
            Ok(at("2026-06-10T11:50:00Z"))
        );
        // A day ahead, a day behind: ten minutes ago in both.
        for (taken, sent) in [
            ("2026-06-11T11:50:00Z", "2026-06-11T12:00:00Z"),
            ("2026-06-09T11:50:00Z", "2026-06-09T12:00:00Z"),
        ] {
            assert_eq!(eaten(taken, Some(sent)), Ok(at("2026-06-10T11:50:00Z")));
        }
        // Network time, not a wrong clock.
        assert_eq!(
            eaten("2026-06-10T11:50:00Z", Some("2026-06-10T11:59:40Z")),
            Ok(at("2026-06-10T11:50:00Z"))
        );
        assert_eq!(eaten("2026-06-11T11:50:00Z", None), Ok(now));
        assert_eq!(eaten("2026-04-10T11:50:00Z", None), Err("too_long_ago"));
        assert_eq!(
            eaten("9999-12-30T22:00:00Z", Some("2000-01-01T00:00:00Z")),
            Err("out_of_range")
        );
    }
}
