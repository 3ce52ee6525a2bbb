//! Which of many overlapping, named masks to believe.

pub(super) mod bowls;
mod choose;
mod contents;
mod dishes;
mod misnamed;
mod resolve;

pub(super) use choose::without_parts;
pub use resolve::resolve;
pub(super) use resolve::settle;
