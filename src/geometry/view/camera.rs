//! The pinhole and its view of the table (geometry.md 1.1, 2.1, 2.2, 7.1).

use super::gravity::Gravity;
use crate::geometry::math::vector::{V3, cross, dot, normalised};

/// Focal length in pixels of a side of `side_px` that spans `fov_deg`.
pub fn focal_from_fov(side_px: f64, fov_deg: f64) -> f64 {
    side_px / (2.0 * (fov_deg.to_radians() / 2.0).tan())
}

/// Pinhole with square pixels and no distortion, in pixels of the upright photo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CameraModel {
    pub width: usize,
    pub height: usize,
    pub focal_px: f64,
    /// Standard deviation of ln(focal_px).
    pub focal_sigma_ln: f64,
    /// Principal point; the middle of the photo is `width / 2`.
    pub cx: f64,
    pub cy: f64,
}

impl CameraModel {
    /// Principal point in the middle.
    pub fn centred(width: usize, height: usize, focal_px: f64, focal_sigma_ln: f64) -> Self {
        Self {
            width,
            height,
            focal_px,
            focal_sigma_ln,
            cx: width as f64 / 2.0,
            cy: height as f64 / 2.0,
        }
    }

    /// Direction through a pixel position, with z = 1.
    pub fn ray(&self, u: f64, v: f64) -> [f64; 3] {
        [(u - self.cx) / self.focal_px, (v - self.cy) / self.focal_px, 1.0]
    }

    /// Point in camera axes at `depth` along the optical axis.
    pub fn unproject(&self, u: f64, v: f64, depth: f64) -> [f64; 3] {
        let r = self.ray(u, v);
        [r[0] * depth, r[1] * depth, depth]
    }

    /// Pixel position of a point; `None` behind the camera.
    pub fn project(&self, p: [f64; 3]) -> Option<[f64; 2]> {
        (p[2] > 0.0).then(|| {
            [
                self.cx + self.focal_px * p[0] / p[2],
                self.cy + self.focal_px * p[1] / p[2],
            ]
        })
    }

    /// Field of view of the longer side in degrees.
    pub fn fov_long_deg(&self) -> f64 {
        let side = self.width.max(self.height) as f64;
        2.0 * (side / (2.0 * self.focal_px)).atan().to_degrees()
    }
}

/// A camera over a horizontal table. Lengths are in units of its height over the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    pub camera: CameraModel,
    /// Unit vector pointing down, camera axes.
    pub down: [f64; 3],
    pub(crate) e1: V3,
    pub(crate) e2: V3,
}

impl View {
    pub fn new(camera: CameraModel, gravity: &Gravity) -> Self {
        let down = gravity.down;
        // Ground axes: e1 is the camera's x made horizontal; when the camera's x is vertical, its y.
        let seed: V3 = if down[0].abs() < 0.9 {
            [1.0, 0.0, 0.0]
        } else {
            [0.0, 1.0, 0.0]
        };
        let along = dot(seed, down);
        let e1 = normalised([
            seed[0] - along * down[0],
            seed[1] - along * down[1],
            seed[2] - along * down[2],
        ]);
        let e2 = cross(down, e1);
        Self { camera, down, e1, e2 }
    }

    /// Fall per unit of depth along this pixel's ray. 0 at the horizon.
    pub fn q(&self, u: f64, v: f64) -> f64 {
        let r = self.camera.ray(u, v);
        dot(self.down, r)
    }

    /// Height over the table at depth `zeta`.
    pub fn height(&self, u: f64, v: f64, zeta: f64) -> f64 {
        1.0 - zeta * self.q(u, v)
    }

    /// Where the pixel's ray meets the level at height `eta`; ground axes. The ray must point down.
    pub fn on_level(&self, u: f64, v: f64, eta: f64) -> [f64; 2] {
        let r = self.camera.ray(u, v);
        let zeta = (1.0 - eta) / dot(self.down, r);
        [zeta * dot(self.e1, r), zeta * dot(self.e2, r)]
    }

    /// Pixel position of a ground point at height `eta`.
    pub fn pixel_of(&self, ground: [f64; 2], eta: f64) -> Option<[f64; 2]> {
        let below = 1.0 - eta;
        let p: V3 =
            std::array::from_fn(|i| ground[0] * self.e1[i] + ground[1] * self.e2[i] + below * self.down[i]);
        self.camera.project(p)
    }

    /// Signed horizontal area of one pixel of a surface at depth `zeta` with
    /// depth slopes `zu`, `zv` per pixel. Negative where the surface hangs over.
    pub fn ground_area(&self, u: f64, v: f64, zeta: f64, zu: f64, zv: f64) -> f64 {
        let f = self.camera.focal_px;
        let r = self.camera.ray(u, v);
        let g = self.down;
        zeta * zu * (r[0] * g[2] - g[0]) / f
            + zeta * zv * (r[1] * g[2] - g[1]) / f
            + zeta * zeta * g[2] / (f * f)
    }

    /// Horizontal area of one pixel of a level patch at depth `zeta`.
    pub fn level_area(&self, u: f64, v: f64, zeta: f64) -> f64 {
        let f = self.camera.focal_px;
        zeta * zeta / (f * f * self.q(u, v))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn view(tilt: f64, roll: f64) -> View {
        View::new(
            CameraModel::centred(1000, 800, 760.0, 0.0),
            &Gravity::from_pitch(tilt, roll, 1.0),
        )
    }

    #[test]
    fn table_points_have_height_zero_and_come_back() {
        let v = view(35.0, 7.0);
        for (x, y) in [(100.0, 90.0), (500.0, 400.0), (900.0, 790.0)] {
            let zeta = 1.0 / v.q(x, y);
            assert!(v.height(x, y, zeta).abs() < 1e-12);
            for eta in [0.0, 0.1] {
                let back = v.pixel_of(v.on_level(x, y, eta), eta).unwrap();
                assert!((back[0] - x).abs() < 1e-9 && (back[1] - y).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn ground_area_of_the_plane_is_the_level_patch() {
        let v = view(40.0, -5.0);
        let (x, y) = (300.0, 500.0);
        let z = |x: f64, y: f64| 1.0 / v.q(x, y);
        let (zu, zv) = (
            (z(x + 1e-3, y) - z(x - 1e-3, y)) / 2e-3,
            (z(x, y + 1e-3) - z(x, y - 1e-3)) / 2e-3,
        );
        let (a, b) = (v.ground_area(x, y, z(x, y), zu, zv), v.level_area(x, y, z(x, y)));
        assert!((a / b - 1.0).abs() < 1e-7, "{a} {b}");
    }

    #[test]
    fn fov_and_focal_agree() {
        let f = focal_from_fov(4032.0, 67.3);
        assert!((CameraModel::centred(3024, 4032, f, 0.0).fov_long_deg() - 67.3).abs() < 1e-9);
    }
}
