//! The service from outside: the HTTP front, the job store through crashes, and the pull worker against a scripted
//! platform. Everything on loopback, with the stub engine and short waits.
#![allow(clippy::unwrap_used, unreachable_pub)]

mod ahead;
mod app;
mod buckets;
mod canary;
mod commands;
mod crash;
mod direct;
mod jobs;
mod operations;
mod plane;
#[path = "../common/s3.rs"]
mod s3;
mod traces;
mod webhooks;
mod worker_life;
mod worker_posts;
mod worker_process;
mod worker_takes;
