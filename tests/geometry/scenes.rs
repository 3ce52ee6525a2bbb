//! A ray caster for solids on a table, seen by a pinhole that looks at them.

use dragunov::contract::DishKind;
use dragunov::geometry::{CameraModel, Depth, Dish, Gravity, Region, Scene, ShapeClass, focal_from_fov};
use dragunov_models::{Mask, MetricDepth, RelativeDisparity};

/// A solid standing on the table at the origin, cm.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Solid {
    Cylinder {
        r: f64,
        h: f64,
    },
    /// Cap of a sphere, flat side down.
    Cap {
        r: f64,
        h: f64,
    },
    Ball {
        r: f64,
    },
}

impl Solid {
    pub(crate) fn volume(self) -> f64 {
        let pi = std::f64::consts::PI;
        match self {
            Self::Cylinder { r, h } => pi * r * r * h,
            Self::Cap { r, h } => pi * h * (3.0 * r * r + h * h) / 6.0,
            Self::Ball { r } => 4.0 / 3.0 * pi * r.powi(3),
        }
    }

    /// Distance along `o + t d` to the first hit, z up.
    fn hit(self, o: [f64; 3], d: [f64; 3]) -> Option<f64> {
        let sphere = |centre: f64, radius: f64| {
            let p = [o[0], o[1], o[2] - centre];
            let (a, b, c) = (
                d.iter().map(|x| x * x).sum::<f64>(),
                p.iter().zip(&d).map(|(x, y)| x * y).sum::<f64>(),
                p.iter().map(|x| x * x).sum::<f64>() - radius * radius,
            );
            let root = b * b - a * c;
            (root > 0.0).then(|| (-b - root.sqrt()) / a)
        };
        match self {
            Self::Ball { r } => sphere(r, r),
            Self::Cap { r, h } => {
                let radius = (r * r + h * h) / (2.0 * h);
                sphere(h - radius, radius).filter(|t| o[2] + t * d[2] >= 0.0)
            }
            Self::Cylinder { r, h } => {
                let top = (h - o[2]) / d[2];
                let at = |t: f64| (o[0] + t * d[0]).hypot(o[1] + t * d[1]);
                if top > 0.0 && at(top) <= r {
                    return Some(top);
                }
                let (a, b, c) = (
                    d[0] * d[0] + d[1] * d[1],
                    o[0] * d[0] + o[1] * d[1],
                    o[0] * o[0] + o[1] * o[1] - r * r,
                );
                let root = b * b - a * c;
                let t = (-b - root.max(0.0).sqrt()) / a;
                let z = o[2] + t * d[2];
                (root > 0.0 && z >= 0.0 && z <= h).then_some(t)
            }
        }
    }
}

/// What the camera sees.
pub(crate) struct Shot {
    pub(crate) camera: CameraModel,
    pub(crate) gravity: Gravity,
    /// Metres.
    pub(crate) depth: MetricDepth,
    pub(crate) food: Mask,
    /// A flat round plate of 26 cm under the food, drawn on the table.
    pub(crate) plate: Mask,
    pub(crate) solid: Solid,
}

pub(crate) const HEIGHT_CM: f64 = 40.0;
pub(crate) const PLATE_CM: f64 = 26.0;

/// HFOV 65 degrees, 40 cm over the table, looking at the origin.
pub(crate) fn shoot(solid: Solid, tilt_deg: f64, size: [usize; 2]) -> Shot {
    let [w, h] = size;
    let camera = CameraModel::centred(w, h, focal_from_fov(w as f64, 65.0), 0.0);
    let (s, c) = tilt_deg.to_radians().sin_cos();
    let far = HEIGHT_CM / c;
    let o = [0.0, -far * s, HEIGHT_CM];
    let mut depth = vec![0.0f32; w * h];
    let mut food = vec![false; w * h];
    let mut plate = vec![false; w * h];
    for y in 0..h {
        for x in 0..w {
            let r = camera.ray(x as f64 + 0.5, y as f64 + 0.5);
            // Camera x is the world's x, y is (0, -cos, -sin), z is (0, sin, -cos).
            let d = [r[0], -c * r[1] + s * r[2], -s * r[1] - c * r[2]];
            let i = y * w + x;
            let table = (d[2] < -1e-6).then(|| -o[2] / d[2]);
            if let Some(t) = solid.hit(o, d) {
                depth[i] = (t / 100.0) as f32;
                food[i] = true;
            } else if let Some(t) = table {
                depth[i] = (t / 100.0) as f32;
                plate[i] = (o[0] + t * d[0]).hypot(o[1] + t * d[1]) <= PLATE_CM / 2.0;
            }
        }
    }
    Shot {
        camera,
        gravity: Gravity::from_pitch(tilt_deg, 0.0, 0.5),
        depth: MetricDepth::new(w, h, depth).unwrap(),
        food: Mask::from_bits(w, h, &food),
        plate: Mask::from_bits(w, h, &plate),
        solid,
    }
}

impl Shot {
    /// Food on the bare table, true depth.
    pub(crate) fn bare(&self, shape: ShapeClass) -> Scene<'_> {
        Scene {
            camera: self.camera,
            gravity: Some(self.gravity),
            depth: Depth::Metric {
                depth: &self.depth,
                scale_sigma_ln: 0.0,
            },
            items: vec![Region {
                mask: &self.food,
                shape,
                portion: None,
            }],
            dishes: Vec::new(),
            references: Vec::new(),
            others: Vec::new(),
            camera_height_cm: None,
            relief_sigma: 0.0,
            shift_sigma: 0.35,
            outline_sigma: 0.0,
            table_tilt_sigma_deg: 12.0,
            seed: 1,
        }
    }

    /// The plate and a relative disparity.
    pub(crate) fn relative<'a>(
        &'a self,
        disparity: &'a RelativeDisparity,
        diameter_cm: Option<f64>,
    ) -> Scene<'a> {
        Scene {
            depth: Depth::Disparity(disparity),
            dishes: vec![Dish {
                mask: &self.plate,
                kind: DishKind::Plate,
                diameter_cm,
            }],
            ..self.bare(ShapeClass::Dome)
        }
    }

    /// `d = 3 / Z + shift`, plus a ramp down the photo from `-ramp / 2` to `ramp / 2` of the table's disparity.
    pub(crate) fn disparity(&self, shift: f64, ramp: f64) -> RelativeDisparity {
        let (w, h) = (self.depth.width(), self.depth.height());
        let centre = 3.0 / f64::from(self.depth.at(w / 2, h - 1));
        let values = (0..w * h)
            .map(|i| {
                let z = f64::from(self.depth.values()[i]);
                let slope = (i / w) as f64 / h as f64 - 0.5;
                let d = if z > 0.0 { 3.0 / z } else { 0.0 };
                (d + shift * centre + ramp * centre * slope) as f32
            })
            .collect();
        RelativeDisparity::new(w, h, values).unwrap()
    }
}
