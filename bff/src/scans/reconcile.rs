//! The net under webhooks and storage events: every scan that has not ended is looked at again and again.

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};

use super::{Outcome, Scans, Stuck};
use crate::domain::notice::Kind;
use crate::domain::scan::{Event, State};
use crate::store::UserId;
use crate::store::outbox::kinds::FORGET_PHOTOS;
use crate::store::scan_machine::Due;
use crate::store::scans::{Scan, Step};

/// Scans of one round.
const AT_ONCE: i64 = 100;
const SIDE_BY_SIDE: usize = 8;
/// Another process takes a scan over whose round ended badly.
const ROUND: SignedDuration = SignedDuration::from_secs(30);
/// After storage or the database failed a step.
pub(super) const SOON: SignedDuration = SignedDuration::from_secs(3);
/// How often storage is asked for photos whose event does not come.
const AWAITED: SignedDuration = SignedDuration::from_secs(15);

impl Scans {
    /// Does what is due; how many scans were looked at.
    ///
    /// # Errors
    /// The database. What is wrong with one scan is logged, and it comes again.
    pub async fn reconcile(&self) -> Outcome<usize> {
        let now = self.clock.now();
        let due = self.db.due_scans(now, now + ROUND, AT_ONCE).await?;
        let n = due.len();
        futures::stream::iter(due)
            .for_each_concurrent(SIDE_BY_SIDE, |due| async move {
                if let Err(stuck) = self.advance(due, now).await {
                    tracing::warn!(state = due.state.as_str(), "a scan waits: {stuck}");
                    // A vision service that is away, and a job that is asked after, have pauses of their own.
                    let own = matches!(due.state, State::Queued | State::Running);
                    if !own && !matches!(stuck, Stuck::Vision(_)) {
                        let _ = self.soon(due).await;
                    }
                }
            })
            .await;
        Ok(n)
    }

    /// Looks again before the round's lease is over.
    async fn soon(&self, due: Due) -> Outcome<()> {
        let Some(user) = self.db.existing(due.user).await? else {
            return Ok(());
        };
        let mut tx = self.db.user(user).await?;
        tx.look_again(due.scan, self.clock.now() + SOON, true).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn advance(&self, due: Due, now: Timestamp) -> Outcome<()> {
        let Some(user) = self.db.existing(due.user).await? else {
            return Ok(());
        };
        let mut tx = self.db.user(user).await?;
        let scan = tx.scan(due.scan).await?;
        drop(tx);
        let limit = scan.state.limit();
        let overdue = limit.is_some_and(|limit| now.duration_since(scan.entered_at) >= limit);
        match scan.state {
            State::Created => {
                self.look_for_photos(user, scan.meal_group).await?;
                if overdue {
                    return self.overdue(user, &scan, now).await;
                }
                let mut tx = self.db.user(user).await?;
                let scan = tx.lock_scan(scan.id).await?;
                if scan.state == State::Created {
                    tx.look_again(scan.id, now + AWAITED, false).await?;
                }
                tx.commit().await?;
                Ok(())
            }
            _ if overdue => self.overdue(user, &scan, now).await,
            State::Uploaded => self.submit(user, scan.id).await,
            State::Queued | State::Running => self.collect(user, scan.id).await.map(|_| ()),
            State::Ready | State::Failed | State::Confirmed | State::Rejected | State::Expired => Ok(()),
        }
    }

    /// Too long in one state: a job that hangs is tried once more, everything else ends with a reason.
    async fn overdue(&self, user: UserId, scan: &Scan, now: Timestamp) -> Outcome<()> {
        if matches!(scan.state, State::Queued | State::Running) {
            let vision = self.vision.named(scan.model_set.as_deref());
            if let (Some(vision), Some(job)) = (vision, &scan.job_id) {
                let _ = vision.cancel(job).await;
            }
            return self.again(user, scan, "timed_out").await;
        }
        let why = match scan.state {
            State::Created => "photos_never_came",
            State::Ready => "never_confirmed",
            _ => "vision_unavailable",
        };
        let mut tx = self.db.user(user).await?;
        let locked = tx.lock_scan(scan.id).await?;
        let step = Step {
            error: Some(why),
            next_at: None,
        };
        let same = locked.state == scan.state && locked.entered_at == scan.entered_at;
        let ended = if same {
            tx.step(&locked, Event::Overdue, step, now).await?
        } else {
            None
        };
        if ended.is_some() {
            tx.withdraw_meal(scan.meal_group, scan.id).await?;
            tx.ask(FORGET_PHOTOS, scan.id).await?;
            let kind = match scan.state {
                State::Ready => Kind::ScanChanged,
                _ => Kind::ScanFailed,
            };
            tx.tell(kind, scan.id).await?;
        }
        tx.commit().await?;
        self.cache.invalidate(user).await;
        Ok(())
    }
}
