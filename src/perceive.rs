//! From a photo to regions: which pixels are food, dish, reference or neither, and what each one is.

mod crop;
mod find;
pub mod resolve;

pub use crop::crop;
pub use find::{Finder, Found, Strategy};
pub use resolve::{FoodRegion, Regions};
