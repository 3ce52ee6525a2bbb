//! From masks, a depth raster and what is known of the camera to the volume of every item. Pure.
//!
//! One entry point, [`measure`]. Inside, lengths are in units of the camera's height above the table, so that
//! everything but the scale is decided before a centimetre is named; the scale enters once, cubed, at the end.
//!
//! Frames: camera x right, y down, z forward; pixel `(i, j)` covers `[i, i + 1) x [j, j + 1)`; gravity points down.

mod bowl;
mod camera;
mod circle;
mod dish;
mod error;
mod fusion;
mod gravity;
mod integral;
mod level;
mod limits;
mod measure;
mod opinions;
mod outline;
mod portion;
mod prepared;
mod random;
mod reference;
mod scale;
mod scene;
mod shape;
mod solve;
mod surface;
mod table;
mod tilt;
mod uncertainty;

pub use bowl::cap_volume;
pub use camera::{CameraModel, View, focal_from_fov};
pub use circle::{Circle, fit_circle, fit_circle_robust};
pub use error::GeometryError;
pub use gravity::Gravity;
pub use integral::Integrals;
pub use measure::measure;
pub use portion::Portion;
pub use scale::{ScaleCandidate, ScaleFusion, fuse};
pub use scene::{CameraFit, Depth, Dish, ItemGeometry, Measured, RefObject, Region, Scene};
pub use shape::{ShapeClass, corrected};
