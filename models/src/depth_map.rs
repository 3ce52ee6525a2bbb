//! Depth rasters. Two types, because relative output cannot be integrated before a scale is known.

use crate::{ModelError, Result};

macro_rules! raster {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq)]
        pub struct $name {
            width: usize,
            height: usize,
            data: Vec<f32>,
        }

        impl $name {
            /// `data` is row-major with `width * height` values.
            ///
            /// # Errors
            /// [`ModelError::Image`] if the length does not fit or a side is zero.
            pub fn new(width: usize, height: usize, data: Vec<f32>) -> Result<Self> {
                if width == 0 || height == 0 || width.checked_mul(height) != Some(data.len()) {
                    let reason = format!("{} values do not make that raster", data.len());
                    return Err(ModelError::Image { width, height, reason });
                }
                Ok(Self { width, height, data })
            }

            pub fn width(&self) -> usize {
                self.width
            }

            pub fn height(&self) -> usize {
                self.height
            }

            /// Row-major values.
            pub fn values(&self) -> &[f32] {
                &self.data
            }

            /// # Panics
            /// If the pixel lies outside.
            pub fn at(&self, x: usize, y: usize) -> f32 {
                self.data[y * self.width + x]
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({} x {})", stringify!($name), self.width, self.height)
            }
        }
    };
}

raster! {
    /// Affine-invariant disparity, unitless: `d = a / Z + b` with unknown `a > 0` and `b`; larger is nearer.
    RelativeDisparity
}
raster! {
    /// Distance along the optical axis in metres (not the length of the ray); 0 or NaN where unknown.
    MetricDepth
}
