//! From masks, a depth raster and what is known of the camera to the volume of every item. Pure.
//!
//! One entry point, `measure`. Inside, lengths are in units of the camera's height above the table, so that
//! everything but the scale is decided before a centimetre is named; the scale enters once, cubed, at the end.
//! `docs/geometry.md` has the frames, every equation, and which room holds what.

mod dish;
mod error;
mod food;
mod limits;
mod math;
mod measure;
pub mod priors;
mod raster;
mod solve;
mod types;
mod view;

pub use error::GeometryError;
pub use measure::measure;
pub use types::{
    CameraFit, Depth, Dish, ItemGeometry, Measured, Portion, RefObject, Region, Scene, ShapeClass,
};
pub use view::camera::{CameraModel, View, focal_from_fov};
pub use view::gravity::Gravity;
