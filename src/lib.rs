//! Meal photo in; per item mask, volume, grams, kcal and macros out, each with an interval.
//!
//! `intake -> perceive -> geometry -> nutrition`, glued by `pipeline`; every front (CLI, HTTP, worker) builds the
//! same [`contract::ScanRequest`] and gets the same [`contract::ScanResult`].

pub mod bucket;
pub mod cli;
pub mod config;
pub mod contract;
pub mod eval;
pub mod food_store;
pub mod geometry;
pub mod http;
pub mod identify;
pub mod intake;
pub mod jobs;
pub mod nutrition;
pub mod overlay;
pub mod perceive;
pub mod pipeline;
pub mod runtime;
pub mod telemetry;
pub mod weights_pull;
pub mod worker;

pub use contract::{Estimated, ScanError, ScanRequest, ScanResult};
