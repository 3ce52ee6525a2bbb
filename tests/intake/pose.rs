//! `camera.pose`: tilt and height of an AR session, in every way of holding the phone, and poses that cannot be.

use dragunov::contract::request::{CameraHint, CameraPose};
use dragunov::contract::{ErrorCode, GravitySource, ScaleSource};
use dragunov::intake::Shot;
use dragunov::{ImageSource, ScanRequest, Scanner};

use crate::files::*;
use crate::{codes, read_shot};

const R: f64 = std::f64::consts::FRAC_1_SQRT_2;

/// Camera to world, column by column, from the camera's axes in the world and its place, metres.
fn pose(x: [f64; 3], y: [f64; 3], z: [f64; 3], at: [f64; 3], table_y_m: Option<f64>) -> CameraPose {
    let mut transform = [0.0; 16];
    for (k, column) in [x, y, z, at].iter().enumerate() {
        transform[4 * k..4 * k + 3].copy_from_slice(column);
    }
    transform[15] = 1.0;
    CameraPose { transform, table_y_m }
}

fn shot(pose: CameraPose) -> Shot {
    Shot {
        camera: CameraHint {
            pose: Some(pose),
            ..CameraHint::default()
        },
        ..Shot::default()
    }
}

/// A phone level at 45 degrees: its back looks along -z and down. Stored rows run along the camera's x.
#[test]
fn a_level_camera_at_45_degrees_is_level_in_all_four_holds() {
    let (back, right, up) = ([0.0, R, R], [1.0, 0.0, 0.0], [0.0, R, -R]);
    let minus = |v: [f64; 3]| v.map(|c| -c);
    for (tag, x, y) in [
        (1, right, up),
        (3, minus(right), minus(up)),
        (6, minus(up), right),
        (8, up, minus(right)),
    ] {
        let photo = read_shot(&tagged(tag), &shot(pose(x, y, back, [3.0, 1.2, -7.0], Some(0.8)))).unwrap();
        let found = photo.gravity.unwrap();
        for (got, want) in found.down.into_iter().zip([0.0, R, R]) {
            assert!((got - want).abs() < 1e-9, "{tag}: {:?}", found.down);
        }
        assert_eq!(found.source, GravitySource::ClientPose);
        assert!(!codes(&photo.warnings).contains(&"gravity_sideways"), "{tag}");
    }
}

/// Turned about the vertical and moved about, it is the same camera.
#[test]
fn heading_and_place_do_not_matter() {
    let tilt = 33.0_f64.to_radians();
    for heading in [0.0_f64, 1.1, 2.9, -2.0] {
        let turn = |v: [f64; 3]| {
            let (s, c) = heading.sin_cos();
            [c * v[0] + s * v[2], v[1], c * v[2] - s * v[0]]
        };
        let axes = [
            [1.0, 0.0, 0.0],
            [0.0, tilt.sin(), -tilt.cos()],
            [0.0, tilt.cos(), tilt.sin()],
        ]
        .map(turn);
        let pose = pose(axes[0], axes[1], axes[2], [heading, 1.13, 4.0], Some(0.75));
        assert!((pose.height_cm().unwrap() - 38.0).abs() < 1e-9);
        let photo = read_shot(&tagged(1), &shot(pose)).unwrap();
        let gravity = photo.gravity.unwrap();
        assert!((gravity.tilt_deg() - 33.0).abs() < 1e-6, "{gravity:?}");
        assert!(gravity.roll_deg().abs() < 1e-6, "{gravity:?}");
    }
}

/// The pose stands behind what is stated, and before the photo's own word.
#[test]
fn what_is_stated_goes_before_the_pose() {
    let flat = || {
        pose(
            [1.0, 0.0, 0.0],
            [0.0, 0.0, -1.0],
            [0.0, 1.0, 0.0],
            [0.0, 1.2, 0.0],
            Some(0.8),
        )
    };
    let stated = Shot {
        pitch_deg: Some(30.0),
        ..shot(flat())
    };
    let found = read_shot(&tagged(1), &stated).unwrap().gravity.unwrap();
    assert_eq!(found.source, GravitySource::ClientPitch);
    let mut hint = shot(flat()).camera;
    assert!((hint.height().unwrap() - 40.0).abs() < 1e-9);
    hint.height_cm = Some(52.0);
    assert_eq!(hint.height(), Some(52.0));
    // Without the table's plane it tells the tilt and no height.
    let no_table = CameraPose {
        table_y_m: None,
        ..flat()
    };
    assert_eq!(shot(no_table).camera.height(), None);
}

#[test]
fn poses_that_cannot_be_are_refused_by_name() {
    let (x, y, z) = ([1.0, 0.0, 0.0], [0.0, R, -R], [0.0, R, R]);
    let at = [0.0, 1.2, 0.0];
    let double = |v: [f64; 3]| v.map(|c| 2.0 * c);
    let with = |table: f64| pose(x, y, z, at, Some(table));
    let inverse = {
        // Rows for columns: world to camera.
        let there = pose([1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [0.0; 3], None).transform;
        let mut back = [0.0; 16];
        for (i, v) in there.iter().enumerate() {
            back[i % 4 * 4 + i / 4] = *v;
        }
        CameraPose {
            transform: back,
            table_y_m: None,
        }
    };
    let transform = "camera.pose.transform";
    for (what, pose, field) in [
        (
            "all zeros",
            CameraPose {
                transform: [0.0; 16],
                table_y_m: None,
            },
            transform,
        ),
        (
            "centimetres",
            pose(double(x), double(y), double(z), at, None),
            transform,
        ),
        ("skewed", pose(x, x, z, at, None), transform),
        ("mirrored", pose(x.map(|c| -c), y, z, at, None), transform),
        ("not a number", pose([f64::NAN; 3], y, z, at, None), transform),
        ("world to camera", inverse, transform),
        (
            "looking up",
            pose(x, [0.0, R, R], [0.0, -R, R], at, None),
            transform,
        ),
        ("under the table", with(1.5), "height over table_y_m"),
        ("in the table", with(1.19), "height over table_y_m"),
        ("the floor for the table", with(-2.2), "height over table_y_m"),
        (
            "a table of no place",
            with(f64::INFINITY),
            "height over table_y_m",
        ),
    ] {
        let request = ScanRequest {
            camera: shot(pose).camera,
            ..ScanRequest::new(ImageSource::Bytes(Vec::new()))
        };
        let checked = dragunov::intake::validate::request(&request, &Default::default());
        let e = checked.err().unwrap_or_else(|| panic!("{what} is taken"));
        assert_eq!(e.code, ErrorCode::InvalidField, "{what}: {e}");
        assert!(e.message.contains(field), "{what}: {e}");
    }
    let good = ScanRequest {
        camera: shot(with(0.8)).camera,
        ..ScanRequest::new(ImageSource::Bytes(Vec::new()))
    };
    dragunov::intake::validate::request(&good, &Default::default()).unwrap();
}

/// The pose of a rendered scene is worth what its tilt and the lens's height are, each stated.
#[test]
fn a_scan_is_measured_by_its_pose() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/plates/scene_005");
    let scene: serde_json::Value =
        serde_json::from_slice(&std::fs::read(format!("{root}/scene.json")).unwrap()).unwrap();
    let number = |name: &str| scene[name].as_f64().unwrap();
    let (tilt, height_cm) = (
        number("device_pitch_deg").to_radians(),
        number("camera_height_cm"),
    );
    let roll = number("roll_deg").to_radians();
    // Level axes, then the roll about the lens.
    let up = [0.0, tilt.sin(), -tilt.cos()];
    let (s, c) = roll.sin_cos();
    let x = [c, -s * up[1], -s * up[2]];
    let y = [s, c * up[1], c * up[2]];
    let pose = pose(
        x,
        y,
        [0.0, tilt.cos(), tilt.sin()],
        [0.3, 0.7 + height_cm / 100.0, 0.1],
        Some(0.7),
    );
    let photo = std::fs::read(format!("{root}/photo.jpg")).unwrap();
    let mut scanner = Scanner::bundled().unwrap();
    let mut scan = |camera: CameraHint, pitch_deg: Option<f64>, roll_deg: Option<f64>| {
        let request = ScanRequest {
            camera,
            pitch_deg,
            roll_deg,
            ..ScanRequest::new(ImageSource::Bytes(photo.clone()))
        };
        scanner.scan_request(&request).unwrap()
    };
    let by_pose = scan(shot(pose).camera, None, None);
    let stated = CameraHint {
        height_cm: Some(height_cm),
        ..CameraHint::default()
    };
    let told = scan(stated, Some(tilt.to_degrees()), Some(roll.to_degrees()));
    let of_height = |result: &dragunov::ScanResult| {
        let found = result
            .scale
            .candidates
            .iter()
            .find(|c| c.source == ScaleSource::ClientHeight);
        found.unwrap().camera_height_cm
    };
    assert_eq!(by_pose.camera.gravity_source, Some(GravitySource::ClientPose));
    assert!((of_height(&by_pose) / height_cm - 1.0).abs() < 1e-9);
    assert!(
        (by_pose.camera.tilt_deg - told.camera.tilt_deg).abs() < 0.3,
        "{} {}",
        by_pose.camera.tilt_deg,
        told.camera.tilt_deg
    );
    assert_eq!(by_pose.items.len(), told.items.len());
    for (a, b) in by_pose.items.iter().zip(&told.items) {
        let apart = (a.volume_cm3.p50 / b.volume_cm3.p50).ln().abs();
        assert!(apart < 0.05, "{}: {:?} {:?}", a.label, a.volume_cm3, b.volume_cm3);
    }
}
