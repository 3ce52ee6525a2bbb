//! What Lambda hands to the worker: batches of SQS, and the schedule's tick, which relays the outbox.

use std::sync::Arc;

use futures::StreamExt;
use lambda_http::lambda_runtime::{self, LambdaEvent, service_fn};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::handle::Hands;
use super::relay::relay_once;
use crate::queue::Queue;

/// A batch of SQS has records; anything else is the schedule.
#[derive(Debug, Deserialize)]
struct Invocation {
    #[serde(rename = "Records", default)]
    records: Vec<Record>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    message_id: String,
    body: String,
}

/// Messages that come again; the others are deleted by Lambda. The event source must say `ReportBatchItemFailures`.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    batch_item_failures: Vec<Failure>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

/// Serves invocations until the runtime ends the process.
///
/// # Errors
/// The runtime's API went away.
pub async fn run(hands: Hands, queue: Arc<dyn Queue>) -> anyhow::Result<()> {
    let (hands, queue) = (&hands, &*queue);
    let handler = service_fn(move |event: LambdaEvent<Invocation>| answer(hands, queue, event.payload));
    lambda_runtime::run(handler)
        .await
        .map_err(|e| anyhow::anyhow!("the Lambda runtime: {e}"))
}

async fn answer(
    hands: &Hands,
    queue: &dyn Queue,
    invocation: Invocation,
) -> Result<Answer, lambda_runtime::Error> {
    if invocation.records.is_empty() {
        while relay_once(&hands.db, queue).await? > 0 {}
        return Ok(Answer::default());
    }
    let failed = futures::stream::iter(invocation.records)
        .map(|record| async move {
            // What is no JSON is a poisoned message, and ends among the dead letters as such.
            let body = serde_json::from_str(&record.body).unwrap_or(Value::Null);
            let why = hands.handle(&body).await.err()?;
            tracing::warn!(message = record.message_id, "a message failed: {why}");
            Some(Failure {
                item_identifier: record.message_id,
            })
        })
        .buffer_unordered(4)
        .filter_map(|failed| async { failed })
        .collect()
        .await;
    Ok(Answer {
        batch_item_failures: failed,
    })
}
