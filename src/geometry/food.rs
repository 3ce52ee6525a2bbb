//! One item of food: integrals over its surface, and its volume by shape, by bowl and by usual portion.

pub(super) mod bowl;
pub(super) mod integral;
pub(super) mod portion;
pub(super) mod shape;
pub(super) mod volume;
