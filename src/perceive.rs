//! From a photo to regions: which pixels are food, dish, reference or neither, and what each one is.

mod crop;
mod find;
pub mod resolve;

pub use crop::crop;
pub use find::{Finder, Seen, Strategy};
pub use resolve::{Candidate, FoodRegion, Regions, resolve};
