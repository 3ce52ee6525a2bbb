//! The service against real servers: a private PostgreSQL and Redis on free loopback ports, started once for this
//! binary; a database of its own for each test. Without the servers' binaries the tests say that they did not run, and
//! fail in CI.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod auth;
mod canary;
mod consume;
mod crud;
mod dashboard;
mod erasure;
mod events;
mod harness;
mod isolation;
mod machinery;
mod openapi;
mod scans;
mod sync;
