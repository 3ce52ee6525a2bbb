//! Geometry against what can be known: ray-marched solids, conservation laws, sample plates, and nonsense.
#![allow(clippy::unwrap_used)]

#[path = "geometry/golden.rs"]
mod golden;
#[path = "geometry/laws.rs"]
mod laws;
#[path = "geometry/nonsense.rs"]
mod nonsense;
#[path = "geometry/plates.rs"]
mod plates;
#[path = "geometry/plausible.rs"]
mod plausible;
#[path = "geometry/scale_sources.rs"]
mod scale_sources;
#[path = "geometry/scenes.rs"]
mod scenes;
#[path = "geometry/stated.rs"]
mod stated;
#[path = "geometry/tables.rs"]
mod tables;
