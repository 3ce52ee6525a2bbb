//! Shapes of RunPod's platform that several fronts share: how a job ended, and where its pictures go.

pub mod outcome;
pub mod pictures;

pub use outcome::{Outcome, WorkerIdentity, version};
