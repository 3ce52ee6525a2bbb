//! The camera over the table: pinhole, gravity, and how gravity is corrected by what is seen.

pub(super) mod camera;
pub(super) mod gravity;
pub(super) mod level;
pub(super) mod tilt;
