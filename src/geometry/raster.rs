//! What is read off the masks and the depth raster.

pub(super) mod clearance;
pub(super) mod free_plane;
pub(super) mod halo;
mod noise;
pub(super) mod outline;
pub(super) mod reference;
pub(super) mod samples;
pub(super) mod surface;
pub(super) mod table;
pub(super) mod table_fit;
