//! An uploaded scan becomes a job.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Outcome, Scans, Stuck};
use crate::domain::notice::Kind;
use crate::domain::scan::{Event, SUBMISSIONS, look, pause};
use crate::store::UserId;
use crate::store::scans::{Scan, Step};
use crate::vision::{Job, JobPhoto, VisionError};

/// Nobody else submits a scan or asks after its job while one may still be at it; longer than a call to the vision service
/// may take.
pub(super) const CLAIM: SignedDuration = SignedDuration::from_secs(20);

/// The secret part of a webhook's address; only its hash is kept.
struct Token(String);

impl Token {
    fn new() -> Self {
        let bytes: [u8; 32] = rand::random();
        Self(URL_SAFE_NO_PAD.encode(bytes))
    }

    fn hash(&self) -> [u8; 32] {
        token_hash(&self.0)
    }
}

/// What is kept of a webhook's token.
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

impl Scans {
    /// Submits a scan that is due for it; does nothing if it is not, or somebody does.
    ///
    /// # Errors
    /// [`Stuck`]; the reconciler tries again.
    pub async fn submit(&self, user: UserId, id: Uuid) -> Outcome<()> {
        let now = self.clock.now();
        let token = Token::new();
        let mut tx = self.db.user(user).await?;
        let claimed = tx.claim_submission(id, &token.hash(), now, now + CLAIM).await?;
        let Some(scan) = claimed else { return Ok(()) };
        let photos = tx.photos(scan.meal_group).await?;
        tx.commit().await?;
        if scan.submissions > SUBMISSIONS {
            return self.fail(user, &scan, "job_lost").await;
        }
        let Some(vision) = self.vision.named(scan.model_set.as_deref()) else {
            return self.fail(user, &scan, "model_set_unknown").await;
        };
        // A photo's address is good for longer than the job is remembered.
        let life = self.rules.job_life + std::time::Duration::from_secs(600);
        let mut sources = Vec::with_capacity(photos.len());
        for photo in &photos {
            let bucket = if photo.kept_at.is_some() {
                &self.buckets.media
            } else {
                &self.buckets.uploads
            };
            sources.push(JobPhoto {
                url: bucket.presign_get(&photo.key, life).await?,
                pitch_deg: photo.pitch_deg,
            });
        }
        let webhook = self.public.join(&format!("webhooks/scans/{}", token.0));
        let job = Job {
            scan: scan.id,
            user: user.uuid(),
            photos: sources,
            plate_diameter_cm: scan.plate_diameter_cm,
            camera_height_cm: scan.camera_height_cm,
            note: scan.note.clone(),
            webhook: webhook.map(String::from).unwrap_or_default(),
            life: self.rules.job_life,
        };
        match vision.submit(&job).await {
            Ok(job) => {
                let now = self.clock.now();
                let mut tx = self.db.user(user).await?;
                let taken = tx
                    .job_taken(id, &token.hash(), &job, now, now + look(SignedDuration::ZERO))
                    .await?;
                tx.commit().await?;
                match taken {
                    // The webhook was faster than this line.
                    Some(true) => {
                        Box::pin(self.collect(user, id)).await?;
                    }
                    Some(false) => {}
                    None => {
                        let _ = vision.cancel(&job).await;
                    }
                }
                Ok(())
            }
            Err(VisionError::Refused { code, detail }) => {
                tracing::warn!(code, "the vision service refuses a job");
                // Its words may quote what we sent.
                drop(detail);
                self.fail(user, &scan, &code).await
            }
            Err(error) => {
                self.later(user, &scan, self.clock.now()).await?;
                Err(Stuck::Vision(error))
            }
        }
    }

    /// Another try after a pause; the submission that came to nothing does not count.
    async fn later(&self, user: UserId, scan: &Scan, now: Timestamp) -> Outcome<()> {
        let failures = u32::try_from(scan.failures).unwrap_or(0);
        let mut tx = self.db.user(user).await?;
        tx.submission_failed(scan.id, now + pause(failures)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Ends a scan that will not come to anything.
    pub(super) async fn fail(&self, user: UserId, scan: &Scan, why: &str) -> Outcome<()> {
        let now = self.clock.now();
        let mut tx = self.db.user(user).await?;
        let scan = tx.lock_scan(scan.id).await?;
        let step = Step {
            error: Some(why),
            next_at: None,
        };
        if tx.step(&scan, Event::JobFailed, step, now).await?.is_some() {
            tx.tell(Kind::ScanFailed, scan.id).await?;
        }
        tx.commit().await?;
        self.cache.invalidate(user).await;
        Ok(())
    }
}
