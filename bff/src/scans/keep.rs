//! Photos of a meal that was measured go where they are kept, those of one that was thrown away go altogether; nothing stays
//! among the uploads.

use uuid::Uuid;

use super::{Outcome, Picture, Scans};
use crate::domain::scan::State;
use crate::store::UserId;
use crate::store::scans::Scan;

impl Scans {
    /// Copies what is not kept yet; the places of what was. A photo that is gone is no reason to lose what was measured.
    pub(super) async fn copy_photos(&self, user: UserId, scan: &Scan) -> Outcome<Vec<i16>> {
        let mut tx = self.db.user(user).await?;
        let photos = tx.photos(scan.meal_group).await?;
        drop(tx);
        let mut copied = Vec::new();
        for photo in photos.iter().filter(|p| p.kept_at.is_none()) {
            if self
                .buckets
                .uploads
                .copy_to(&photo.key, &self.buckets.media)
                .await?
            {
                copied.push(photo.position);
            }
        }
        Ok(copied)
    }

    /// Clears the uploads of a measured meal. May be repeated, and cut.
    ///
    /// # Errors
    /// [`super::Stuck`].
    pub async fn keep_photos(&self, user: UserId, scan: Uuid) -> Outcome<()> {
        let mut tx = self.db.user(user).await?;
        let scan = match tx.scan(scan).await {
            Ok(scan) => scan,
            Err(sqlx::Error::RowNotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let photos = tx.photos(scan.meal_group).await?;
        drop(tx);
        for photo in photos.iter().filter(|p| p.kept_at.is_some()) {
            self.buckets.uploads.remove(&photo.key).await?;
        }
        Ok(())
    }

    /// Removes photos and pictures of a meal whose every analysis was thrown away or ran out. May be repeated, and cut.
    ///
    /// # Errors
    /// [`super::Stuck`].
    pub async fn forget_photos(&self, user: UserId, scan: Uuid) -> Outcome<()> {
        let mut tx = self.db.user(user).await?;
        let meal_group = match tx.scan(scan).await {
            Ok(scan) => scan.meal_group,
            Err(sqlx::Error::RowNotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        // Held until they are gone: nobody begins another analysis meanwhile.
        let scans = tx.lock_meal(meal_group).await?;
        if !scans
            .iter()
            .all(|s| matches!(s.state, State::Rejected | State::Expired))
        {
            return Ok(());
        }
        for photo in tx.photos(meal_group).await? {
            self.buckets.uploads.remove(&photo.key).await?;
            self.buckets.media.remove(&photo.key).await?;
        }
        for scan in &scans {
            for picture in [Picture::Overlay, Picture::Depth] {
                let key = Self::picture_key(user.uuid(), meal_group, scan.id, picture);
                self.buckets.media.remove(&key).await?;
            }
        }
        tx.photos_gone(meal_group).await?;
        tx.commit().await?;
        Ok(())
    }
}
