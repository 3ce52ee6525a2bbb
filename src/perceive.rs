//! From a photo to regions: which pixels are food, dish, reference or neither, and what each one is.

mod crop;
pub mod resolve;

pub use crop::crop;
