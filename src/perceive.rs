//! From a photo to regions: which pixels are food, dish, reference or neither, and what each one is.
//!
//! `find` proposes masks, `naming` asks what they show, `select` decides which of them to believe, `refine` moves their
//! edges to where the photo shows them. Nothing here knows what a mask weighs.

mod colour;
mod ellipse;
mod find;
mod grid;
mod naming;
mod refine;
mod region;
mod select;

pub use find::{DepthLater, Detections, Finder, Search, Strategy, find_expected};
pub(crate) use find::{or_stopped, while_wanted};
pub use naming::crop;
pub use region::{Candidate, FoodRegion, Regions, lies_on};
pub use select::resolve;
