//! Copies of confirmed meals for training, of users who allow it: under a random name, with nothing of a camera or a place
//! in the photo, and nothing of the user anywhere.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Outcome, Scans};
use crate::domain::scan::State;
use crate::domain::strip::stripped;
use crate::objects::Objects;
use crate::store::UserId;
use crate::store::scans::Scan;

fn photo_key(copy: Uuid, position: i16) -> String {
    format!("{copy}/{position}")
}

fn label_key(copy: Uuid) -> String {
    format!("{copy}/label.json")
}

/// What was measured and what the user made of it; no texts of the user's, and no time finer than a month.
fn label(scan: &Scan, photos: &[(i16, &'static str, Option<f64>)]) -> Value {
    let items = |result: Option<&Value>| -> Vec<Value> {
        let items = result.and_then(|r| r["items"].as_array());
        items
            .into_iter()
            .flatten()
            .map(|item| {
                let kept = [
                    "food_id",
                    "box",
                    "mask",
                    "volume_cm3",
                    "mass_g",
                    "kcal",
                    "origins",
                ];
                let kept = kept
                    .iter()
                    .filter_map(|k| Some(((*k).to_owned(), item.get(*k)?.clone())));
                Value::Object(kept.collect::<Map<_, _>>())
            })
            .collect()
    };
    let original = scan.original_result.as_ref();
    json!({
        "month": scan.taken_at.strftime("%Y-%m").to_string(),
        "photos": photos.iter().map(|(n, kind, pitch)| json!({"name": n.to_string(), "content_type": kind, "pitch_deg": pitch}))
            .collect::<Vec<_>>(),
        "image": original.map(|r| r["image"].clone()),
        "camera": original.map(|r| r["camera"].clone()),
        "plate_diameter_cm": scan.plate_diameter_cm,
        "camera_height_cm": scan.camera_height_cm,
        "measured": items(original),
        "confirmed": items(scan.result()),
    })
}

impl Scans {
    /// Copies a confirmed meal, if its user allowed it when the photo was taken and allows it now. May be repeated.
    ///
    /// # Errors
    /// [`super::Stuck`].
    pub async fn copy_for_training(&self, user: UserId, scan: Uuid) -> Outcome<()> {
        let Some(training) = &self.buckets.training else {
            return Ok(());
        };
        let mut tx = self.db.user(user).await?;
        let scan = match tx.scan(scan).await {
            Ok(scan) => scan,
            Err(sqlx::Error::RowNotFound) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let allowed = scan.consent_training && tx.profile().await?.value.consent_training;
        if !allowed || scan.state != State::Confirmed {
            return Ok(());
        }
        let photos = tx.photos(scan.meal_group).await?;
        // The name first: whatever is copied can be found again for erasure.
        let count = i16::try_from(photos.len()).unwrap_or(0);
        let copy = tx.training_copy(scan.meal_group, count).await?;
        tx.commit().await?;
        let mut copied = Vec::new();
        for photo in photos {
            let Some(bytes) = self.photo_bytes(&photo.key, photo.kept_at.is_some()).await? else {
                continue;
            };
            // Kinds of files that cannot be cleaned are not copied.
            let Some((clean, kind)) = stripped(&bytes) else {
                continue;
            };
            training
                .put(&photo_key(copy, photo.position), kind, clean)
                .await?;
            copied.push((photo.position, kind, photo.pitch_deg));
        }
        let label = label(&scan, &copied).to_string().into_bytes();
        training.put(&label_key(copy), "application/json", label).await?;
        // Taken back, or erased, while this was under way: so are the copies.
        let mut tx = self.db.user(user).await?;
        let still = tx.profile().await?.value.consent_training && tx.scan(scan.id).await.is_ok();
        drop(tx);
        if !still {
            self.remove_copy(training, copy, count).await?;
        }
        Ok(())
    }

    async fn photo_bytes(&self, key: &str, kept: bool) -> Outcome<Option<Vec<u8>>> {
        let most = self.rules.photo_bytes;
        if !kept && let Some(bytes) = self.buckets.uploads.get(key, most).await? {
            return Ok(Some(bytes));
        }
        Ok(self.buckets.media.get(key, most).await?)
    }

    async fn remove_copy(&self, training: &Objects, copy: Uuid, photos: i16) -> Outcome<()> {
        for position in 1..=photos {
            training.remove(&photo_key(copy, position)).await?;
        }
        training.remove(&label_key(copy)).await?;
        Ok(())
    }

    /// Removes the copies of a user's meals: consent was taken back, or the user is being erased. May be repeated.
    ///
    /// # Errors
    /// [`super::Stuck`].
    pub async fn forget_training(&self, user: UserId) -> Outcome<()> {
        let Some(training) = &self.buckets.training else {
            return Ok(());
        };
        for copy in self.db.training_copies(user).await? {
            self.remove_copy(training, copy.id, copy.photos).await?;
            let mut tx = self.db.user(user).await?;
            tx.forget_training_copy(copy.id).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}
