//! From readings to volumes with intervals.

mod flags;
mod fusion;
mod item;
mod plausible;
pub(super) mod readings;
mod scale;
mod scale_candidates;
mod sensitivity;
pub(super) mod settle;
mod sight;
pub(super) mod solution;
mod stated;
pub(super) mod uncertainty;
pub(super) mod warnings;
