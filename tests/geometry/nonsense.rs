//! Bad input is refused with its code or answered with flags; it never panics and is never confidently absurd.

use dragunov::contract::{DishKind, ErrorCode, ItemFlag, ReferenceKind, TiltSource};
use dragunov::geometry::{
    CameraModel, Depth, Dish, Gravity, Portion, RefObject, Region, Scene, ShapeClass, View, measure,
};
use dragunov_models::{Mask, MetricDepth, RelativeDisparity};

use super::scenes::{PLATE_CM, Shot, Solid, shoot};

const SIZE: [usize; 2] = [400, 300];

fn dome(tilt: f64) -> Shot {
    shoot(Solid::Cap { r: 5.0, h: 3.0 }, tilt, SIZE)
}

fn code<'a>(shot: &'a Shot, change: impl FnOnce(&mut Scene<'a>)) -> Option<ErrorCode> {
    let mut scene = shot.bare(ShapeClass::Dome);
    change(&mut scene);
    measure(&scene).err().map(|e| e.code())
}

#[test]
fn impossible_cameras_and_views_have_codes() {
    let small = Mask::empty(10, 10);
    let shot = dome(30.0);
    assert_eq!(code(&shot, |_| ()), None);
    assert_eq!(
        code(&shot, |s| s.gravity = Some(Gravity::from_pitch(80.0, 0.0, 1.0))),
        Some(ErrorCode::TiltTooLarge)
    );
    for focal in [0.0, -5.0, f64::NAN, 8.0] {
        assert_eq!(
            code(&shot, |s| s.camera.focal_px = focal),
            Some(ErrorCode::InvalidField),
            "{focal}"
        );
    }
    assert_eq!(code(&shot, |s| s.items.clear()), Some(ErrorCode::NoFood));
    assert_eq!(code(&shot, |s| s.others.push(&small)), Some(ErrorCode::Internal));
}

#[test]
fn broken_depth_is_refused_and_gaps_are_flagged() {
    let shot = dome(30.0);
    let n = SIZE[0] * SIZE[1];
    let nan = RelativeDisparity::new(SIZE[0], SIZE[1], vec![f32::NAN; n]).unwrap();
    let flat = RelativeDisparity::new(SIZE[0], SIZE[1], vec![0.5; n]).unwrap();
    for raster in [&nan, &flat] {
        assert_eq!(
            code(&shot, |s| s.depth = Depth::Disparity(raster)),
            Some(ErrorCode::DepthInvalid)
        );
    }
    let bits = shot.food.to_bits();
    let holes = (0..n)
        .map(|i| {
            if bits[i] && i % 4 == 0 {
                f32::NAN
            } else {
                shot.depth.values()[i]
            }
        })
        .collect();
    let holes = MetricDepth::new(SIZE[0], SIZE[1], holes).unwrap();
    let mut scene = shot.bare(ShapeClass::Dome);
    scene.depth = Depth::Metric {
        depth: &holes,
        scale_sigma_ln: 0.0,
    };
    let item = &measure(&scene).unwrap().items[0];
    assert!(item.flags.contains(&ItemFlag::DepthGaps), "{:?}", item.flags);
    assert!((item.volume_cm3.p50 / shot.solid.volume() - 1.0).abs() < 0.15);
}

#[test]
fn no_table_in_view_is_said() {
    let shot = dome(20.0);
    let all = Mask::from_fn(SIZE[0], SIZE[1], |_, _| true);
    assert_eq!(
        code(&shot, |s| s.items[0].mask = &all),
        Some(ErrorCode::TableNotVisible)
    );
}

#[test]
fn the_horizon_in_view_does_no_harm() {
    let shot = dome(68.0);
    let v = measure(&shot.bare(ShapeClass::Dome)).unwrap().items[0].volume_cm3;
    assert!(v.p50.is_finite() && v.p10 < v.p50 && v.p50 < v.p90);
    assert!((v.p50 / shot.solid.volume()).ln().abs() < 0.3, "{v:?}");
}

#[test]
fn a_cut_mask_is_flagged_and_less_sure() {
    let shot = dome(30.0);
    let whole = measure(&shot.bare(ShapeClass::Dome)).unwrap().items[0]
        .volume_sigma_ln
        .own;
    let strip = Mask::from_fn(SIZE[0], SIZE[1], |x, y| x < 60 && (100..200).contains(&y));
    let mut scene = shot.bare(ShapeClass::Dome);
    scene.items = vec![Region {
        mask: &strip,
        shape: ShapeClass::Dome,
        portion: None,
    }];
    let item = &measure(&scene).unwrap().items[0];
    assert!(item.flags.contains(&ItemFlag::TouchesEdge));
    assert!(item.volume_sigma_ln.own > whole + 0.2);
    assert!(item.volume_cm3.p50 > 0.0);
}

#[test]
fn a_buffet_of_forty_items_and_empty_masks_is_answered() {
    let shot = dome(30.0);
    let cells: Vec<Mask> = (0..40)
        .map(|k| {
            let (i, j) = (k % 8, k / 8);
            Mask::from_fn(SIZE[0], SIZE[1], |x, y| x / 20 == 4 + i && y / 20 == 4 + j)
        })
        .chain([Mask::empty(SIZE[0], SIZE[1])])
        .collect();
    let mut scene = shot.bare(ShapeClass::Unknown);
    scene.items = cells
        .iter()
        .map(|mask| Region {
            mask,
            shape: ShapeClass::Unknown,
            portion: None,
        })
        .collect();
    let measured = measure(&scene).unwrap();
    assert_eq!(measured.items.len(), 41);
    for item in &measured.items {
        let v = item.volume_cm3;
        assert!(v.p10.is_finite() && v.p90.is_finite() && v.p50 >= 0.0, "{v:?}");
    }
}

#[test]
fn without_pitch_the_plate_shows_the_tilt() {
    let shot = dome(35.0);
    let disparity = shot.disparity(0.2, 0.0);
    let mut scene = shot.relative(&disparity, Some(PLATE_CM));
    scene.gravity = None;
    let measured = measure(&scene).unwrap();
    assert_eq!(measured.camera.tilt_source, [TiltSource::Circle]);
    assert!(
        (measured.camera.gravity.tilt_deg() - 35.0).abs() < 2.0,
        "{:?}",
        measured.camera
    );
    assert!((measured.items[0].volume_cm3.p50 / shot.solid.volume() - 1.0).abs() < 0.12);
}

#[test]
fn something_else_taken_for_a_coin_does_not_tilt_the_view() {
    let shot = dome(8.0);
    let disparity = shot.disparity(0.0, 0.0);
    let plug = Mask::from_fn(SIZE[0], SIZE[1], |x, y| {
        ((x as f64 - 40.0) / 20.0).hypot((y as f64 - 40.0) / 13.0) < 1.0
    });
    let mut scene = shot.relative(&disparity, Some(PLATE_CM));
    scene.gravity = None;
    scene.references.push(RefObject {
        mask: &plug,
        kind: ReferenceKind::Coin,
        diameter_cm: None,
    });
    let tilt = measure(&scene).unwrap().camera.gravity.tilt_deg();
    assert!((tilt - 8.0).abs() < 2.0, "{tilt}");
}

/// A network that sees hardly any relief from above must not make the food a fifth as high.
#[test]
fn from_above_the_outline_decides_where_the_relief_collapsed() {
    let shot = dome(2.0);
    let flat = shoot(Solid::Cap { r: 5.0, h: 0.6 }, 2.0, SIZE).disparity(0.0, 0.0);
    let area_cm2 = std::f64::consts::PI * 25.0;
    let mut scene = shot.relative(&flat, Some(PLATE_CM));
    scene.relief_sigma = 0.045;
    scene.items[0].portion = Some(Portion {
        area_cm2,
        area_sigma_ln: 0.3,
        height_cm: shot.solid.volume() / area_cm2,
        height_sigma_ln: 0.3,
    });
    let v = measure(&scene).unwrap().items[0].volume_cm3.p50 / shot.solid.volume();
    assert!((v - 1.0).abs() < 0.08, "{v}");
}

#[test]
fn nothing_known_is_a_wide_answer() {
    let shot = dome(3.0);
    let disparity = shot.disparity(0.3, 0.002);
    let mut scene = shot.relative(&disparity, None);
    scene.gravity = None;
    scene.dishes.clear();
    scene.camera = CameraModel::centred(SIZE[0], SIZE[1], shot.camera.focal_px, 0.06);
    let measured = measure(&scene).unwrap();
    let v = measured.items[0].volume_cm3;
    assert!(v.p90 / v.p10 > 2.5, "{v:?}");
    let codes: Vec<&str> = measured.warnings.iter().map(|w| w.code.as_str()).collect();
    for code in ["tilt_unknown", "scale_prior", "nadir"] {
        assert!(codes.contains(&code), "{codes:?}");
    }
}

/// Without a pitch a round coin on a table that runs away would make the view a steep one: it stands on its edge.
#[test]
fn a_coin_on_its_edge_is_no_proof_of_a_view_from_above() {
    let coin_at = |shot: &Shot, round: bool| {
        let view = View::new(shot.camera, &shot.gravity);
        let middle = view.on_level(60.0, 240.0, 0.0);
        Mask::from_fn(SIZE[0], SIZE[1], |x, y| {
            let (u, v) = (x as f64 + 0.5, y as f64 + 0.5);
            let ground = view.on_level(u, v, 0.0);
            if round {
                (u - 60.0).hypot(v - 240.0) < 16.0
            } else {
                (ground[0] - middle[0]).hypot(ground[1] - middle[1]) < 0.05
            }
        })
    };
    for (tilt, round, expected) in [
        (62.0, true, Some(ErrorCode::TiltTooLarge)),
        (62.0, false, None),
        (12.0, true, None),
    ] {
        let shot = dome(tilt);
        let disparity = shot.disparity(0.0, 0.0);
        let coin = coin_at(&shot, round);
        let mut scene = shot.relative(&disparity, None);
        scene.gravity = None;
        let plate = scene.dishes.remove(0);
        scene.others.push(plate.mask);
        scene.references.push(RefObject {
            mask: &coin,
            kind: ReferenceKind::Coin,
            diameter_cm: Some(2.5),
        });
        let found = measure(&scene).err().map(|e| e.code());
        assert_eq!(found, expected, "tilt {tilt}, round {round}");
        // Nor does a plate that is as round, against what the table shows.
        if round && tilt > 60.0 {
            let also = Mask::from_fn(SIZE[0], SIZE[1], |x, y| {
                (x as f64 - 200.0).hypot(y as f64 - 150.0) < 90.0
            });
            let mut scene = scene.clone();
            scene.others.clear();
            scene.dishes.push(Dish {
                mask: &also,
                kind: DishKind::Plate,
                diameter_cm: None,
            });
            let found = measure(&scene).err().map(|e| e.code());
            assert_eq!(found, expected, "with a round plate");
        }
        // Something else taken for a coin does not hide the round one.
        let flat = Mask::from_fn(SIZE[0], SIZE[1], |x, y| {
            ((x as f64 - 40.0) / 24.0).hypot((y as f64 - 60.0) / 9.0) < 1.0
        });
        let also = RefObject {
            mask: &flat,
            ..scene.references[0]
        };
        scene.references.insert(0, also);
        if round && tilt > 60.0 {
            let found = measure(&scene).err().map(|e| e.code());
            assert_eq!(found, expected, "with another");
        }
    }
}

/// The tilt read off the depth alone is rough: where it may be over the limit there is no answer.
#[test]
fn a_steep_view_that_depth_alone_tells_is_refused() {
    for (tilt, expected) in [(40.0, None), (68.0, Some(ErrorCode::TiltTooLarge))] {
        let shot = dome(tilt);
        let disparity = shot.disparity(0.0, 0.0);
        let mut scene = shot.relative(&disparity, None);
        scene.gravity = None;
        let plate = scene.dishes.remove(0);
        scene.others.push(plate.mask);
        let found = measure(&scene);
        assert_eq!(found.as_ref().err().map(|e| e.code()), expected, "tilt {tilt}");
        if let Ok(measured) = found {
            assert_eq!(measured.camera.tilt_source, [TiltSource::Depth]);
        }
    }
}
