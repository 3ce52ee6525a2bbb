//! Photos of a meal that was measured go where they are kept; nothing stays among the uploads.

use uuid::Uuid;

use super::{Outcome, Scans};
use crate::store::UserId;

impl Scans {
    /// May be repeated, and cut.
    ///
    /// # Errors
    /// [`super::Stuck`].
    pub async fn keep_photos(&self, user: UserId, scan: Uuid) -> Outcome<()> {
        let mut tx = self.db.user(user).await?;
        let meal_group = match tx.scan(scan).await {
            Ok(scan) => scan.meal_group,
            Err(sqlx::Error::RowNotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let photos = tx.photos(meal_group).await?;
        drop(tx);
        for photo in photos {
            if photo.kept_at.is_none() {
                if !self
                    .buckets
                    .uploads
                    .copy_to(&photo.key, &self.buckets.media)
                    .await?
                {
                    // Gone before it was kept: what was measured stays.
                    continue;
                }
                let mut tx = self.db.user(user).await?;
                tx.photo_kept(meal_group, photo.position, self.clock.now())
                    .await?;
                tx.commit().await?;
            }
            self.buckets.uploads.remove(&photo.key).await?;
        }
        Ok(())
    }
}
