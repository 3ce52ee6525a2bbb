//! Which way is down, in camera axes (x right, y down, z forward) of the upright photo.

use crate::geometry::math::vector::{V3, cross, dot, normalised};

/// Unit vector pointing down, and how far it may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gravity {
    pub down: [f64; 3],
    /// Standard deviation of the tilt, degrees.
    pub tilt_sigma_deg: f64,
    /// Standard deviation of the roll, degrees; large where only a pitch was sent.
    pub roll_sigma_deg: f64,
}

impl Gravity {
    /// Tilt and roll in degrees: `g = (sin t sin r, sin t cos r, cos t)`. The roll gets three times the sigma,
    /// because a single pitch says nothing of it.
    pub fn from_pitch(pitch_deg: f64, roll_deg: f64, sigma_deg: f64) -> Self {
        let ((st, ct), (sr, cr)) = (pitch_deg.to_radians().sin_cos(), roll_deg.to_radians().sin_cos());
        Self {
            down: [st * sr, st * cr, ct],
            tilt_sigma_deg: sigma_deg,
            roll_sigma_deg: 3.0 * sigma_deg,
        }
    }

    /// From gravity in the axes of a phone held upright (x right, y to the top, z out of the screen), for a photo
    /// whose up is the phone's top. `None` for a vector that is not finite or has no length.
    pub fn from_device(gravity: [f64; 3], sigma_deg: f64) -> Option<Self> {
        Self::from_camera([gravity[0], -gravity[1], -gravity[2]], sigma_deg)
    }

    /// From a vector in camera axes, of any length.
    pub fn from_camera(down: [f64; 3], sigma_deg: f64) -> Option<Self> {
        let length = dot(down, down);
        (length.is_finite() && length > 1e-12).then(|| Self {
            down: normalised(down),
            tilt_sigma_deg: sigma_deg,
            roll_sigma_deg: sigma_deg,
        })
    }

    /// Angle between the optical axis and straight down, 0 to 180 degrees.
    pub fn tilt_deg(&self) -> f64 {
        self.down[2].clamp(-1.0, 1.0).acos().to_degrees()
    }

    /// Roll about the optical axis in degrees; 0 where the view is straight down.
    pub fn roll_deg(&self) -> f64 {
        if self.down[0].hypot(self.down[1]) < 1e-9 {
            0.0
        } else {
            self.down[0].atan2(self.down[1]).to_degrees()
        }
    }

    /// The same with small rotations (radians) towards two fixed directions square to gravity: `lean[0]` is along
    /// the tilt (more tilt), `lean[1]` across it.
    pub(crate) fn leaned(&self, lean: [f64; 2]) -> Self {
        let (along, across) = self.lean_axes();
        let down: V3 = std::array::from_fn(|i| self.down[i] + lean[0] * along[i] + lean[1] * across[i]);
        Self {
            down: normalised(down),
            ..*self
        }
    }

    /// Directions square to gravity: along increasing tilt, and across.
    pub(crate) fn lean_axes(&self) -> (V3, V3) {
        let g = self.down;
        let flat = g[0].hypot(g[1]);
        // Straight down the tilt's direction is the photo's bottom by convention.
        let (hx, hy) = if flat < 1e-6 {
            (0.0, 1.0)
        } else {
            (g[0] / flat, g[1] / flat)
        };
        let along = normalised([hx * g[2], hy * g[2], -flat]);
        (along, cross(along, g))
    }

    /// Standard deviations (radians) along [`Self::lean_axes`]. Across the tilt a roll error counts by sin(tilt);
    /// it is never taken for better than the tilt itself.
    pub(crate) fn lean_sigma(&self) -> [f64; 2] {
        let tilt = self.tilt_sigma_deg.to_radians();
        let across = self.roll_sigma_deg.to_radians() * self.down[0].hypot(self.down[1]);
        [tilt, across.max(tilt)]
    }

    /// Angle to another direction in degrees.
    pub fn angle_deg(&self, other: &Self) -> f64 {
        dot(self.down, other.down).clamp(-1.0, 1.0).acos().to_degrees()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pitch_roll_and_device_axes() {
        let g = Gravity::from_pitch(35.0, 7.0, 1.0);
        assert!((g.tilt_deg() - 35.0).abs() < 1e-9 && (g.roll_deg() - 7.0).abs() < 1e-9);
        // iOS gravity at 45 degrees: (0, -.71, -.71).
        let d = Gravity::from_device([0.0, -0.5_f64.sqrt(), -0.5_f64.sqrt()], 1.0).unwrap();
        assert!(d.angle_deg(&Gravity::from_pitch(45.0, 0.0, 1.0)) < 1e-5);
        assert!(Gravity::from_device([0.0; 3], 1.0).is_none());
        assert!(Gravity::from_camera([f64::NAN, 0.0, 1.0], 1.0).is_none());
    }

    #[test]
    fn leaning_changes_tilt_by_the_angle() {
        for tilt in [0.0, 10.0, 60.0] {
            let g = Gravity::from_pitch(tilt, 0.0, 1.0).leaned([0.01, 0.0]);
            assert!((g.tilt_deg() - tilt - 0.01_f64.to_degrees()).abs() < 1e-3);
        }
    }
}
