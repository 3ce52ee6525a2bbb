//! Companion backend of a diet app: what the phone measured in, rings, plan and leftovers out.
//!
//! Data flows one way: `routes` read a request and call one thing of `store`; `domain` is pure and decides; `events`
//! handle what `queue` delivers. The user of a transaction comes from a verified token only ([`store::UserId`]).

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod auth;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
#[cfg(feature = "dev")]
pub mod dev;
pub mod domain;
pub mod edge;
pub mod events;
pub mod menus;
pub mod notify;
pub mod objects;
pub mod outgoing;
pub mod plan;
pub mod problem;
pub mod queue;
pub mod routes;
pub mod scans;
pub mod serve;
pub mod store;
pub mod telemetry;
pub mod vision;
