//! Volumes before the scale is known.

/// A volume in camera heights cubed.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Default)]
pub(crate) struct CubicHeights(pub(crate) f64);

impl CubicHeights {
    pub(crate) fn cm3(self, camera_height_cm: f64) -> f64 {
        self.0 * camera_height_cm.powi(3)
    }

    /// The camera's height in cm under which this would be so many cm3.
    pub(crate) fn camera_height_cm(self, volume_cm3: f64) -> f64 {
        (volume_cm3 / self.0).cbrt()
    }
}
