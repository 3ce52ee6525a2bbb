//! What the worker is invoked with: batches of the queue, and the schedule's tick.

use futures::StreamExt;
use serde_json::{Value, json};

use crate::events::handle::Hands;
use crate::events::relay::relay_once;
use crate::problem::Problem;
use crate::queue::Queue;

const SIDE_BY_SIDE: usize = 4;

/// Which messages come again; the queue deletes the others. A tick has no messages.
pub(super) async fn answer(hands: &Hands, queue: &dyn Queue, event: &Value) -> Value {
    let records = event["Records"].as_array().cloned().unwrap_or_default();
    if records.is_empty() {
        tick(hands).await;
    }
    let again: Vec<Value> = futures::stream::iter(records)
        .map(|record| async move {
            // What is no JSON is a poisoned message, and ends among the dead letters as such.
            let body: Value =
                serde_json::from_str(record["body"].as_str().unwrap_or_default()).unwrap_or_default();
            if body["relay"] == true {
                return None;
            }
            let why = hands.handle(&body).await.err()?;
            tracing::warn!("a message failed: {why}");
            Some(json!({ "itemIdentifier": record["messageId"] }))
        })
        .buffer_unordered(SIDE_BY_SIDE)
        .filter_map(|again| async { again })
        .collect()
        .await;
    // What was asked for, and what handling has written.
    relay(hands, queue).await;
    json!({ "batchItemFailures": again })
}

async fn relay(hands: &Hands, queue: &dyn Queue) {
    loop {
        match relay_once(&hands.db, queue).await {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) => {
                tracing::warn!("the outbox waits: {error}");
                return;
            }
        }
    }
}

/// Scans whose webhook or storage event did not come, and what has served its time.
async fn tick(hands: &Hands) {
    if let Some(scans) = &hands.scans
        && let Err(stuck) = scans.reconcile().await
    {
        tracing::warn!("scans wait: {stuck}");
    }
    if let Err(error) = hands.db.upkeep(hands.clock.now()).await {
        tracing::warn!("upkeep waits: {}", Problem::from(error).detail);
    }
}
