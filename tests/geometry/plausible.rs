//! Whatever raster and masks come: a number that leaves is one that food can have, or it is marked as none.

use dragunov::contract::{DishKind, ErrorCode, ItemFlag};
use dragunov::geometry::{Depth, Dish, Gravity, Portion, RefObject, Region, Scene, ShapeClass, measure};
use dragunov_models::{Mask, RelativeDisparity};
use proptest::prelude::*;

use super::scenes::{PLATE_CM, Solid, shoot};

const SIZE: [usize; 2] = [160, 120];

/// Volume, in cm3, that no item without the flag may exceed.
const LARGEST_CM3: f64 = 2500.0;

fn raster(kind: u8, seed: u64, food: &Mask) -> RelativeDisparity {
    let [w, h] = SIZE;
    let bits = food.to_bits();
    let mut state = seed | 1;
    let mut unit = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    let values = (0..w * h)
        .map(|i| {
            let (x, y) = ((i % w) as f32 / w as f32, (i / w) as f32 / h as f32);
            match kind {
                // Noise; a slope that is no table; food that towers; food that lies in a pit; steps; hardly anything.
                0 => unit(),
                1 => 3.0 * x - 2.0 * y + 0.01 * unit(),
                2 => 1.0 + y + if bits[i] { 50.0 } else { 0.0 },
                3 => 5.0 + y - if bits[i] { 4.9 } else { 0.0 },
                4 => (4.0 * x).floor() + (3.0 * y).floor(),
                _ => 1.0 + 1e-4 * unit(),
            }
        })
        .collect();
    RelativeDisparity::new(w, h, values).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn no_absurd_number_leaves(
        kind in 0u8..6, seed in any::<u64>(), pitch in -20.0..75.0f64, stated in any::<bool>(), relief in prop_oneof![Just(0.0), Just(0.02)],
        centre in prop::array::uniform2(0.1..0.9f64), radius in 0.02..0.4f64, plate in 0.02..0.6f64, bowl in any::<bool>(),
        coin_cm in prop::option::of(1.5..3.5f64), shape in 0usize..4, named in any::<bool>(),
    ) {
        let [w, h] = SIZE;
        let disc = |r: f64, at: [f64; 2]| Mask::from_fn(w, h, |x, y| {
            (x as f64 - at[0] * w as f64).hypot(y as f64 - at[1] * h as f64) < r * w as f64
        });
        let food = disc(radius, centre);
        let dish = disc(plate, [0.5, 0.5]).subtract(&food);
        let coin = disc(0.03, [0.1, 0.9]);
        let raster = raster(kind, seed, &food);
        let scene = Scene {
            camera: shoot(Solid::Ball { r: 1.0 }, 0.0, SIZE).camera,
            gravity: stated.then(|| Gravity::from_pitch(pitch, 0.0, 1.0)),
            depth: Depth::Disparity(&raster),
            items: vec![Region {
                mask: &food,
                shape: [ShapeClass::Ball, ShapeClass::Slab, ShapeClass::Pile, ShapeClass::Unknown][shape],
                portion: named.then_some(Portion { area_cm2: 60.0, area_sigma_ln: 0.3, height_cm: 2.0, height_sigma_ln: 0.3 }),
            }],
            dishes: vec![Dish { mask: &dish, kind: if bowl { DishKind::Bowl } else { DishKind::Plate }, diameter_cm: None }],
            references: coin_cm.iter().map(|d| RefObject {
                mask: &coin, kind: dragunov::contract::ReferenceKind::Coin, diameter_cm: Some(*d),
            }).collect(),
            others: Vec::new(),
            camera_height_cm: None,
            relief_sigma: relief,
            shift_sigma: 0.35,
            outline_sigma: 0.01,
            table_tilt_sigma_deg: 5.0,
            seed: 1,
        };
        // A refusal is an answer, too.
        if let Ok(measured) = measure(&scene) {
            for item in &measured.items {
                prop_assert_eq!(item.implausible.is_some(), item.flags.contains(&ItemFlag::Implausible));
                if item.implausible.is_none() {
                    let v = item.volume_cm3;
                    prop_assert!(v.p10 >= 0.0 && v.p10 <= v.p50 && v.p50 <= v.p90 && v.p90.is_finite(), "{:?}", v);
                    prop_assert!(v.p50 <= LARGEST_CM3, "{:?}", v);
                    let width = 2.0 * (item.footprint_cm2 / std::f64::consts::PI).sqrt();
                    prop_assert!(item.mean_height_cm <= 1.4 * width + 2.0, "{} {}", item.mean_height_cm, width);
                }
            }
        }
    }
}

#[test]
fn what_is_too_large_says_why_and_what_is_not_says_nothing() {
    let shot = shoot(Solid::Cap { r: 6.0, h: 5.0 }, 30.0, [400, 300]);
    let disparity = shot.disparity(0.0, 0.0);
    let at_scale = |plate_cm: f64| {
        let scene = shot.relative(&disparity, Some(plate_cm));
        measure(&scene).unwrap().items[0].clone()
    };
    let honest = at_scale(PLATE_CM);
    assert_eq!(honest.implausible, None);
    assert!(!honest.flags.contains(&ItemFlag::Implausible));
    // Told that the plate is 60 cm wide, the food would weigh four kilogrammes.
    let absurd = at_scale(60.0);
    assert!(absurd.flags.contains(&ItemFlag::Implausible));
    assert!(
        absurd.implausible.unwrap().contains("cm3 are more than"),
        "the reason"
    );
}

#[test]
fn a_scale_that_cannot_be_is_refused() {
    let shot = shoot(Solid::Cap { r: 5.0, h: 3.0 }, 5.0, [400, 300]);
    let disparity = shot.disparity(0.0, 0.0);
    let button = Mask::from_fn(400, 300, |x, y| (x as f64 - 60.0).hypot(y as f64 - 60.0) < 12.0);
    let mut scene = shot.relative(&disparity, Some(60.0));
    scene.others.push(&shot.plate);
    scene.dishes[0].mask = &button;
    assert_eq!(measure(&scene).unwrap_err().code(), ErrorCode::Implausible);
}
