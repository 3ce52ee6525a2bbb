//! PostgreSQL, one file a table.
//!
//! Everything of a user goes through [`UserTx`]: a transaction that carries the user's id as a setting, on which row
//! security and the statements over `health_metrics` depend. It cannot be had without a [`UserId`], and a `UserId`
//! comes from a verified token, or from the machinery's own rows.

pub mod bio_profile;
pub mod consents;
pub mod daily_plan;
pub mod devices;
pub mod erasure;
mod export;
pub mod food_logs;
mod health_daily;
pub mod health_metrics;
pub mod idempotency;
pub mod leftovers;
mod listen;
pub mod migrate;
pub mod notices;
pub mod outbox;
pub mod page;
pub mod pantry;
pub mod resource;
pub mod restaurant_cache;
pub mod row;
pub mod scan_machine;
pub mod scan_meals;
pub mod scans;
pub mod sync_cursors;
pub mod training;
mod tx;
mod upkeep;
mod user_id;
pub mod users;

pub use tx::{Db, UserTx, options};
pub use user_id::UserId;
