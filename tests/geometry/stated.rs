//! A stated pitch is one witness among those on the photo.

use dragunov::contract::{TiltSource, WarningCode};
use dragunov::geometry::{Gravity, Measured, Scene, measure};
use dragunov_models::RelativeDisparity;

use super::scenes::{PLATE_CM, Shot, Solid, shoot};

const SIZE: [usize; 2] = [400, 300];

fn dome(tilt: f64) -> Shot {
    shoot(Solid::Cap { r: 5.0, h: 3.0 }, tilt, SIZE)
}

/// A network that draws no shift, and knows the table's tilt to 5 degrees.
fn stating<'a>(shot: &'a Shot, disparity: &'a RelativeDisparity, pitch: f64) -> Scene<'a> {
    Scene {
        gravity: Some(Gravity::from_pitch(pitch, 0.0, 1.0)),
        table_tilt_sigma_deg: 5.0,
        ..shot.relative(disparity, Some(PLATE_CM))
    }
}

fn warned(measured: &Measured) -> bool {
    let code = WarningCode::PitchInconsistent;
    measured.warnings.iter().any(|w| w.code == code)
}

fn ratio(measured: &Measured, shot: &Shot) -> f64 {
    measured.items[0].volume_cm3.p50 / shot.solid.volume()
}

#[test]
fn plate_and_table_together_overrule_a_wrong_pitch() {
    for (tilt, stated) in [
        (25.0, 45.0),
        (25.0, 60.0),
        (40.0, 15.0),
        (45.0, 5.0),
        (40.0, -40.0),
    ] {
        let shot = dome(tilt);
        let disparity = shot.disparity(0.0, 0.0);
        let honest = measure(&stating(&shot, &disparity, tilt)).unwrap();
        let found = measure(&stating(&shot, &disparity, stated)).unwrap();
        assert!(!warned(&honest) && warned(&found), "{tilt} {stated}");
        let seen = found.camera.gravity.tilt_deg();
        assert!((seen - tilt).abs() < 4.0, "{tilt} {stated}: {seen}");
        assert_eq!(found.camera.tilt_source, [TiltSource::Circle]);
        assert!((ratio(&found, &shot) - 1.0).abs() < 0.15, "{tilt} {stated}");
        let sigma = |m: &Measured| m.camera.gravity.tilt_sigma_deg;
        assert!(sigma(&found) > sigma(&honest) + 1.0, "{tilt} {stated}");
    }
}

#[test]
fn a_hand_that_moves_a_little_is_no_contradiction() {
    for tilt in [10.0, 25.0, 45.0, 60.0] {
        let shot = dome(tilt);
        let disparity = shot.disparity(0.0, 0.0);
        for off in [-3.0, -1.0, 0.0, 2.0, 3.0] {
            let found = measure(&stating(&shot, &disparity, tilt + off)).unwrap();
            assert!(!warned(&found), "{tilt} {off}: {:?}", found.warnings);
            assert_eq!(found.camera.tilt_source[0], TiltSource::Gravity);
        }
    }
}

/// A lone table against the statement says so and widens; it takes more to win.
#[test]
fn a_lone_witness_is_told_and_does_not_win() {
    let shot = dome(40.0);
    let disparity = shot.disparity(0.0, 0.0);
    let mut scene = stating(&shot, &disparity, 22.0);
    scene.dishes.clear();
    scene.others.push(&shot.plate);
    let found = measure(&scene).unwrap();
    assert!(warned(&found), "{:?}", found.warnings);
    assert_eq!(found.camera.tilt_source[0], TiltSource::Gravity);
    assert!((found.camera.gravity.tilt_deg() - 22.0).abs() < 3.0);
    assert!(found.camera.gravity.tilt_sigma_deg > 3.0);
    // A network whose shift is free, so that its table tells the tilt to 12 degrees only, has no say.
    scene.table_tilt_sigma_deg = 12.0;
    assert!(!warned(&measure(&scene).unwrap()));
}
