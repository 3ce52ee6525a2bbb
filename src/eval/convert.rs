//! From published layouts to the manifest.

mod plates;

pub use plates::plates;
