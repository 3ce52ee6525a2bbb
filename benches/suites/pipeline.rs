//! Geometry and nutrition of a whole scan: 1024 x 768, six items on a plate, relative disparity at the network's
//! resolution. `RAYON_NUM_THREADS=1 cargo bench --bench pipeline`; the aim is 15 ms on one thread.
#![allow(clippy::expect_used)]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use dragunov::geometry::{
    CameraModel, Depth, Dish, DishKind, Gravity, Region, Scene, ShapeClass, View, focal_from_fov, measure,
};
use dragunov::nutrition::{FoodTable, ItemInput, Volume, nourish};
use dragunov_models::{Mask, RelativeDisparity};

const WIDTH: usize = 1024;
const HEIGHT: usize = 768;
/// Depth Anything V2 at its default size for a 4:3 photo.
const GRID: [usize; 2] = [686, 518];
/// In camera heights.
const PLATE_RADIUS: f64 = 0.36;

/// Six domes on a flat plate, seen at 35 degrees.
struct Meal {
    items: Vec<Mask>,
    plate: Mask,
    disparity: RelativeDisparity,
}

fn centres() -> [[f64; 2]; 6] {
    std::array::from_fn(|i| {
        let (s, c) = (i as f64 * std::f64::consts::TAU / 6.0).sin_cos();
        [0.2 * c, 0.2 * s]
    })
}

fn meal(view: &View) -> Meal {
    let middle = view.on_level(WIDTH as f64 / 2.0, HEIGHT as f64 / 2.0, 0.0);
    let ground = |u: f64, v: f64| {
        let g = view.on_level(u, v, 0.0);
        [g[0] - middle[0], g[1] - middle[1]]
    };
    let dome = 0.085;
    let near = |g: [f64; 2], c: [f64; 2]| (g[0] - c[0]).hypot(g[1] - c[1]);
    let item_of = |u: f64, v: f64| {
        let g = ground(u, v);
        centres().iter().position(|c| near(g, *c) < dome)
    };
    let items = (0..6)
        .map(|k| {
            Mask::from_fn(WIDTH, HEIGHT, |x, y| {
                item_of(x as f64 + 0.5, y as f64 + 0.5) == Some(k)
            })
        })
        .collect();
    let plate = Mask::from_fn(WIDTH, HEIGHT, |x, y| {
        let (u, v) = (x as f64 + 0.5, y as f64 + 0.5);
        near(ground(u, v), [0.0; 2]) < PLATE_RADIUS && item_of(u, v).is_none()
    });
    let mut values = Vec::with_capacity(GRID[0] * GRID[1]);
    for j in 0..GRID[1] {
        for i in 0..GRID[0] {
            let u = (i as f64 + 0.5) * WIDTH as f64 / GRID[0] as f64;
            let v = (j as f64 + 0.5) * HEIGHT as f64 / GRID[1] as f64;
            let g = ground(u, v);
            let rise = centres()
                .iter()
                .map(|c| (1.0 - (near(g, *c) / dome).powi(2)).max(0.0) * 0.07)
                .fold(0.0, f64::max);
            values.push((view.q(u, v) / (1.0 - rise) + 0.4) as f32);
        }
    }
    Meal {
        items,
        plate,
        disparity: RelativeDisparity::new(GRID[0], GRID[1], values).expect("raster"),
    }
}

fn pipeline(c: &mut Criterion) {
    let camera = CameraModel::centred(WIDTH, HEIGHT, focal_from_fov(WIDTH as f64, 66.0), 0.02);
    let gravity = Gravity::from_pitch(35.0, 0.0, 1.0);
    let meal = meal(&View::new(camera, &gravity));
    let scene = Scene {
        camera,
        gravity: Some(gravity),
        depth: Depth::Disparity(&meal.disparity),
        items: meal
            .items
            .iter()
            .map(|mask| Region {
                mask,
                shape: ShapeClass::Dome,
                portion: None,
            })
            .collect(),
        dishes: vec![Dish {
            mask: &meal.plate,
            kind: DishKind::Plate,
            diameter_cm: Some(26.0),
        }],
        references: Vec::new(),
        others: Vec::new(),
        camera_height_cm: None,
        relief_sigma: 0.0,
        seed: 1,
    };
    c.bench_function("geometry/measure 1024x768, 6 items", |b| {
        b.iter(|| measure(black_box(&scene)).expect("measured"));
    });
    let foods = FoodTable::builtin();
    c.bench_function("geometry and nutrition/1024x768, 6 items", |b| {
        b.iter(|| {
            let measured = measure(black_box(&scene)).expect("measured");
            let items: Vec<ItemInput> = measured
                .items
                .iter()
                .map(|item| ItemInput {
                    label: "rice".into(),
                    confidence: 0.7,
                    alternatives: vec![("fried rice".into(), 0.2), ("risotto".into(), 0.1)],
                    volume: Volume::from_estimate(&item.volume_cm3, 0.1),
                    form: None,
                    vlm: None,
                })
                .collect();
            nourish(&foods, &items).expect("weighed")
        });
    });
}

criterion_group!(benches, pipeline);
criterion_main!(benches);
