//! Focal length from the request and from EXIF.

use dragunov::contract::request::CameraHint;
use dragunov::contract::{ErrorCode, FovSource};
use dragunov::intake::exif::ExifFacts;
use dragunov::intake::{Shot, camera};

use crate::files::*;
use crate::{codes, read, read_shot};

fn guess(
    hint: &CameraHint,
    facts: &ExifFacts,
    w: usize,
    h: usize,
) -> (camera::CameraGuess, Vec<&'static str>) {
    let mut warnings = Vec::new();
    let guess = camera::guess(hint, facts, w, h, &mut warnings).unwrap();
    (guess, warnings.into_iter().map(|w| w.code.as_str()).collect())
}

fn exif(f35: f64) -> ExifFacts {
    ExifFacts {
        f35_mm: Some(f35),
        ..ExifFacts::default()
    }
}

fn near(a: f64, b: f64, rel: f64) {
    assert!((a / b - 1.0).abs() < rel, "{a} against {b}");
}

#[test]
fn f35_is_taken_by_the_native_diagonal() {
    // 4032 x 3024, 26 mm: 3029 px and 67.3 degrees by the diagonal convention.
    let none = CameraHint::default();
    let (full, warnings) = guess(&none, &exif(26.0), 4032, 3024);
    near(full.focal_px, 3029.0, 1e-3);
    near(full.fov_long_deg(4032, 3024), 67.3, 2e-3);
    assert_eq!((full.source, warnings.len()), (FovSource::ExifF35, 0));
    // Turned, resized: the same field of view.
    near(
        guess(&none, &exif(26.0), 3024, 4032).0.focal_px,
        full.focal_px,
        1e-12,
    );
    near(
        guess(&none, &exif(26.0), 1008, 756).0.focal_px * 4.0,
        full.focal_px,
        1e-12,
    );
    // 16:9 and 1:1 crops out of the 4:3 frame keep its focal length in pixels.
    near(
        guess(&none, &exif(26.0), 4032, 2268).0.focal_px,
        full.focal_px,
        1e-12,
    );
    near(
        guess(&none, &exif(26.0), 3024, 3024).0.focal_px,
        full.focal_px,
        1e-12,
    );
    // 3:2 bodies refer to their own frame; a Sony phone is not one.
    let body = |make: &str, model: &str| ExifFacts {
        make: make.into(),
        model: model.into(),
        ..exif(35.0)
    };
    near(
        guess(&none, &body("SONY", "ILCE-7M4"), 6000, 4000).0.focal_px,
        6000.0 * 35.0 / 36.0,
        1e-4,
    );
    near(
        guess(&none, &body("Canon", "EOS R6"), 6000, 4000).0.focal_px,
        6000.0 * 35.0 / 36.0,
        1e-4,
    );
    near(
        guess(&none, &body("Sony", "XQ-CC54"), 6000, 4000).0.focal_px,
        7500.0 * 35.0 / 43.26662,
        1e-4,
    );
}

#[test]
fn sensor_table_focal_plane_and_default_follow() {
    let none = CameraHint::default();
    let phone = ExifFacts {
        model: "iPhone 12".into(),
        focal_mm: Some(4.2),
        ..ExifFacts::default()
    };
    let (g, _) = guess(&none, &phone, 4032, 3024);
    near(g.focal_px, 3029.0, 1e-3);
    assert_eq!(g.source, FovSource::SensorTable);
    // Another lens of that phone than the table knows: not guessed.
    let tele = ExifFacts {
        focal_mm: Some(6.0),
        ..phone
    };
    assert_eq!(guess(&none, &tele, 4032, 3024).0.source, FovSource::Default);

    // 5616 px over 36 mm = 156 px/mm = 3962.4 px/inch; resized to a quarter.
    let slr = ExifFacts {
        focal_mm: Some(50.0),
        focal_plane_px_per_mm: Some(5616.0 / 36.0),
        size_at_capture: Some((5616, 3744)),
        ..ExifFacts::default()
    };
    let (g, _) = guess(&none, &slr, 1404, 936);
    near(g.focal_px, 50.0 * 1404.0 / 36.0, 1e-9);
    assert_eq!(g.source, FovSource::FocalPlane);

    let (g, warnings) = guess(&none, &ExifFacts::default(), 1000, 750);
    assert_eq!((g.source, warnings), (FovSource::Default, vec!["fov_default"]));
    near(g.fov_long_deg(1000, 750), 67.0, 1e-9);
}

#[test]
fn digital_zoom_counts_once() {
    let none = CameraHint::default();
    let zoomed = |f35: f64| ExifFacts {
        model: "iPhone 12".into(),
        focal_mm: Some(4.2),
        digital_zoom: Some(2.0),
        ..exif(f35)
    };
    near(
        guess(&none, &zoomed(52.0), 4032, 3024).0.focal_px,
        2.0 * 3029.0,
        1e-3,
    );
    let (g, warnings) = guess(&none, &zoomed(26.0), 4032, 3024);
    near(g.focal_px, 2.0 * 3029.0, 1e-3);
    assert_eq!(warnings, ["digital_zoom_applied"]);
    // An unknown phone: taken as included, and said.
    let unknown = ExifFacts {
        digital_zoom: Some(2.0),
        ..exif(52.0)
    };
    let (g, warnings) = guess(&none, &unknown, 4032, 3024);
    near(g.focal_px, 2.0 * 3029.0, 1e-3);
    assert_eq!(warnings, ["digital_zoom_assumed"]);
}

#[test]
fn crops_after_capture_and_ultra_wides_lose_trust() {
    let cropped = ExifFacts {
        size_at_capture: Some((4032, 3024)),
        ..exif(26.0)
    };
    let (g, warnings) = guess(&CameraHint::default(), &cropped, 2000, 1200);
    assert_eq!(warnings, ["photo_cropped"]);
    assert!(g.sigma_ln >= 0.1);
    let (g, warnings) = guess(&CameraHint::default(), &exif(13.0), 4032, 3024);
    assert_eq!(warnings, ["ultra_wide"]);
    assert!(g.sigma_ln >= 0.06);
}

#[test]
fn the_request_wins_and_contradictions_show() {
    let fov = |v| CameraHint {
        fov_long_deg: Some(v),
        ..CameraHint::default()
    };
    let (g, warnings) = guess(&fov(67.3), &exif(26.0), 4032, 3024);
    assert_eq!((g.source, warnings.len()), (FovSource::ClientFov, 0));
    // 53 degrees is this camera's short side.
    let (g, warnings) = guess(&fov(53.1), &exif(26.0), 4032, 3024);
    assert_eq!(warnings, ["fov_side_swapped"]);
    near(g.focal_px, 3029.0, 5e-3);
    let (_, warnings) = guess(&fov(100.0), &exif(26.0), 4032, 3024);
    assert_eq!(warnings, ["fov_contradicts_exif"]);
    let both = CameraHint {
        focal_px: Some(3000.0),
        fov_long_deg: Some(90.0),
        ..CameraHint::default()
    };
    let (g, warnings) = guess(&both, &ExifFacts::default(), 4032, 3024);
    assert_eq!((g.focal_px, g.source), (3000.0, FovSource::ClientFocal));
    assert_eq!(warnings, ["camera_hints_disagree"]);
}

#[test]
fn impossible_cameras_are_refused() {
    let photo = jpeg(&quadrants(96, 64));
    let hints = [
        CameraHint {
            fov_long_deg: Some(200.0),
            ..CameraHint::default()
        },
        CameraHint {
            fov_long_deg: Some(0.0),
            ..CameraHint::default()
        },
        CameraHint {
            fov_long_deg: Some(f64::NAN),
            ..CameraHint::default()
        },
        CameraHint {
            focal_px: Some(f64::INFINITY),
            ..CameraHint::default()
        },
        CameraHint {
            focal_px: Some(10.0),
            ..CameraHint::default()
        },
        CameraHint {
            f35_mm: Some(-26.0),
            ..CameraHint::default()
        },
        CameraHint {
            height_cm: Some(0.0),
            ..CameraHint::default()
        },
    ];
    for camera in hints {
        let shot = Shot {
            camera: camera.clone(),
            ..Shot::default()
        };
        let e = read_shot(&photo, &shot).unwrap_err();
        assert_eq!(e.code, ErrorCode::InvalidField, "{camera:?}");
        assert!(e.message.contains("camera"), "{e}");
    }
}

#[test]
fn tags_are_read_from_a_file() {
    let block = tiff(
        &[
            (MAKE, V::Text("Apple")),
            (MODEL, V::Text("iPhone 12")),
            (ORIENTATION, V::Short(6)),
        ],
        &[
            (FOCAL_LENGTH, V::Ratio(21, 5)),
            (PIXEL_X, V::Long(128)),
            (PIXEL_Y, V::Short(96)),
            (FOCAL_PLANE_X, V::Ratio(5000, 1)),
            (FOCAL_PLANE_UNIT, V::Short(3)),
            (DIGITAL_ZOOM, V::Ratio(3, 2)),
            (F35, V::Short(39)),
        ],
    );
    let facts = ExifFacts::read(&block);
    assert_eq!(
        (facts.make.as_str(), facts.model.as_str()),
        ("Apple", "iPhone 12")
    );
    assert_eq!(facts.orientation, Some(6));
    assert_eq!(facts.focal_mm, Some(4.2));
    assert_eq!(facts.f35_mm, Some(39.0));
    assert_eq!(facts.digital_zoom, Some(1.5));
    assert_eq!(facts.focal_plane_px_per_mm, Some(500.0));
    assert_eq!(facts.size_at_capture, Some((128, 96)));

    let photo = read(&with_exif(&jpeg(&quadrants(128, 96)), &block)).unwrap();
    assert_eq!(photo.camera.source, FovSource::ExifF35);
    near(photo.camera.focal_px, 39.0 * 160.0 / 43.26662, 1e-5);
    assert_eq!(codes(&photo.warnings), ["tilt_unknown"]);
}
