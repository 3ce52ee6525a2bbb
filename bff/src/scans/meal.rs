//! What a scan is to the diary: proposed, corrected, confirmed, thrown away.

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Outcome, Picture, Scans};
use crate::domain::notice::Kind;
use crate::domain::result::{Meal, meal};
use crate::domain::scan::{Event, State};
use crate::store::outbox::kinds::{COPY_FOR_TRAINING, FORGET_PHOTOS};
use crate::store::row::{Changed, Version};
use crate::store::scan_meals::{MealOf, meta_of};
use crate::store::scans::{Scan, Step};
use crate::store::{UserId, UserTx};

/// What became of a wish that a state may not allow.
#[derive(Debug)]
pub enum Wished {
    Done(Scan),
    /// It is another by now.
    Stale(Scan),
    /// Not in this state.
    Impossible(Scan),
}

fn of(scan: &Scan) -> MealOf<'_> {
    MealOf {
        meal_group: scan.meal_group,
        scan: scan.id,
        eaten_at: scan.taken_at,
        meal_type: scan.meal_type.as_deref(),
    }
}

/// Paths of this service, which lead to the pictures for as long as they are kept.
pub fn evidence(scan: &Scan) -> Map<String, Value> {
    let path = |name: &str| json!(format!("/scans/{}/evidence/{name}", scan.id));
    let mut evidence = Map::new();
    evidence.insert("image_url".into(), path("photo-1"));
    if scan.has_depth {
        evidence.insert("scan_depth_map".into(), path(Picture::Depth.as_str()));
    }
    if scan.has_overlay {
        evidence.insert("overlay".into(), path(Picture::Overlay.as_str()));
    }
    evidence
}

fn meal_of(scan: &Scan) -> Meal {
    let mut meal = meal(scan.result().unwrap_or(&Value::Null));
    meal.meta_data = meta_of(&meal, scan.id, evidence(scan));
    meal
}

impl Scans {
    /// Puts the meal of a scan into the diary, as one that waits.
    pub(super) async fn propose(tx: &mut UserTx, scan: &Scan) -> Outcome<()> {
        tx.propose_meal(of(scan), &meal_of(scan)).await?;
        Ok(())
    }

    /// Writes a correction and what it makes of the proposal.
    ///
    /// # Errors
    /// [`super::Stuck`].
    pub async fn correct(
        &self,
        user: UserId,
        id: Uuid,
        seen: Version,
        edits: &Value,
        corrected: Option<&Value>,
    ) -> Outcome<Changed<Scan>> {
        let now = self.clock.now();
        let mut tx = self.db.user(user).await?;
        let changed = tx.put_correction(id, seen, edits, corrected, now).await?;
        let Some(scan) = changed else {
            return Ok(Changed::Stale(tx.scan(id).await?));
        };
        Self::propose(&mut tx, &scan).await?;
        tx.tell(Kind::ScanChanged, id).await?;
        tx.commit().await?;
        self.cache.invalidate(user).await;
        Ok(Changed::Done(scan))
    }

    /// Makes the meal count. Other analyses of it that wait are thrown away. A repetition of the confirmation that was
    /// last is done, too.
    ///
    /// # Errors
    /// [`super::Stuck`].
    pub async fn confirm(&self, user: UserId, id: Uuid, seen: Version, told: &Told) -> Outcome<Wished> {
        let now = self.clock.now();
        let mut tx = self.db.user(user).await?;
        let meal_group = tx.scan(id).await?.meal_group;
        let meal = tx.lock_meal(meal_group).await?;
        let Some(scan) = meal.iter().find(|s| s.id == id) else {
            return Err(sqlx::Error::RowNotFound.into());
        };
        if scan.state == State::Confirmed && scan.version.0 == seen.0 + 1 {
            return Ok(Wished::Done(scan.clone()));
        }
        if scan.version != seen {
            return Ok(Wished::Stale(scan.clone()));
        }
        let Some(done) = tx.step(scan, Event::Confirm, Step::default(), now).await? else {
            return Ok(Wished::Impossible(scan.clone()));
        };
        let eaten_at = told.eaten_at.unwrap_or(done.taken_at);
        let place = MealOf {
            eaten_at,
            meal_type: told.meal_type.as_deref().or(done.meal_type.as_deref()),
            ..of(&done)
        };
        tx.confirm_meal(place, &meal_of(&done)).await?;
        for other in meal.iter().filter(|s| s.id != id && s.state == State::Ready) {
            let why = Step {
                error: Some("superseded"),
                next_at: None,
            };
            tx.step(other, Event::Reject, why, now).await?;
        }
        if done.consent_training {
            tx.ask(COPY_FOR_TRAINING, id).await?;
        }
        tx.tell(Kind::ScanChanged, id).await?;
        tx.commit().await?;
        self.cache.invalidate(user).await;
        Ok(Wished::Done(done))
    }

    /// Throws a scan away, with its proposal; its job is stopped if that can be.
    ///
    /// # Errors
    /// [`super::Stuck`].
    pub async fn reject(&self, user: UserId, id: Uuid, seen: Version) -> Outcome<Wished> {
        let now = self.clock.now();
        let mut tx = self.db.user(user).await?;
        let scan = tx.lock_scan(id).await?;
        if scan.state == State::Rejected && scan.version.0 == seen.0 + 1 {
            return Ok(Wished::Done(scan));
        }
        if scan.version != seen {
            return Ok(Wished::Stale(scan));
        }
        let Some(done) = tx.step(&scan, Event::Reject, Step::default(), now).await? else {
            return Ok(Wished::Impossible(scan));
        };
        tx.withdraw_meal(scan.meal_group, id).await?;
        tx.ask(FORGET_PHOTOS, id).await?;
        tx.tell(Kind::ScanChanged, id).await?;
        tx.commit().await?;
        self.cache.invalidate(user).await;
        let vision = self.vision.named(scan.model_set.as_deref());
        if let (Some(vision), Some(job), State::Queued | State::Running) = (vision, &scan.job_id, scan.state)
        {
            let _ = vision.cancel(job).await;
        }
        Ok(Wished::Done(done))
    }
}

/// What a user says at confirmation.
#[derive(Debug, Clone, Default)]
pub struct Told {
    pub eaten_at: Option<jiff::Timestamp>,
    pub meal_type: Option<String>,
}
