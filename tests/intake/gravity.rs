//! Which way is down, from every source, in every way of holding the phone.

use dragunov::contract::{ErrorCode, GravitySource};
use dragunov::intake::{DecodeLimits, Shot, SourceMeta, read_photo};
use proptest::prelude::*;

use crate::files::*;
use crate::{codes, read, read_shot};

const R: f64 = std::f64::consts::FRAC_1_SQRT_2;

fn assert_down(got: [f64; 3], want: [f64; 3]) {
    for (g, w) in got.into_iter().zip(want) {
        assert!((g - w).abs() < 1e-9, "{got:?}, want {want:?}");
    }
}

fn gravity(v: [f64; 3]) -> Shot {
    Shot {
        gravity: Some(v),
        ..Shot::default()
    }
}

fn pitch(pitch_deg: f64) -> Shot {
    Shot {
        pitch_deg: Some(pitch_deg),
        ..Shot::default()
    }
}

#[test]
fn a_level_phone_at_45_degrees_is_level_in_all_four_holds() {
    // Down in device axes with the screen's top up, to the left, down, to the right.
    let holds = [
        (6, [0.0, -R, -R]),
        (1, [-R, 0.0, -R]),
        (8, [0.0, R, -R]),
        (3, [R, 0.0, -R]),
    ];
    for (tag, device) in holds {
        let photo = read_shot(&tagged(tag), &gravity(device)).unwrap();
        let found = photo.gravity.unwrap();
        assert_down(found.down, [0.0, R, R]);
        assert_eq!(found.source, GravitySource::ClientGravity);
        assert!((found.tilt_deg() - 45.0).abs() < 1e-9 && found.roll_deg().abs() < 1e-9);
        assert!(!codes(&photo.warnings).contains(&"gravity_sideways"));
    }
    // Rewritten upright: portrait pixels, orientation 1. Any length of the vector is fine.
    let upright = jpeg(&quadrants(96, 128));
    let photo = read_shot(&upright, &gravity([0.0, -6.9, -6.9])).unwrap();
    assert_down(photo.gravity.unwrap().down, [0.0, R, R]);
    // Straight down, whatever the orientation.
    for tag in 1..=8 {
        let photo = read_shot(&tagged(tag), &gravity([0.0, 0.0, -1.0])).unwrap();
        assert_down(photo.gravity.unwrap().down, [0.0, 0.0, 1.0]);
    }
    // A portrait vector on a landscape photo does not fit.
    let photo = read_shot(&tagged(1), &gravity([0.0, -R, -R])).unwrap();
    assert!(codes(&photo.warnings).contains(&"gravity_sideways"));
}

#[test]
fn pitch_is_the_tilt_and_roll_turns_it() {
    let photo = read_shot(&tagged(6), &pitch(45.0)).unwrap();
    let found = photo.gravity.unwrap();
    assert_down(found.down, [0.0, R, R]);
    assert!(found.sigma_roll_deg > found.sigma_deg);
    let shot = Shot {
        roll_deg: Some(30.0),
        ..pitch(45.0)
    };
    let found = read_shot(&tagged(6), &shot).unwrap().gravity.unwrap();
    assert_down(found.down, [R / 2.0, R * 0.75f64.sqrt(), R]);
    assert!((found.tilt_deg() - 45.0).abs() < 1e-9 && (found.roll_deg() - 30.0).abs() < 1e-9);
}

#[test]
fn values_that_cannot_be_are_refused_with_a_next_step() {
    let photo = tagged(6);
    for (shot, code, hint) in [
        (pitch(-45.0), ErrorCode::InvalidField, "Android"),
        (pitch(f64::NAN), ErrorCode::InvalidField, "straight down"),
        (pitch(400.0), ErrorCode::InvalidField, "straight down"),
        (pitch(135.0), ErrorCode::InvalidField, "straight down"),
        (pitch(80.0), ErrorCode::TiltTooLarge, "above the meal"),
        (
            gravity([0.0, -1.0, -0.1]),
            ErrorCode::TiltTooLarge,
            "above the meal",
        ),
        (gravity([0.0, 6.9, 6.9]), ErrorCode::InvalidField, "negate"),
    ] {
        let e = read_shot(&photo, &shot).unwrap_err();
        assert_eq!(e.code, code, "{shot:?}: {e}");
        assert!(e.next_step.as_ref().unwrap().contains(hint), "{:?}", e.next_step);
    }
    for v in [[0.0; 3], [f64::NAN, 0.0, -1.0], [f64::INFINITY, 0.0, 0.0]] {
        assert_eq!(
            read_shot(&photo, &gravity(v)).unwrap_err().code,
            ErrorCode::InvalidField
        );
    }
    // A phone held flat reads a little below zero.
    read_shot(&photo, &pitch(-3.0)).unwrap();
}

#[test]
fn sources_are_asked_in_order() {
    let note = |v| {
        let block = tiff(
            &[(ORIENTATION, V::Short(6))],
            &[(MAKER_NOTE, V::Bytes(apple_note(v)))],
        );
        with_exif(&jpeg(&quadrants(128, 96)), &block)
    };
    let apple = note([0, -5000, -8660]);
    let found = read(&apple).unwrap().gravity.unwrap();
    assert_eq!(found.source, GravitySource::MakerNote);
    assert!((found.tilt_deg() - 30.0).abs() < 0.01 && found.roll_deg().abs() < 1e-9);

    let meta = SourceMeta {
        pitch_deg: Some(20.0),
        roll_deg: Some(5.0),
        gravity: None,
    };
    let read_meta = |shot: &Shot, meta: &SourceMeta| {
        read_photo(&apple, shot, meta, &DecodeLimits::default())
            .unwrap()
            .gravity
            .unwrap()
    };
    let found = read_meta(&Shot::default(), &meta);
    assert_eq!(found.source, GravitySource::S3Pitch);
    assert!((found.tilt_deg() - 20.0).abs() < 1e-9 && (found.roll_deg() - 5.0).abs() < 1e-9);
    let both = SourceMeta {
        gravity: Some([0.0, -R, -R]),
        ..meta
    };
    assert_eq!(
        read_meta(&Shot::default(), &both).source,
        GravitySource::S3Gravity
    );
    assert_eq!(read_meta(&pitch(33.0), &both).source, GravitySource::ClientPitch);
    let all = Shot {
        gravity: Some([0.0, -R, -R]),
        ..pitch(33.0)
    };
    assert_eq!(read_meta(&all, &both).source, GravitySource::ClientGravity);

    // The file disagrees with the sender: said.
    let photo = read_shot(&apple, &pitch(60.0)).unwrap();
    assert!(codes(&photo.warnings).contains(&"pitch_contradicts_makernote"));
    // A note that points upward is not believed.
    let photo = read(&note([0, 0, 9000])).unwrap();
    assert!(photo.gravity.is_none());
    assert_eq!(
        codes(&photo.warnings),
        ["fov_default", "makernote_gravity_implausible", "tilt_unknown"]
    );
}

#[test]
fn s3_metadata_is_parsed_or_refused() {
    let parse = |pairs: &[(&'static str, &'static str)]| SourceMeta::from_pairs(pairs.iter().copied());
    let meta = parse(&[
        ("pitch", " 45.2 "),
        ("Roll", "-3"),
        ("gravity", "[0, -0.7, -0.7]"),
        ("other", "x"),
    ])
    .unwrap();
    assert_eq!((meta.pitch_deg, meta.roll_deg), (Some(45.2), Some(-3.0)));
    assert_eq!(meta.gravity, Some([0.0, -0.7, -0.7]));
    for bad in [
        ("pitch", "abc"),
        ("pitch", "NaN"),
        ("pitch", "-45"),
        ("roll", "720"),
        ("gravity", "1,2"),
    ] {
        let e = parse(&[bad]).unwrap_err();
        assert_eq!(e.code, ErrorCode::InvalidField, "{bad:?}");
        assert!(e.message.contains(&format!("x-amz-meta-{}", bad.0)), "{e}");
    }
}

proptest! {
    /// Whatever is sent, the answer is a unit vector within the tilt limit or a coded error.
    #[test]
    fn gravity_is_a_unit_vector_or_an_error(v in proptest::array::uniform3(-20.0f64..20.0), tag in 1u16..=8) {
        if let Ok(photo) = read_shot(&tagged(tag), &gravity(v)) {
            let g = photo.gravity.unwrap();
            let norm = g.down.iter().map(|c| c * c).sum::<f64>().sqrt();
            prop_assert!((norm - 1.0).abs() < 1e-12);
            prop_assert!(g.tilt_deg() <= 75.0);
        }
    }
}
