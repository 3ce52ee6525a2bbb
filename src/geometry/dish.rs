//! Plates, bowls and boards: their rim gives scale, their inside gives the base under the food.

mod frame;
pub(super) mod model;
pub(super) mod profile;
pub(super) mod rim;
pub(super) mod samples;
pub(super) mod slope;
pub(super) mod ware;
