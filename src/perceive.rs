//! From a photo to regions: which pixels are food, dish, reference or neither, and what each one is.

mod alike;
mod bowls;
mod choose;
mod closeup;
mod coin_edge;
mod colour;
mod crop;
mod dishes;
mod ellipse;
mod find;
pub mod resolve;
mod second_look;
mod spill;

pub use crop::crop;
pub use find::{Finder, Seen, Strategy};
pub use resolve::{Candidate, FoodRegion, Regions, lies_on, resolve};
