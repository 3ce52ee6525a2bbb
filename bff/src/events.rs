//! What happens after a request: handlers of queue messages. Each recomputes from the tables, so that a message that
//! comes twice, late or out of order does no harm.

mod deliver;
mod energy;
mod erase;
pub mod handle;
pub mod menu;
pub mod relay;
mod scan;
pub mod uploads;
pub mod worker;
