//! A meal whose geometry is known in closed form: six domes on a flat plate, seen at 35 degrees.

use dragunov::contract::DishKind;
use dragunov::geometry::{
    CameraModel, Depth, Dish, Gravity, Region, Scene, ShapeClass, View, focal_from_fov,
};
use dragunov_models::{Mask, RelativeDisparity};

/// Depth Anything V2 at its default size for a 4:3 photo.
const GRID: [usize; 2] = [686, 518];
/// In camera heights, as all lengths here.
const PLATE_RADIUS: f64 = 0.36;
const DOME_RADIUS: f64 = 0.085;
const DOME_HEIGHT: f64 = 0.07;

/// Masks in the photo's pixels and a relative disparity at the network's resolution.
pub(crate) struct Meal {
    camera: CameraModel,
    gravity: Gravity,
    items: Vec<Mask>,
    plate: Mask,
    disparity: RelativeDisparity,
}

fn near(g: [f64; 2], c: [f64; 2]) -> f64 {
    (g[0] - c[0]).hypot(g[1] - c[1])
}

fn centres() -> [[f64; 2]; 6] {
    std::array::from_fn(|i| {
        let (s, c) = (i as f64 * std::f64::consts::TAU / 6.0).sin_cos();
        [0.2 * c, 0.2 * s]
    })
}

impl Meal {
    /// As a photo of `width` x `height` pixels shows it.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let camera = CameraModel::centred(width, height, focal_from_fov(width as f64, 66.0), 0.02);
        let gravity = Gravity::from_pitch(35.0, 0.0, 1.0);
        let view = View::new(camera, &gravity);
        let middle = view.on_level(width as f64 / 2.0, height as f64 / 2.0, 0.0);
        let ground = |u: f64, v: f64| {
            let g = view.on_level(u, v, 0.0);
            [g[0] - middle[0], g[1] - middle[1]]
        };
        let item_of = |u: f64, v: f64| {
            let g = ground(u, v);
            centres().iter().position(|c| near(g, *c) < DOME_RADIUS)
        };
        let items = (0..6)
            .map(|k| {
                Mask::from_fn(width, height, |x, y| {
                    item_of(x as f64 + 0.5, y as f64 + 0.5) == Some(k)
                })
            })
            .collect();
        let plate = Mask::from_fn(width, height, |x, y| {
            let (u, v) = (x as f64 + 0.5, y as f64 + 0.5);
            near(ground(u, v), [0.0; 2]) < PLATE_RADIUS && item_of(u, v).is_none()
        });
        let mut values = Vec::with_capacity(GRID[0] * GRID[1]);
        for j in 0..GRID[1] {
            for i in 0..GRID[0] {
                let u = (i as f64 + 0.5) * width as f64 / GRID[0] as f64;
                let v = (j as f64 + 0.5) * height as f64 / GRID[1] as f64;
                let g = ground(u, v);
                let rise = centres()
                    .iter()
                    .map(|c| (1.0 - (near(g, *c) / DOME_RADIUS).powi(2)).max(0.0) * DOME_HEIGHT)
                    .fold(0.0, f64::max);
                values.push((view.q(u, v) / (1.0 - rise) + 0.4) as f32);
            }
        }
        Self {
            camera,
            gravity,
            items,
            plate,
            disparity: RelativeDisparity::new(GRID[0], GRID[1], values).expect("raster"),
        }
    }

    /// With everything told that a client can tell.
    pub(crate) fn scene(&self) -> Scene<'_> {
        Scene {
            camera: self.camera,
            gravity: Some(self.gravity),
            depth: Depth::Disparity(&self.disparity),
            items: self
                .items
                .iter()
                .map(|mask| Region {
                    mask,
                    shape: ShapeClass::Dome,
                    portion: None,
                })
                .collect(),
            dishes: vec![Dish {
                mask: &self.plate,
                kind: DishKind::Plate,
                diameter_cm: Some(26.0),
            }],
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
}
