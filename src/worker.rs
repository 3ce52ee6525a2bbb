//! RunPod's serverless pull protocol, natively: take a job, run it, post its result, and lose none.
//!
//! The platform gives the addresses as templates in environment variables. Three loops run side by side: taking
//! ([`take`]), stopping ([`stop`]) and pinging ([`ping`], on a thread of its own). What a job has to say leaves
//! through its own ordered outbox ([`outbox`]): progress, stream chunks, and one final post.

pub mod env;
pub mod fitness;
pub mod inflight;
mod job;
pub mod local;
pub mod outbox;
pub mod ping;
pub mod pull;
pub mod recent;
pub mod refuse;
pub mod stop;
pub mod take;
pub mod timing;
pub mod urls;
pub mod wire;

pub use env::{EnvError, WorkerEnv};
pub use pull::{Ended, Worker, WorkerOptions};
pub use refuse::CannotWork;
pub use timing::Timings;
pub use urls::Urls;
