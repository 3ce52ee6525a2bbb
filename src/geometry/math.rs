//! Plain mathematics that knows nothing of photos.

pub(super) mod circle;
pub(super) mod linear;
pub(super) mod random;
pub(super) mod stats;
pub(super) mod vector;
