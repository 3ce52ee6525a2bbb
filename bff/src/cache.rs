//! The dashboard's cache: never needed to be right, only to be fast.
//!
//! An entry is believed only under the version that stands beside it, and every write of the user sets a new random
//! version before it is answered. A reader that fills the cache names the version it saw before it read the database, so
//! what it computed from old rows is never stored over a newer write, in this process or another.

mod memory;
mod redis;

pub use self::memory::MemoryCache;
pub use self::redis::RedisCache;

use std::time::Duration;

use futures::future::BoxFuture;

use crate::store::UserId;

/// What a look came to.
#[derive(Debug)]
pub enum Look {
    Hit(Vec<u8>),
    /// Compute it, then [`Cache::fill`] with this.
    Miss(Ticket),
    /// The cache cannot be used now.
    Bypass,
}

/// The version seen before computing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// One entry a user.
pub trait Cache: Send + Sync + std::fmt::Debug {
    fn look(&self, user: UserId) -> BoxFuture<'_, Look>;
    /// Stores if nothing was written since the ticket.
    fn fill(&self, user: UserId, ticket: Ticket, body: Vec<u8>, life: Duration) -> BoxFuture<'_, ()>;
    /// After this has returned, no look in any process returns what was computed before. While the cache cannot be
    /// reached this process bypasses it for the user, and tells it as soon as it is back.
    fn invalidate(&self, user: UserId) -> BoxFuture<'_, ()>;
    /// Removes the entry of a user who is gone.
    fn forget(&self, user: UserId) -> BoxFuture<'_, ()>;
    /// Whether it answers.
    fn healthy(&self) -> BoxFuture<'_, bool>;
}

/// No cache: every look computes.
#[derive(Debug)]
pub struct NoCache;

impl Cache for NoCache {
    fn look(&self, _: UserId) -> BoxFuture<'_, Look> {
        Box::pin(async { Look::Bypass })
    }
    fn fill(&self, _: UserId, _: Ticket, _: Vec<u8>, _: Duration) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
    fn invalidate(&self, _: UserId) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
    fn forget(&self, _: UserId) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
    fn healthy(&self) -> BoxFuture<'_, bool> {
        Box::pin(async { true })
    }
}
