//! At once or one after the other, alone or together: the answers are the same. On the bundled checkpoints.
#![allow(clippy::unwrap_used)]
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

use dragunov_models::RgbImage;
use dragunov_models::device::DeviceChoice;
use dragunov_models::observer::Unobserved;

use super::*;
use crate::contract::request::ImageSource;
use crate::contract::{ErrorCode, ScanResult};
use crate::intake::{DecodeLimits, Shot, SourceMeta, read_photo};
use crate::pipeline::{ModelSet, ScanInputs, ScannerConfig};
use crate::runtime::{Engine, Event};

fn photo(bytes: &[u8]) -> Photo {
    let (shot, meta) = (Shot::default(), SourceMeta::default());
    read_photo(bytes, &shot, &meta, &DecodeLimits::default()).unwrap()
}

fn scene() -> Photo {
    photo(include_bytes!("../../../fixtures/plates/scene_015/photo.jpg"))
}

/// The scene cut to another shape.
fn narrow() -> Photo {
    let mut photo = scene();
    let (width, height) = (500, 640);
    let pixels = (0..width * height).flat_map(|i| photo.image.pixel(100 + i % width, 50 + i / width));
    photo.image = RgbImage::new(width, height, pixels.collect()).unwrap();
    photo
}

fn request() -> ScanRequest {
    ScanRequest {
        pitch_deg: Some(23.4),
        ..ScanRequest::new(ImageSource::Bytes(Vec::new()))
    }
}

/// A coarse grid of points: enough to find the food, in less time.
fn scanner(overlap: bool) -> Scanner {
    let set = ModelSet::bundled().unwrap();
    let mut config = ScannerConfig::for_set(&set);
    config.amg.points_per_side = 8;
    config.overlap = Some(overlap);
    Scanner::load(&set, DeviceChoice::Cpu, config, None).unwrap()
}

/// Largest difference as a share of the largest value.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let most = a.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let off = a.iter().zip(b).fold(0.0f32, |m, (x, y)| m.max((x - y).abs()));
    off / most
}

fn assert_same(one: &ScanResult, other: &ScanResult) {
    let shown = |r: &ScanResult| -> Vec<(String, f64)> {
        let items = r.items.iter();
        items.map(|i| (i.label.clone(), i.mass_g.p50)).collect()
    };
    let (one, other) = (shown(one), shown(other));
    assert!(!one.is_empty());
    assert_eq!(one.len(), other.len());
    for ((label, grams), (other_label, other_grams)) in one.iter().zip(&other) {
        assert_eq!(label, other_label);
        assert!(
            (grams / other_grams - 1.0).abs() < 1e-3,
            "{grams} g, {other_grams} g"
        );
    }
}

#[test]
fn photos_encoded_together_are_as_if_alone() {
    let mut scanner = scanner(false);
    let photos = [scene(), narrow(), scene()];
    let (request, ctx) = (request(), JobContext::detached());
    let jobs: Vec<ScanJob<'_>> = photos
        .iter()
        .map(|photo| ScanJob {
            photo,
            request: &request,
            ctx: &ctx,
        })
        .collect();
    let together = scanner.encode_jobs(&jobs).unwrap();
    for (photo, encoded) in photos.iter().zip(&together) {
        let depth = scanner
            .depth
            .infer(&photo.image, Policy::Hf, &mut Unobserved)
            .unwrap();
        assert_eq!(depth.size(), encoded.depth.size());
        assert!(apart(depth.values(), encoded.depth.values()) < 1e-5);
        let cells = |e: &Embedding| e.cells().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let alone = scanner.sam.embed(&photo.image, &mut Unobserved).unwrap();
        assert_eq!(alone.fit(), encoded.embedding.fit());
        assert!(apart(&cells(&alone), &cells(&encoded.embedding)) < 1e-5);
    }
    let (alone, _) = scanner.scan(&photos[0], &request, &ctx).unwrap();
    // Through the seam that the device's thread uses.
    let encoded = Engine::encode(&mut scanner, &jobs[..2]).unwrap();
    let first = encoded.into_iter().next().unwrap();
    let result = scanner.scan_encoded(jobs[0], first).unwrap();
    assert_same(&alone, &result);
    let times = &result.timings_ms;
    assert_eq!(times.stages.keys().copied().collect::<Vec<_>>(), Stage::ALL[2..]);
    assert!(times.stages.values().all(|ms| *ms > 0.0));
    assert!(times.total >= times.stages.values().sum::<f64>());
}

#[test]
fn overlapped_scans_are_as_the_others() {
    let (photo, request) = (scene(), request());
    let run = |overlap: bool| {
        let stages = Arc::new(Mutex::new(Vec::new()));
        let note = stages.clone();
        let ctx = JobContext::of("j")
            .on_event(move |event| {
                if let Event::Stage { stage, .. } = event {
                    note.lock().unwrap().push(stage.as_str());
                }
            })
            .build();
        let (result, _) = scanner(overlap).scan(&photo, &request, &ctx).unwrap();
        let stages = stages.lock().unwrap().clone();
        (result, stages)
    };
    let ((one, one_stages), (other, other_stages)) = (run(false), run(true));
    assert_same(&one, &other);
    assert_eq!(one_stages, ["depth", "segment", "identify", "measure", "nourish"]);
    assert_eq!(one_stages, other_stages);
    for result in [one, other] {
        let timed: Vec<_> = result.timings_ms.stages.keys().map(|s| s.as_str()).collect();
        assert_eq!(timed, one_stages);
        assert!(result.timings_ms.stages.values().all(|ms| *ms > 0.0));
    }
}

/// Cancelled while both are at work: each of them stops.
#[test]
fn overlapped_scans_can_be_cancelled() {
    for overlap in [false, true] {
        let ctx = JobContext::detached();
        let stop = ctx.clone();
        let late = JobContext::of("late")
            .token(ctx.token().clone())
            .on_event(move |event| {
                if matches!(event, Event::Stage { stage, .. } if stage.as_str() == "segment") {
                    stop.cancel();
                }
            })
            .build();
        let mut scanner = scanner(overlap);
        let error = scanner
            .scan_with(&scene(), &request(), &late, ScanInputs::default())
            .unwrap_err();
        assert_eq!(error.code, ErrorCode::Cancelled);
        let known = Precomputed::default();
        let work = Working::new(&scene(), &request(), 1536).unwrap();
        let error = scanner.depth_of(&work, &late, known.depth);
        assert_eq!(error.unwrap_err().code, ErrorCode::Cancelled);
    }
}

#[test]
fn at_once_means_at_once() {
    // Each side waits for the other's word: one after the other would never end.
    let (say_first, hear_first) = channel();
    let (say_second, hear_second) = channel();
    let pause = Duration::from_secs(60);
    let pair = both(
        true,
        move || {
            say_first.send(()).unwrap();
            Ok(hear_second.recv_timeout(pause).is_ok())
        },
        || {
            say_second.send(()).unwrap();
            Ok(hear_first.recv_timeout(pause).is_ok())
        },
    );
    assert_eq!(pair.unwrap(), (true, true));
}

#[test]
fn errors_and_panics_arrive_either_way() {
    let fail = |code| move || Err::<(), _>(ScanError::new(code, "x"));
    for at_once in [false, true] {
        let code = both(at_once, fail(ErrorCode::DepthInvalid), || Ok(()))
            .unwrap_err()
            .code;
        assert_eq!(code, ErrorCode::DepthInvalid);
        let code = both(at_once, || Ok(()), fail(ErrorCode::NoFood))
            .unwrap_err()
            .code;
        assert_eq!(code, ErrorCode::NoFood);
        let caught = std::panic::catch_unwind(|| {
            let _ = both(
                at_once,
                || -> Result<(), ScanError> { panic!("scripted") },
                || Ok(()),
            );
        });
        assert!(caught.is_err());
    }
}
