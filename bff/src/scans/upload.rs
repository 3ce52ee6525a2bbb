//! Photos come: the phone's right to upload them, and the news that one is there.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Outcome, Scans};
use crate::domain::notice::Kind;
use crate::domain::scan::{Event, State};
use crate::domain::upload::{PhotoKey, PhotoKind, SNIFFED, UploadSeen};
use crate::objects::{FormUpload, PutUpload, Upload};
use crate::store::outbox::kinds::SUBMIT_SCAN;
use crate::store::scans::{Photo, Scan, Step};
use crate::store::{UserId, UserTx};

/// How long an upload's address is good for.
pub const FORM_LIFE: Duration = Duration::from_secs(300);

/// Two ways to upload one photo; either will do, once.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Signed {
    /// 1 to 6, in the order of the request.
    pub position: i16,
    pub put: PutUpload,
    pub post: FormUpload,
    #[schema(value_type = String, format = DateTime)]
    pub expires_at: Timestamp,
}

/// Why a photo is not taken.
fn refusal(photo: &Photo, bytes: u64, head: &[u8], most: u64) -> Option<&'static str> {
    let told = PhotoKind::of_content_type(&photo.content_type);
    if bytes == 0 {
        Some("photo_empty")
    } else if bytes > most {
        Some("photo_too_large")
    } else if told.is_none() || PhotoKind::sniff(head) != told {
        Some("photo_unreadable")
    } else {
        None
    }
}

impl Scans {
    /// Addresses for the photos that have not come yet.
    ///
    /// # Errors
    /// [`super::Stuck`].
    pub async fn sign(&self, photos: &[Photo]) -> Outcome<Vec<Signed>> {
        // Storage goes by the time of day, whatever clock a test may set.
        let now = Timestamp::now();
        let mut signed = Vec::new();
        for photo in photos.iter().filter(|p| p.uploaded_at.is_none()) {
            let pitch: Vec<_> = photo
                .pitch_deg
                .map(|p| ("pitch", p.to_string()))
                .into_iter()
                .collect();
            let upload = Upload {
                key: &photo.key,
                content_type: &photo.content_type,
                bytes: u64::try_from(photo.bytes).unwrap_or_default(),
                most: self.rules.photo_bytes,
                metadata: &pitch,
                expires: FORM_LIFE,
            };
            signed.push(Signed {
                position: photo.position,
                put: self.buckets.uploads.presign_put(&upload).await?,
                post: self.buckets.uploads.presign_post(&upload, now).await?,
                expires_at: now + jiff::SignedDuration::from_secs(300),
            });
        }
        Ok(signed)
    }

    /// Storage says that an object is there; what is no photo of ours is left alone.
    ///
    /// # Errors
    /// [`super::Stuck`].
    pub async fn upload_seen(&self, seen: &UploadSeen) -> Outcome<()> {
        if seen.bucket != self.buckets.uploads.bucket() {
            return Ok(());
        }
        let Some(key) = PhotoKey::parse(&seen.key) else {
            return Ok(());
        };
        match self.db.existing(key.user).await? {
            Some(user) => self.look_for_photos(user, key.meal_group).await,
            None => Ok(()),
        }
    }

    /// Looks which photos of a meal are there, whoever said so, and moves its scan on if all are.
    ///
    /// # Errors
    /// [`super::Stuck`].
    pub async fn look_for_photos(&self, user: UserId, meal_group: Uuid) -> Outcome<()> {
        let mut tx = self.db.user(user).await?;
        let photos = tx.photos(meal_group).await?;
        drop(tx);
        let mut found = Vec::new();
        for photo in photos.iter().filter(|p| p.uploaded_at.is_none()) {
            if let Some(object) = self.buckets.uploads.find(&photo.key, SNIFFED).await? {
                let refused = refusal(photo, object.bytes, &object.head, self.rules.photo_bytes);
                found.push((photo.position, object.bytes, refused));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let mut tx = self.db.user(user).await?;
        let scans = tx.lock_meal(meal_group).await?;
        let Some(scan) = scans.into_iter().find(|s| s.state == State::Created) else {
            return Ok(());
        };
        for (position, bytes, _) in &found {
            let bytes = i64::try_from(*bytes).unwrap_or(i64::MAX);
            tx.photo_arrived(meal_group, *position, bytes, now).await?;
        }
        if let Some(why) = found.iter().find_map(|(_, _, refused)| *refused) {
            self.refuse(tx, user, &scan, why, now).await?;
            return self.forget_uploads(&photos).await;
        }
        let all = tx
            .photos(meal_group)
            .await?
            .iter()
            .all(|p| p.uploaded_at.is_some());
        let step = Step {
            next_at: Some(now),
            ..Step::default()
        };
        let moved = if all {
            tx.step(&scan, Event::PhotosArrived, step, now).await?
        } else {
            None
        };
        if moved.is_some() {
            // The net under the lines below, should this process end here.
            tx.ask(SUBMIT_SCAN, scan.id).await?;
            tx.tell(Kind::ScanChanged, scan.id).await?;
        }
        tx.commit().await?;
        if moved.is_some() {
            self.submit(user, scan.id).await?;
        }
        Ok(())
    }

    async fn refuse(
        &self,
        mut tx: UserTx,
        user: UserId,
        scan: &Scan,
        why: &'static str,
        now: Timestamp,
    ) -> Outcome<()> {
        let step = Step {
            error: Some(why),
            next_at: None,
        };
        if tx.step(scan, Event::PhotoRefused, step, now).await?.is_some() {
            tx.tell(Kind::ScanFailed, scan.id).await?;
        }
        tx.commit().await?;
        self.cache.invalidate(user).await;
        Ok(())
    }

    async fn forget_uploads(&self, photos: &[Photo]) -> Outcome<()> {
        for photo in photos {
            self.buckets.uploads.remove(&photo.key).await?;
        }
        Ok(())
    }
}

impl UserTx {
    /// Work that follows, for a worker.
    ///
    /// # Errors
    /// The database.
    pub(super) async fn ask(&mut self, kind: &str, scan: Uuid) -> Result<(), sqlx::Error> {
        let key = format!("{kind}:{scan}");
        self.emit(kind, Some(&key), &serde_json::json!({"scan_id": scan}))
            .await
    }
}
