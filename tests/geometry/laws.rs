//! Laws that hold for any scene.

use dragunov::geometry::{CameraModel, Depth, Gravity, Region, ShapeClass, View, measure};
use dragunov_models::{Mask, MetricDepth};
use proptest::prelude::*;

use super::scenes::{Shot, Solid, shoot};

const SIZE: [usize; 2] = [400, 300];

fn volume(shot: &Shot) -> f64 {
    measure(&shot.bare(ShapeClass::Dome)).unwrap().items[0]
        .volume_cm3
        .p50
}

fn mapped(
    shot: &Shot,
    size: [usize; 2],
    from: impl Fn(usize, usize) -> [usize; 2],
    gravity: Gravity,
) -> Shot {
    let [w, h] = size;
    let bits = shot.food.to_bits();
    let old = shot.food.width();
    let mut depth = Vec::with_capacity(w * h);
    for y in 0..h {
        for x in 0..w {
            let [a, b] = from(x, y);
            depth.push(shot.depth.at(a, b));
        }
    }
    let moved = |bits: &[bool]| {
        Mask::from_fn(w, h, |x, y| {
            let [a, b] = from(x, y);
            bits[b * old + a]
        })
    };
    Shot {
        camera: CameraModel::centred(w, h, shot.camera.focal_px, 0.0),
        gravity,
        depth: MetricDepth::new(w, h, depth).unwrap(),
        food: moved(&bits),
        plate: moved(&shot.plate.to_bits()),
        solid: shot.solid,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn volume_is_the_cube_of_the_scene(tilt in 0.0..55.0f64, r in 2.0..6.0f64, k in 0.5..2.0f64) {
        let shot = shoot(Solid::Cap { r, h: 0.7 * r }, tilt, SIZE);
        let before = volume(&shot);
        let scaled = shot.depth.values().iter().map(|z| (f64::from(*z) * k) as f32).collect();
        let larger = Shot { depth: MetricDepth::new(SIZE[0], SIZE[1], scaled).unwrap(), ..shot };
        prop_assert!((volume(&larger) / before / k.powi(3) - 1.0).abs() < 1e-4);
    }

    #[test]
    fn volume_is_unchanged_by_mirroring_and_turning(tilt in 0.0..55.0f64, r in 2.0..6.0f64) {
        let shot = shoot(Solid::Cap { r, h: 0.7 * r }, tilt, SIZE);
        let before = volume(&shot);
        let [w, h] = SIZE;
        let mirrored = mapped(&shot, SIZE, |x, y| [w - 1 - x, y], shot.gravity);
        prop_assert!((volume(&mirrored) / before - 1.0).abs() < 5e-3);
        // A quarter turn: what was down in the photo is now left.
        let g = shot.gravity.down;
        let turned = Gravity::from_camera([-g[1], g[0], g[2]], 0.5).unwrap();
        let turned = mapped(&shot, [h, w], |x, y| [y, h - 1 - x], turned);
        prop_assert!((volume(&turned) / before - 1.0).abs() < 5e-3);
    }

    #[test]
    fn volume_never_falls_when_height_is_added(tilt in 0.0..55.0f64, r in 2.0..5.0f64, h in 0.8..4.0f64, more in 0.05..1.0f64) {
        let low = shoot(Solid::Cylinder { r, h }, tilt, SIZE);
        let high = shoot(Solid::Cylinder { r, h: h + more }, tilt, SIZE);
        prop_assert!(volume(&high) > volume(&low));
    }

    #[test]
    fn project_and_unproject_agree(u in 0.0..400.0f64, v in 0.0..300.0f64, z in 0.1..3.0f64, f in 200.0..900.0f64) {
        let camera = CameraModel::centred(400, 300, f, 0.0);
        let back = camera.project(camera.unproject(u, v, z)).unwrap();
        prop_assert!((back[0] - u).abs() < 1e-9 && (back[1] - v).abs() < 1e-9);
    }

    #[test]
    fn levels_and_pixels_agree(u in 0.0..400.0f64, v in 0.0..300.0f64, tilt in 0.0..50.0f64, roll in -20.0..20.0f64, eta in 0.0..0.3f64) {
        let view = View::new(CameraModel::centred(400, 300, 420.0, 0.0), &Gravity::from_pitch(tilt, roll, 1.0));
        prop_assume!(view.q(u, v) > 0.05);
        let back = view.pixel_of(view.on_level(u, v, eta), eta).unwrap();
        prop_assert!((back[0] - u).abs() < 1e-6 && (back[1] - v).abs() < 1e-6);
    }
}

#[test]
fn two_items_share_the_scale() {
    let shot = shoot(Solid::Cap { r: 5.0, h: 3.0 }, 30.0, SIZE);
    let half = |left: bool| {
        let bits = shot.food.to_bits();
        Mask::from_fn(SIZE[0], SIZE[1], |x, y| {
            bits[y * SIZE[0] + x] && (x < SIZE[0] / 2) == left
        })
    };
    let (a, b) = (half(true), half(false));
    let mut scene = shot.bare(ShapeClass::Pile);
    scene.depth = Depth::Metric {
        depth: &shot.depth,
        scale_sigma_ln: 0.15,
    };
    scene.items = vec![
        Region {
            mask: &a,
            shape: ShapeClass::Pile,
            portion: None,
        },
        Region {
            mask: &b,
            shape: ShapeClass::Pile,
            portion: None,
        },
    ];
    let items = measure(&scene).unwrap().items;
    for item in &items {
        let (shared, own) = (
            item.volume_sigma_ln.shared.powi(2),
            item.volume_sigma_ln.own.powi(2),
        );
        assert!(shared / (shared + own) > 0.9, "{item:?}");
        // The interval holds both.
        let whole = item.volume_cm3.sigma_ln().powi(2);
        assert!(
            (whole / (shared + own) - 1.0).abs() < 0.3,
            "{whole} {shared} {own}"
        );
    }
    assert!(
        (items[0].volume_sigma_ln.shared - 0.41).abs() < 0.06,
        "{}",
        items[0].volume_sigma_ln.shared
    );
}
