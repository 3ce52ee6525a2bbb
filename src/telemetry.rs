//! Logs, traces and metrics: set up once by a front, used everywhere.

pub mod logs;
pub mod metrics;
pub mod names;
pub mod runpod_format;
