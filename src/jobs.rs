//! Jobs of the job API: accepted, queued, run once to a terminal state, kept for a while, delivered to webhooks.
//!
//! [`Store`] is the one place a job's state changes. With a state directory every acceptance and every end is on
//! disk before anybody is told; without one, jobs live in memory and the log says so.

pub mod clock;
pub mod disk;
pub mod dispatch;
pub mod record;
pub mod store;
pub mod webhook;

pub use clock::Clock;
pub use dispatch::Dispatcher;
pub use record::{JobStream, JobView, Policy, Record, Status, Submission};
pub use store::{JobCounts, Limits, Store, StoreError};
