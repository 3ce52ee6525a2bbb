//! From the outbox to the queue: sent, then deleted, so at least once.

use std::time::Duration;

use crate::queue::{Event, Outgoing, Queue, QueueError};
use crate::store::Db;

/// Rows of one claim.
const AT_ONCE: i64 = 100;

/// Relays what is due; how many were sent.
///
/// # Errors
/// The database or the queue; what was not sent stays and is tried again later.
pub async fn relay_once(db: &Db, queue: &dyn Queue) -> Result<usize, QueueError> {
    let mut claimed = db.claim_outbox(AT_ONCE).await?;
    if claimed.events.is_empty() {
        return Ok(0);
    }
    let messages: Vec<Outgoing> = claimed
        .events
        .iter()
        .map(|e| {
            let event = Event {
                event_id: e.event_id,
                user_id: e.user_id,
                kind: e.kind.clone(),
                payload: e.payload.clone(),
            };
            Outgoing {
                body: serde_json::to_value(event).unwrap_or_default(),
                // Many changes of one user ask for one computation, while it waits.
                dedup_key: Some(
                    e.dedup_key
                        .clone()
                        .unwrap_or_else(|| format!("{}:{}", e.kind, e.user_id)),
                ),
                delay: Duration::ZERO,
            }
        })
        .collect();
    let taken = match queue.send(&messages).await {
        Ok(taken) => taken,
        Err(error) => {
            for event in claimed.events.clone() {
                claimed.failed(event.id, &error.to_string()).await?;
            }
            claimed.done().await?;
            return Err(error);
        }
    };
    let mut sent = Vec::new();
    for (event, taken) in claimed.events.clone().iter().zip(taken) {
        if taken {
            sent.push(event.id);
        } else {
            claimed.failed(event.id, "the queue did not take it").await?;
        }
    }
    claimed.sent(&sent).await?;
    claimed.done().await?;
    Ok(sent.len())
}
