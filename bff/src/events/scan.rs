//! What follows a scan: submission, keeping its photos, a copy for training.

use serde_json::Value;
use uuid::Uuid;

use super::handle::{Failed, Hands};
use crate::queue::Event;
use crate::scans::{Scans, Stuck};
use crate::store::UserId;
use crate::store::outbox::kinds::{
    COPY_FOR_TRAINING, FORGET_PHOTOS, FORGET_TRAINING, KEEP_PHOTOS, SUBMIT_SCAN,
};

impl From<Stuck> for Failed {
    fn from(stuck: Stuck) -> Self {
        match stuck {
            Stuck::Database(error) => error.into(),
            Stuck::Storage(_) => Self::Later("storage"),
            Stuck::Vision(_) => Self::Later("vision"),
        }
    }
}

pub(super) fn is_ours(kind: &str) -> bool {
    matches!(
        kind,
        SUBMIT_SCAN | KEEP_PHOTOS | FORGET_PHOTOS | COPY_FOR_TRAINING | FORGET_TRAINING
    )
}

pub(super) async fn handle(hands: &Hands, user: UserId, event: &Event) -> Result<(), Failed> {
    // A worker that is set up without scans leaves them to one that has them.
    let scans: &Scans = hands
        .scans
        .as_deref()
        .ok_or(Failed::Later("scans are not set up"))?;
    if event.kind == FORGET_TRAINING {
        return Ok(scans.forget_training(user).await?);
    }
    let scan: Uuid = event
        .payload
        .get("scan_id")
        .and_then(Value::as_str)
        .and_then(|id| id.parse().ok())
        .ok_or(Failed::Poisoned)?;
    match event.kind.as_str() {
        // What fails at the vision service the reconciler tries again, at its own pace.
        SUBMIT_SCAN => match scans.submit(user, scan).await {
            Ok(()) | Err(Stuck::Vision(_)) => Ok(()),
            Err(other) => Err(other.into()),
        },
        KEEP_PHOTOS => Ok(scans.keep_photos(user, scan).await?),
        FORGET_PHOTOS => Ok(scans.forget_photos(user, scan).await?),
        COPY_FOR_TRAINING => Ok(scans.copy_for_training(user, scan).await?),
        _ => Err(Failed::Poisoned),
    }
}
