//! A scan as clients see it.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::domain::scan;
use crate::problem::Problem;
use crate::routes::caller::CurrentUser;
use crate::routes::etag::tagged;
use crate::scans::{Picture, Scans, Signed};
use crate::store::UserTx;
use crate::store::row::Versioned;
use crate::store::scans::{Photo, Scan, ScanLine};

/// How long the address of a picture is good for.
pub(super) const PICTURE_LIFE: Duration = Duration::from_secs(15 * 60);

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScanLine)]
pub(in crate::routes) struct ScanLineBody {
    pub(super) id: Uuid,
    pub(super) meal_group: Uuid,
    pub(super) state: scan::State,
    #[schema(required)]
    pub(super) error: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    pub(super) created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub(super) updated_at: Timestamp,
}

impl From<ScanLine> for ScanLineBody {
    fn from(line: ScanLine) -> Self {
        Self {
            id: line.id,
            meal_group: line.meal_group,
            state: line.state,
            error: line.error,
            created_at: line.created_at,
            updated_at: line.updated_at,
        }
    }
}

/// One photo of the meal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScanPhoto)]
pub(super) struct PhotoBody {
    position: i16,
    content_type: String,
    uploaded: bool,
    #[schema(required)]
    pitch_deg: Option<f64>,
    /// Good for a quarter of an hour; null until it is uploaded.
    #[schema(required)]
    image_url: Option<String>,
}

/// The diary entry that the scan has become.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ScanMeal)]
pub(super) struct MealBody {
    /// Of `/food_logs/{id}`.
    id: Uuid,
    status: String,
    #[schema(value_type = String, format = DateTime)]
    log_time: Timestamp,
}

/// Addresses of pictures, each good for a quarter of an hour.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = ScanEvidence)]
pub(super) struct EvidenceBody {
    #[schema(required)]
    image_url: Option<String>,
    #[schema(required)]
    scan_depth_map: Option<String>,
    #[schema(required)]
    overlay: Option<String>,
}

/// A scan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Scan)]
pub(in crate::routes) struct ScanBody {
    id: Uuid,
    /// The same for all analyses of one meal.
    meal_group: Uuid,
    state: scan::State,
    /// Why it failed, expired or was rejected by the service: a code of ours or of the vision service.
    #[schema(required)]
    error: Option<String>,
    #[schema(required)]
    model_set: Option<String>,
    #[schema(value_type = String, format = DateTime)]
    taken_at: Timestamp,
    #[schema(required)]
    meal_type: Option<String>,
    #[schema(required)]
    note: Option<String>,
    photos: Vec<PhotoBody>,
    evidence: EvidenceBody,
    /// What was measured, with all corrections applied: the vision service's `ScanResult`. Null until it is there.
    #[schema(required, value_type = Option<Object>)]
    result: Option<Value>,
    /// What was measured, which never changes; null while it is the same as `result`.
    #[schema(required, value_type = Option<Object>)]
    original_result: Option<Value>,
    /// All that was said of the items.
    #[schema(value_type = Vec<super::edits::Edit>)]
    edits: Value,
    #[schema(required)]
    meal: Option<MealBody>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// A new scan, and how its photos are uploaded.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::routes) struct NewScanBody {
    pub(super) scan: ScanBody,
    /// For each photo that has not come; they run out after five minutes.
    pub(super) uploads: Vec<Signed>,
}

async fn photo_body(scans: &Scans, photo: Photo) -> Result<PhotoBody, Problem> {
    let bucket = match photo.kept_at {
        Some(_) => &scans.buckets.media,
        None => &scans.buckets.uploads,
    };
    let image_url = match photo.uploaded_at {
        Some(_) => Some(bucket.presign_get(&photo.key, PICTURE_LIFE).await),
        None => None,
    };
    Ok(PhotoBody {
        position: photo.position,
        content_type: photo.content_type,
        uploaded: photo.uploaded_at.is_some(),
        pitch_deg: photo.pitch_deg,
        image_url: image_url.transpose().map_err(crate::scans::Stuck::from)?,
    })
}

impl ScanBody {
    /// Of a scan that has just begun: nothing has come, so nothing has to be signed.
    pub(super) fn begun(scan: Scan, photos: &[Photo]) -> Self {
        let photos = photos.iter().map(|photo| PhotoBody {
            position: photo.position,
            content_type: photo.content_type.clone(),
            uploaded: false,
            pitch_deg: photo.pitch_deg,
            image_url: None,
        });
        Self::of(scan, photos.collect(), EvidenceBody::default(), None)
    }

    fn of(
        scan: Scan,
        photos: Vec<PhotoBody>,
        evidence: EvidenceBody,
        meal: Option<(Uuid, String, Timestamp)>,
    ) -> Self {
        let (result, original_result) = match scan.corrected_result {
            Some(corrected) => (Some(corrected), scan.original_result),
            None => (scan.original_result, None),
        };
        Self {
            id: scan.id,
            meal_group: scan.meal_group,
            state: scan.state,
            error: scan.error,
            model_set: scan.model_set,
            taken_at: scan.taken_at,
            meal_type: scan.meal_type,
            note: scan.note,
            photos,
            evidence,
            result,
            original_result,
            edits: scan.edits,
            meal: meal.map(|(id, status, log_time)| MealBody { id, status, log_time }),
            created_at: scan.created_at,
            updated_at: scan.updated_at,
        }
    }
}

/// The scan and all around it. Ends the transaction before it signs addresses.
pub(super) async fn body(
    scans: &Scans,
    user: &CurrentUser,
    mut tx: UserTx,
    scan: Scan,
) -> Result<ScanBody, Problem> {
    let stored = tx.photos(scan.meal_group).await?;
    let meal = tx.meal_of(scan.meal_group).await?;
    drop(tx);
    let mut photos = Vec::with_capacity(stored.len());
    for photo in stored {
        photos.push(photo_body(scans, photo).await?);
    }
    let picture = async |there: bool, picture: Picture| -> Result<Option<String>, Problem> {
        if !there {
            return Ok(None);
        }
        let key = Scans::picture_key(user.id.uuid(), scan.meal_group, scan.id, picture);
        let url = scans.buckets.media.presign_get(&key, PICTURE_LIFE).await;
        Ok(Some(url.map_err(crate::scans::Stuck::from)?))
    };
    let evidence = EvidenceBody {
        image_url: photos.first().and_then(|p| p.image_url.clone()),
        scan_depth_map: picture(scan.has_depth, Picture::Depth).await?,
        overlay: picture(scan.has_overlay, Picture::Overlay).await?,
    };
    Ok(ScanBody::of(scan, photos, evidence, meal))
}

/// As the answer to a request.
pub(super) async fn answer(
    scans: &Scans,
    user: &CurrentUser,
    tx: UserTx,
    scan: Scan,
    status: StatusCode,
) -> Result<Response, Problem> {
    Ok(tagged(status, &versioned(scans, user, tx, scan).await?))
}

pub(super) async fn versioned(
    scans: &Scans,
    user: &CurrentUser,
    tx: UserTx,
    scan: Scan,
) -> Result<Versioned<ScanBody>, Problem> {
    Ok(Versioned {
        version: scan.version,
        value: body(scans, user, tx, scan).await?,
    })
}
