//! A job ends: its result becomes a meal that waits for its user.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::reconcile::SOON;
use super::submit::CLAIM;
use super::{Outcome, Picture, Scans, Stuck};
use crate::domain::notice::Kind;
use crate::domain::result::{Scanned, scanned};
use crate::domain::scan::{Event, SUBMISSIONS, State, look, pause};
use crate::store::UserId;
use crate::store::outbox::kinds::KEEP_PHOTOS;
use crate::store::scans::{Scan, Step};
use crate::vision::JobState;

/// What a look at a job came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collected {
    /// There is no job to look at, or somebody else looks.
    Nothing,
    /// It has not ended.
    NotYet,
    Ended,
}

impl Scans {
    /// Asks how the job of a scan stands, and does what follows. What a webhook said is never believed, only this. One
    /// process asks at a time, and each for a few jobs only, because their pictures come with them.
    ///
    /// # Errors
    /// [`super::Stuck`]; the reconciler tries again.
    pub async fn collect(&self, user: UserId, id: Uuid) -> Outcome<Collected> {
        let _place = self.collecting.enter().await;
        let now = self.clock.now();
        let mut tx = self.db.user(user).await?;
        let claimed = tx.claim_look(id, now, now + CLAIM).await?;
        tx.commit().await?;
        let Some(scan) = claimed else {
            return Ok(Collected::Nothing);
        };
        let outcome = self.look(user, &scan).await;
        if let Err(stuck) = &outcome {
            let after = match stuck {
                Stuck::Vision(_) => pause(u32::try_from(scan.failures).unwrap_or(0)),
                Stuck::Database(_) | Stuck::Storage(_) => SOON,
            };
            self.later_look(user, id, after).await;
        }
        outcome
    }

    /// As far as that can be written: if not, the claim runs out.
    async fn later_look(&self, user: UserId, id: Uuid, after: SignedDuration) {
        let write = async {
            let mut tx = self.db.user(user).await?;
            tx.look_again(id, self.clock.now() + after, true).await?;
            tx.commit().await
        };
        if write.await.is_err() {
            tracing::warn!("a scan waits until its claim runs out");
        }
    }

    async fn look(&self, user: UserId, scan: &Scan) -> Outcome<Collected> {
        let Some(job) = &scan.job_id else {
            return Ok(Collected::Nothing);
        };
        let Some(vision) = self.vision.named(scan.model_set.as_deref()) else {
            self.fail(user, scan, "model_set_unknown").await?;
            return Ok(Collected::Ended);
        };
        match vision.state(job).await? {
            state @ (JobState::Waits | JobState::Runs) => {
                self.still_runs(user, scan, state == JobState::Runs).await?;
                return Ok(Collected::NotYet);
            }
            JobState::Done(result) => self.take(user, scan, result).await?,
            JobState::Failed { code, again: false } => self.fail(user, scan, &code).await?,
            JobState::Failed { code, again: true } => self.again(user, scan, &code).await?,
            JobState::Unknown => self.again(user, scan, "job_lost").await?,
        }
        Ok(Collected::Ended)
    }

    async fn still_runs(&self, user: UserId, scan: &Scan, runs: bool) -> Outcome<()> {
        let now = self.clock.now();
        let next_at = now + look(now.duration_since(scan.entered_at));
        let mut tx = self.db.user(user).await?;
        let scan = tx.lock_scan(scan.id).await?;
        if runs {
            let step = Step {
                next_at: Some(next_at),
                ..Step::default()
            };
            tx.step(&scan, Event::JobStarted, step, now).await?;
        }
        tx.look_done(scan.id, now, next_at).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Submits once more, unless that was tried often enough.
    pub(super) async fn again(&self, user: UserId, scan: &Scan, why: &str) -> Outcome<()> {
        if scan.submissions >= SUBMISSIONS {
            return self.fail(user, scan, why).await;
        }
        let now = self.clock.now();
        let mut tx = self.db.user(user).await?;
        let locked = tx.lock_scan(scan.id).await?;
        if locked.job_id == scan.job_id {
            let tries = u32::try_from(scan.submissions).unwrap_or(0);
            let step = Step {
                next_at: Some(now + pause(tries)),
                ..Step::default()
            };
            tx.step(&locked, Event::JobLost, step, now).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn take(&self, user: UserId, scan: &Scan, result: Value) -> Outcome<()> {
        let scanned = match scanned(result) {
            Ok(scanned) => scanned,
            Err(why) => {
                tracing::warn!("{why}");
                return self.fail(user, scan, "result_invalid").await;
            }
        };
        let pictures = self.store_pictures(user, scan, &scanned);
        let ((), kept) = tokio::try_join!(pictures, self.copy_photos(user, scan))?;
        let now = self.clock.now();
        let mut tx = self.db.user(user).await?;
        let locked = tx.lock_scan(scan.id).await?;
        if locked.job_id != scan.job_id {
            return Ok(());
        }
        let step = Step {
            next_at: State::Ready.limit().map(|limit| now + limit),
            ..Step::default()
        };
        let Some(ready) = tx.step(&locked, Event::ResultCame, step, now).await? else {
            return Ok(());
        };
        let (overlay, depth) = (scanned.overlay.is_some(), scanned.depth.is_some());
        for position in kept {
            tx.photo_kept(scan.meal_group, position, now).await?;
        }
        tx.put_original(scan.id, &scanned.result, overlay, depth).await?;
        let ready = Scan {
            original_result: Some(scanned.result),
            has_overlay: overlay,
            has_depth: depth,
            ..ready
        };
        Self::propose(&mut tx, &ready).await?;
        tx.ask(KEEP_PHOTOS, scan.id).await?;
        tx.tell(Kind::ScanReady, scan.id).await?;
        tx.commit().await?;
        self.cache.invalidate(user).await;
        self.measure(&ready, now);
        Ok(())
    }

    async fn store_pictures(&self, user: UserId, scan: &Scan, scanned: &Scanned) -> Outcome<()> {
        let put = async |picture: Picture, bytes: &Option<Vec<u8>>| match bytes {
            None => Ok(()),
            Some(bytes) => {
                let key = Self::picture_key(user.uuid(), scan.meal_group, scan.id, picture);
                self.buckets.media.put(&key, "image/png", bytes.clone()).await
            }
        };
        tokio::try_join!(
            put(Picture::Overlay, &scanned.overlay),
            put(Picture::Depth, &scanned.depth)
        )?;
        Ok(())
    }

    fn measure(&self, scan: &Scan, now: Timestamp) {
        let waited = now.duration_since(scan.created_at).as_secs_f64();
        metrics::histogram!("bff_scan_duration_seconds").record(waited);
    }
}
