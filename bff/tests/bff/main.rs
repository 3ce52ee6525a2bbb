//! The service against real servers: a private PostgreSQL and Redis on free loopback ports, started once for this
//! binary; a database of its own for each test. Without the servers' binaries the tests say that they did not run, and
//! fail in CI.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod auth;
mod canary;
mod consume;
mod crud;
mod dashboard;
mod dev;
mod erasure;
mod events;
mod faults;
mod harness;
mod isolation;
mod lambda;
mod machinery;
mod notify;
mod openapi;
mod processes;
mod queue;
mod restaurant;
mod scans;
mod sqs;
mod sync;
mod timescale;
