//! What happens after a request: handlers of queue messages. Each recomputes from the tables, so that a message that
//! comes twice, late or out of order does no harm.

mod energy;
mod erase;
pub mod handle;
pub mod relay;
mod scan;
pub mod uploads;
pub mod worker;

/// Kinds of events, as the outbox and the queue name them.
pub mod kinds {
    /// Something that the score is made of has changed.
    pub const CALCULATE_ENERGY_SCORE: &str = "CalculateEnergyScore";
    /// The score of today has fallen below the threshold.
    pub const UPDATE_DAILY_PLAN: &str = "UpdateDailyPlan";
    /// Days that TimescaleDB's aggregate has materialised were changed.
    pub const REFRESH_HEALTH_DAILY: &str = "RefreshHealthDaily";
    /// The user asked to be forgotten.
    pub const ERASE_USER: &str = "EraseUser";
    /// All photos of a scan are there.
    pub const SUBMIT_SCAN: &str = "SubmitScan";
    /// The photos of a measured meal leave the bucket for uploads.
    pub const KEEP_PHOTOS: &str = "KeepPhotos";
    /// A meal was thrown away, or nobody confirmed it.
    pub const FORGET_PHOTOS: &str = "ForgetPhotos";
    /// A confirmed meal whose user allows it.
    pub const COPY_FOR_TRAINING: &str = "CopyForTraining";
    /// A user allows it no more.
    pub const FORGET_TRAINING: &str = "ForgetTraining";
}
