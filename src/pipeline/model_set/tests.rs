//! What a set is called changes nothing; what lies in its folder does.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use dragunov_models::device::DeviceChoice;

use super::*;
use crate::contract::request::ImageSource;
use crate::contract::{ScanRequest, ScanResult, WarningCode};
use crate::intake::{DecodeLimits, Shot, SourceMeta, read_photo};
use crate::pipeline::{CALIBRATION_FILE, Scanner, ScannerConfig};
use crate::runtime::JobContext;

/// The files of `plate-tiny` in a folder of this name, in a temporary one that goes with the guard.
fn copied(name: &str) -> (tempfile::TempDir, PathBuf) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/checkpoints/plate-tiny");
    let guard = tempfile::tempdir().unwrap();
    let to = guard.path().join(name);
    for part in ["", "sam", "depth", "vlm"] {
        std::fs::create_dir_all(to.join(part)).unwrap();
        for entry in std::fs::read_dir(from.join(part)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                std::fs::copy(&path, to.join(part).join(path.file_name().unwrap())).unwrap();
            }
        }
    }
    (guard, to)
}

/// On a coarse grid of points: enough to find the food, in less time.
fn scanned(set: &ModelSet, mut config: ScannerConfig) -> ScanResult {
    let request = ScanRequest {
        pitch_deg: Some(23.4),
        ..ScanRequest::new(ImageSource::Bytes(Vec::new()))
    };
    let bytes = include_bytes!("../../../fixtures/plates/scene_015/photo.jpg");
    let (shot, meta) = (Shot::default(), SourceMeta::default());
    let photo = read_photo(bytes, &shot, &meta, &DecodeLimits::default()).unwrap();
    config.amg.points_per_side = 8;
    let mut scanner = Scanner::load(set, DeviceChoice::Cpu, config, None).unwrap();
    scanner.scan(&photo, &request, &JobContext::detached()).unwrap().0
}

fn codes(result: &ScanResult) -> Vec<WarningCode> {
    result.warnings.iter().map(|w| w.code).collect()
}

#[test]
fn a_copy_under_another_name_gives_the_same_numbers() {
    let (_guard, dir) = copied("my-own-plates");
    let (bundled, copy) = (ModelSet::bundled().unwrap(), ModelSet::open(&dir).unwrap());
    assert_eq!(copy.name, "my-own-plates");
    assert_eq!(copy.calibration, bundled.calibration);
    assert_eq!(copy.fingerprint().unwrap(), bundled.fingerprint().unwrap());
    assert_eq!(copy.grounds(), bundled.grounds());
    let settings = |set: &ModelSet| format!("{:?}", ScannerConfig::for_set(set));
    assert_eq!(settings(&copy), settings(&bundled));

    let (one, other) = (
        scanned(&bundled, ScannerConfig::for_set(&bundled)),
        scanned(&copy, ScannerConfig::for_set(&copy)),
    );
    assert!(!one.items.is_empty());
    assert_eq!(one.items, other.items);
    assert_eq!(
        (&one.totals, &one.scale, &one.camera),
        (&other.totals, &other.scale, &other.camera)
    );
    assert_eq!(codes(&one), codes(&other));
    assert!(codes(&one).contains(&WarningCode::TinyModels));
    assert!(!codes(&one).contains(&WarningCode::UncalibratedModels));
    assert_eq!(
        (one.models.set.as_str(), other.models.set.as_str()),
        ("plate-tiny", "my-own-plates")
    );
}

#[test]
fn without_a_calibration_defaults_hold_and_the_answer_says_so() {
    let (_guard, dir) = copied("plate-tiny");
    std::fs::remove_file(dir.join(CALIBRATION_FILE)).unwrap();
    let set = ModelSet::open(&dir).unwrap();
    assert_eq!(set.calibration, None, "the name alone promises nothing");
    let mut config = ScannerConfig::for_set(&set);
    let default = Calibration::default();
    assert!(!config.calibrated && !config.demonstration);
    assert_eq!((config.errors, config.search), (default.errors, default.search));
    // With the default thresholds these small networks find nothing.
    config.amg = ScannerConfig::for_set(&ModelSet::bundled().unwrap()).amg;
    let result = scanned(&set, config);
    assert!(codes(&result).contains(&WarningCode::UncalibratedModels));
    assert!(!codes(&result).contains(&WarningCode::TinyModels));
}

#[test]
fn other_weights_and_other_settings_are_told_apart() {
    let (_guard, dir) = copied("plate-tiny");
    let fingerprint = |set: &ModelSet, change: fn(&mut ScannerConfig)| {
        let mut config = ScannerConfig::for_set(set);
        change(&mut config);
        let scanner = Scanner::load(set, DeviceChoice::Cpu, config, None).unwrap();
        scanner.outputs_fingerprint().unwrap()
    };
    let set = ModelSet::open(&dir).unwrap();
    let before = fingerprint(&set, |_| ());
    assert_eq!(
        before,
        fingerprint(&set, |c| c.errors.relief_sigma = 0.3),
        "arithmetic after the networks"
    );
    assert_ne!(before, fingerprint(&set, |c| c.search.zoom = false));
    assert_ne!(before, fingerprint(&set, |c| c.amg.points_per_side = 8));
    // The last byte of the depth network's weights.
    let path = dir.join("depth/model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_ne!(before, fingerprint(&set, |_| ()));
}
