//! What happens after a request: handlers of queue messages. Each recomputes from the tables, so that a message that
//! comes twice, late or out of order does no harm.

mod energy;
mod erase;
pub mod handle;
pub mod relay;
pub mod worker;

/// Kinds of events, as the outbox and the queue name them.
pub mod kinds {
    /// Something that the score is made of has changed.
    pub const CALCULATE_ENERGY_SCORE: &str = "CalculateEnergyScore";
    /// The score of today has fallen below the threshold.
    pub const UPDATE_DAILY_PLAN: &str = "UpdateDailyPlan";
    /// The user asked to be forgotten.
    pub const ERASE_USER: &str = "EraseUser";
}
