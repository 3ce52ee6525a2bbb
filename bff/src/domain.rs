//! What the numbers mean. Pure: no input or output, no clock; instants and zones come in as arguments.
//!
//! The score, the diary day and the targets are this service's own proposals, not physiology, and no diagnosis.

pub mod day;
pub mod energy;
pub mod ingest;
pub mod macros;
pub mod menu;
pub mod metrics;
pub mod notice;
pub mod plan;
pub mod result;
pub mod rings;
pub mod scan;
pub mod servings;
pub mod strip;
pub mod targets;
pub mod upload;
