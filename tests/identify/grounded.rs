//! The grounded strategy through a whole scan: a vision API on loopback, and Qwen2.5-VL with random weights, which an
//! answer's schema holds to boxes and names all the same.

use std::path::{Path, PathBuf};

use dragunov::contract::request::{ImageSource, Reference};
use dragunov::contract::{ReferenceKind, WarningCode};
use dragunov::eval::convert;
use dragunov::eval::load::Labels;
use dragunov::eval::manifest::Sample;
use dragunov::identify::native::NativeIdentifier;
use dragunov::intake::{DecodeLimits, Photo, Shot, SourceMeta, read_photo};
use dragunov::pipeline::{ModelSet, Scanner, ScannerConfig, Strategy};
use dragunov::runtime::JobContext;
use dragunov::{ScanRequest, ScanResult};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::device::DeviceChoice;
use dragunov_models::qwen_vl::QwenVl;
use dragunov_models::{Mask, Rect};

use super::*;

fn fixtures(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(part)
}

/// A sample plate with its truth, and its photo as a scan is given it.
pub(super) fn plate(id: &str) -> (Sample, Photo, ScanRequest) {
    let samples = convert::plates(&fixtures("plates")).unwrap();
    let sample = samples.into_iter().find(|s| s.id == id).unwrap();
    let mut request = ScanRequest::new(ImageSource::Bytes(Vec::new()));
    request.pitch_deg = sample.pitch_deg;
    request.reference = Some(Reference {
        kind: ReferenceKind::Plate,
        diameter_cm: sample.dishes[0].diameter_cm,
    });
    let bytes = std::fs::read(fixtures("plates").join(&sample.image)).unwrap();
    let shot = Shot::from_request(&request);
    let photo = read_photo(&bytes, &shot, &SourceMeta::default(), &DecodeLimits::default()).unwrap();
    (sample, photo, request)
}

pub(super) fn masks(sample: &Sample) -> Vec<Mask> {
    let mut labels = Labels::default();
    let size = [sample.width, sample.height];
    let food = sample.items.iter().map(|i| i.mask.as_ref());
    let dish = sample.dishes.iter().map(|d| d.mask.as_ref());
    food.chain(dish)
        .map(|at| labels.mask(&fixtures("plates"), at.unwrap(), size).unwrap())
        .collect()
}

/// Boxes of the foods and the plate in pixels of the picture in this request.
pub(super) fn boxes(sample: &Sample, masks: &[Mask], body: &Value) -> String {
    let sent = sent_picture(body);
    let told = format!("{} x {} pixels", sent.width(), sent.height());
    assert!(body["messages"][0]["content"].as_str().unwrap().contains(&told));
    let (kx, ky) = (
        f64::from(sent.width()) / sample.width as f64,
        f64::from(sent.height()) / sample.height as f64,
    );
    let items: Vec<Value> = masks
        .iter()
        .enumerate()
        .map(|(i, mask)| {
            let b = mask.bbox().unwrap();
            let (kind, label) = sample
                .items
                .get(i)
                .map_or(("plate", "plate"), |t| ("food", &t.label));
            json!({"bbox_2d": [b.x0 * kx, b.y0 * ky, b.x1 * kx, b.y1 * ky], "kind": kind, "label": label,
                   "confidence": 0.9, "alternatives": [], "grams": null})
        })
        .collect();
    json!({"items": items}).to_string()
}

pub(super) async fn scan(
    config: OpenAiConfig,
    photo: Photo,
    request: ScanRequest,
    strategy: Option<Strategy>,
) -> Result<ScanResult, ScanError> {
    tokio::task::spawn_blocking(move || {
        let set = ModelSet::bundled().unwrap();
        let manner = ScannerConfig {
            strategy,
            ..ScannerConfig::for_set(&set)
        };
        let api = Box::new(OpenAi::new(config));
        let mut scanner = Scanner::load(&set, DeviceChoice::Cpu, manner, Some(api)).unwrap();
        scanner
            .scan(&photo, &request, &JobContext::detached())
            .map(|r| r.0)
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn boxes_of_an_api_become_masks_and_volumes() {
    let (sample, photo, request) = plate("scene_015");
    let truth = masks(&sample);
    let (of_server, said) = (sample.clone(), truth.clone());
    let (server, count) = server(move |_, body| says(&boxes(&of_server, &said, body))).await;
    let patient = OpenAiConfig {
        total_timeout: Duration::from_secs(60),
        ..config(&server)
    };
    let result = scan(patient, photo, request, Some(Strategy::Grounded))
        .await
        .unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1, "one question a photo");
    assert_eq!(result.items.len(), sample.items.len(), "{:?}", result.warnings);
    assert!(
        result
            .warnings
            .iter()
            .all(|w| w.code != WarningCode::NotIdentified)
    );
    for (item, mask) in sample.items.iter().zip(&truth) {
        let found = result.items.iter().find(|f| f.label == item.label).unwrap();
        let there = mask.bbox().unwrap();
        let [x0, y0, x1, y1] = found.bbox;
        let here = Rect::new(x0, y0, x1, y1);
        assert!(there.iou(&here) > 0.8, "{}: {there:?} {here:?}", item.label);
        let ratio = found.volume_cm3.p50 / item.volume_cm3.unwrap();
        assert!((0.4..2.0).contains(&ratio), "{}: {ratio}", item.label);
    }
}

#[tokio::test]
async fn without_an_answer_volumes_are_given_without_names() {
    let (_, photo, request) = plate("scene_015");
    let (server, _) = server(|_, _| ResponseTemplate::new(401)).await;
    let result = scan(config(&server), photo, request, Some(Strategy::Grounded))
        .await
        .unwrap();
    assert!(!result.items.is_empty());
    assert!(result.items.iter().all(|i| i.label == Identified::UNKNOWN));
    let warning = result
        .warnings
        .iter()
        .find(|w| w.code == WarningCode::NotIdentified)
        .unwrap();
    assert!(warning.message.contains("refuses the key"), "{}", warning.message);
}

/// Random weights under the answer's schema: boxes lie on the photo, names are known, and each box becomes a candidate.
#[test]
fn random_weights_name_boxes_on_the_photo() {
    let checkpoint = Checkpoint::open(fixtures("tiny/qwen-untied")).unwrap();
    let (_, photo, request) = plate("scene_040");
    let (width, height) = (photo.image.width(), photo.image.height());
    let names = ["rice", "peas", "steak"].map(String::from);
    let model = QwenVl::load(&checkpoint, candle_core::DType::F32, &candle_core::Device::Cpu).unwrap();
    let mut native = NativeIdentifier::new(model, "random", names.clone(), true);
    let found = native.ground(&photo.image, &|| false).unwrap().items;
    assert!(!found.is_empty());
    for item in &found {
        let b = item.bbox;
        assert!(b.x0 >= 0.0 && b.x0 < b.x1 && b.x1 <= width as f64, "{b:?}");
        assert!(b.y0 >= 0.0 && b.y0 < b.y1 && b.y1 <= height as f64, "{b:?}");
        let (kind, label) = (item.identity.kind, &item.identity.label);
        let known = names.contains(label) || label == Identified::UNKNOWN;
        assert!(known || kind != Kind::Food, "{:?}", item.identity);
    }

    let set = ModelSet {
        name: "random".into(),
        vlm: Some(checkpoint),
        ..ModelSet::bundled().unwrap()
    };
    let manner = ScannerConfig {
        strategy: Some(Strategy::Grounded),
        ..ScannerConfig::for_set(&set)
    };
    let mut scanner = Scanner::load(&set, DeviceChoice::Cpu, manner, None).unwrap();
    let seen = scanner
        .network_outputs(&photo, &request, &JobContext::detached())
        .unwrap()
        .detections;
    assert!(seen.warnings.is_empty(), "{:?}", seen.warnings);
    assert!((1..=40).contains(&seen.candidates.len()));
    for c in &seen.candidates {
        assert_eq!((c.mask.width(), c.mask.height()), (width, height));
    }
}

/// A model that was trained to name crops alone is not asked for boxes.
#[test]
fn what_gives_no_boxes_is_refused_at_the_start() {
    let set = ModelSet::bundled().unwrap();
    let manner = ScannerConfig {
        strategy: Some(Strategy::Grounded),
        ..ScannerConfig::for_set(&set)
    };
    let e = Scanner::load(&set, DeviceChoice::Cpu, manner, None).unwrap_err();
    assert_eq!(e.code, ErrorCode::ConfigInvalid);
}
