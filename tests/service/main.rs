//! The service from outside: the HTTP front, the job store through crashes, and the pull worker against a scripted
//! platform. Everything on loopback, with the stub engine and short waits.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod app;
mod crash;
mod direct;
mod jobs;
mod operations;
mod plane;
mod webhooks;
mod worker_life;
mod worker_posts;
mod worker_takes;
