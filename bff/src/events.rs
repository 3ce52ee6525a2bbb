//! What happens after a request: handlers of queue messages. Each recomputes from the tables, so that a message that
//! comes twice, late or out of order does no harm.

mod energy;
mod erase;
pub mod handle;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod relay;
pub mod worker;

pub use crate::store::outbox::kinds;
