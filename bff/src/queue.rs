//! Queues with the semantics of SQS: a message that is received stays hidden for a while, is deleted by its receipt, comes
//! again if it is not, and ends among the dead letters after too many tries.

mod postgres;
mod sqs;

pub use postgres::PostgresQueue;
pub use sqs::SqsQueue;

use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// What a message says: ids, never values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub event_id: Uuid,
    pub user_id: Uuid,
    pub kind: String,
    #[serde(default)]
    pub payload: Value,
}

/// A message to send.
#[derive(Debug, Clone)]
pub struct Outgoing {
    pub body: Value,
    /// While one with this key waits, another is dropped; once received it no longer counts. SQS knows it in FIFO queues
    /// only, so handlers must stand repetitions anyhow.
    pub dedup_key: Option<String>,
    pub delay: Duration,
}

/// A message in hand.
#[derive(Debug, Clone)]
pub struct Received {
    pub id: String,
    pub body: Value,
    pub receipt: String,
    /// With this one.
    pub attempts: u32,
}

/// Waiting, hidden, dead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    pub waiting: i64,
    pub hidden: i64,
    pub dead: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    #[error("the queue's database")]
    Database(#[from] sqlx::Error),
    #[error("SQS: {0}")]
    Sqs(String),
}

pub type Outcome<T> = Result<T, QueueError>;

/// One queue.
pub trait Queue: Send + Sync + std::fmt::Debug {
    /// For each message whether it was taken.
    fn send<'a>(&'a self, messages: &'a [Outgoing]) -> BoxFuture<'a, Outcome<Vec<bool>>>;
    /// Up to `most` (10), hidden from others for `visibility`; waits for the first as long as `wait`.
    fn receive(
        &self,
        most: u32,
        visibility: Duration,
        wait: Duration,
    ) -> BoxFuture<'_, Outcome<Vec<Received>>>;
    /// Done. A receipt that has run out deletes nothing.
    fn delete<'a>(&'a self, receipt: &'a str) -> BoxFuture<'a, Outcome<()>>;
    /// Hidden for this long from now on; zero gives it back.
    fn hide<'a>(&'a self, receipt: &'a str, visibility: Duration) -> BoxFuture<'a, Outcome<()>>;
    /// Gives up to `most` dead letters another chance.
    fn redrive(&self, most: u32) -> BoxFuture<'_, Outcome<u64>>;
    fn depth(&self) -> BoxFuture<'_, Outcome<Depth>>;
}
