//! The sample plates in the repository, from true masks and depth.

use std::path::{Path, PathBuf};

use dragunov::eval::oracle::{Damage, Oracle};
use dragunov::eval::report::Report;
use dragunov::eval::{Dataset, GeometryOnly, convert};
use dragunov::geometry::Gravity;
use dragunov::nutrition::FoodTable;

fn report(oracles: &[Oracle], damage: Damage) -> Report {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plates");
    let samples = convert::plates(&root).unwrap();
    assert_eq!(samples.len(), 12);
    let perceiver = GeometryOnly {
        oracles: oracles.to_vec(),
        damage,
        ..GeometryOnly::default()
    };
    let outcomes = dragunov::eval::run(
        &Dataset { root, samples },
        &perceiver,
        &FoodTable::builtin(),
        |_| (),
    );
    Report::new("sample plates".to_owned(), outcomes, None)
}

fn group<'a>(report: &'a Report, name: &str) -> &'a dragunov::eval::figures::Errors {
    let (_, summary) = report.groups.iter().find(|(n, _)| n == name).unwrap();
    summary.volume().unwrap()
}

#[test]
fn true_depth_gives_volumes_within_seven_percent() {
    let report = report(
        &[
            Oracle::Masks,
            Oracle::Depth,
            Oracle::Labels,
            Oracle::Camera,
            Oracle::Scale,
        ],
        Damage::default(),
    );
    let off = group(&report, "off bowls");
    assert!(off.mape <= 7.0 && off.median_ape <= 4.0, "{off:?}");
    assert!(group(&report, "in bowls").mape <= 30.0);
    let html = report.html();
    assert!(html.contains("<svg") && !html.contains("http"));
    assert!(report.text().contains("baseline: mean of the true label"));
}

#[test]
fn relative_disparity_with_a_known_size_gives_them_within_twelve() {
    let oracles = [
        Oracle::Masks,
        Oracle::Disparity,
        Oracle::Labels,
        Oracle::Camera,
        Oracle::Scale,
    ];
    let sized: Vec<&str> = vec!["off bowls"];
    for (damage, limit) in [
        (Damage::default(), 12.0),
        (
            Damage {
                bits: Some(8),
                noise: 0.005,
                ..Damage::default()
            },
            18.0,
        ),
    ] {
        let report = report(&oracles, damage);
        for name in &sized {
            let e = group(&report, name);
            assert!(e.mape <= limit, "{damage:?}: {e:?}");
        }
    }
}

/// The converter's pitch and roll give the same direction of down as the renderer's camera matrix.
#[test]
fn pitch_and_roll_agree_with_the_camera_matrix() {
    let root: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plates");
    let mut rolled = 0;
    for sample in convert::plates(&root).unwrap() {
        let text = std::fs::read_to_string(root.join(&sample.id).join("scene.json")).unwrap();
        let scene: serde_json::Value = serde_json::from_str(&text).unwrap();
        // World z is up, so down in camera axes is minus the third row of the rotation.
        let down = [0, 1, 2].map(|i| -scene["camera_to_world"][2][i].as_f64().unwrap());
        let truth = Gravity::from_camera(down, 1.0).unwrap();
        let stated = Gravity::from_pitch(sample.pitch_deg.unwrap(), sample.roll_deg.unwrap(), 1.0);
        assert!(stated.angle_deg(&truth) < 0.05, "{}: {down:?}", sample.id);
        rolled += usize::from(sample.roll_deg.unwrap().abs() > 1.0);
    }
    assert!(rolled > 0, "no fixture is rolled, so the sign is not tested");
}
