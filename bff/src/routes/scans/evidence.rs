//! The pictures of a scan, under paths that do not run out.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use uuid::Uuid;

use super::shape::PICTURE_LIFE;
use crate::domain::upload::PHOTOS;
use crate::problem::{Problem, ProblemBody};
use crate::routes::App;
use crate::routes::caller::CurrentUser;
use crate::scans::{Picture, Scans, Stuck};

/// Leads to a picture for a quarter of an hour.
#[utoipa::path(get, path = "/scans/{id}/evidence/{picture}", tag = "scans", params(("id" = Uuid, Path),
    ("picture" = String, Path, description = "`photo-1` to `photo-6`, `overlay`, `depth`")), responses(
    (status = 307, description = "there", headers(("location" = String, description = "presigned"))),
    (status = 404, body = ProblemBody, content_type = "application/problem+json")))]
pub(in crate::routes) async fn picture(
    State(app): State<Arc<App>>,
    user: CurrentUser,
    path: Result<Path<(Uuid, String)>, axum::extract::rejection::PathRejection>,
) -> Result<Response, Problem> {
    let scans = app.scans()?;
    let Path((id, name)) = path.map_err(|_| Problem::not_found())?;
    let mut tx = app.db.user(user.id).await?;
    let scan = tx.scan(id).await?;
    let kept = |picture| {
        let key = Scans::picture_key(user.id.uuid(), scan.meal_group, scan.id, picture);
        (&scans.buckets.media, key)
    };
    let (bucket, key) = match name.as_str() {
        "overlay" if scan.has_overlay => kept(Picture::Overlay),
        "depth" if scan.has_depth => kept(Picture::Depth),
        name => {
            let position: Option<usize> = name.strip_prefix("photo-").and_then(|n| n.parse().ok());
            let position = position
                .filter(|n| (1..=PHOTOS).contains(n))
                .ok_or_else(Problem::not_found)?;
            let photos = tx.photos(scan.meal_group).await?;
            let photo = photos
                .into_iter()
                .nth(position - 1)
                .filter(|p| p.uploaded_at.is_some());
            let photo = photo.ok_or_else(Problem::not_found)?;
            let bucket = match photo.kept_at {
                Some(_) => &scans.buckets.media,
                None => &scans.buckets.uploads,
            };
            (bucket, photo.key)
        }
    };
    drop(tx);
    let url = bucket
        .presign_get(&key, PICTURE_LIFE)
        .await
        .map_err(Stuck::from)?;
    Ok((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, url)]).into_response())
}
