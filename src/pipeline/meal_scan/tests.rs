#![allow(clippy::unwrap_used)]
use std::path::Path;

use dragunov_models::RgbImage;

use super::*;
use crate::contract::photos::MealPhoto;
use crate::contract::request::{ImageSource, Reference};
use crate::contract::result::MaskData;
use crate::contract::{ItemFlag, MaskFormat, ReferenceKind};
use crate::identify::Kind;
use crate::intake::{DecodeLimits, Shot, SourceMeta, read_photo};

/// A rendered meal from two sides: noodles, an egg in halves, corn.
fn photo(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)).unwrap()
}

fn request(photos: &[(&str, f64)]) -> ScanRequest {
    let mut all = photos.iter().map(|(name, pitch)| MealPhoto {
        pitch_deg: Some(*pitch),
        ..MealPhoto::new(ImageSource::Bytes(photo(name)))
    });
    let first = all.next().unwrap();
    ScanRequest {
        pitch_deg: first.pitch_deg,
        more: all.collect(),
        ..ScanRequest::new(first.image)
    }
}

const FIRST: (&str, f64) = ("meal/a.jpg", 40.9);
const SECOND: (&str, f64) = ("meal/b.jpg", 32.6);

fn volumes(result: &ScanResult) -> Vec<(String, f64)> {
    result
        .items
        .iter()
        .map(|i| (i.label.clone(), i.volume_cm3.p50))
        .collect()
}

#[test]
fn two_sides_are_one_meal() {
    let mut scanner = Scanner::bundled().unwrap();
    let both = scanner.scan_request(&request(&[FIRST, SECOND])).unwrap();
    assert_eq!(both.photos.len(), 2, "{:?}", both.warnings);
    assert!(
        both.photos
            .iter()
            .all(|p| p.used && p.error.is_none() && p.view.is_some())
    );
    let alone = [FIRST, SECOND].map(|photo| scanner.scan_request(&request(&[photo])).unwrap());
    assert!(alone.iter().all(|r| r.photos.is_empty()));
    assert_eq!(
        both.items.len(),
        alone[0].items.len(),
        "{:?} {:?}",
        volumes(&both),
        volumes(&alone[0])
    );
    for item in &both.items {
        let seen: Vec<_> = both
            .photos
            .iter()
            .flat_map(|p| &p.items)
            .filter(|i| i.item.as_ref() == Some(&item.id))
            .collect();
        assert_eq!(seen.len(), 2, "{}", item.label);
        assert!((seen.iter().map(|s| s.weight).sum::<f64>() - 1.0).abs() < 1e-6);
        let (low, high) = (
            seen[0].volume_cm3.p50.min(seen[1].volume_cm3.p50),
            seen[0].volume_cm3.p50.max(seen[1].volume_cm3.p50),
        );
        assert!(
            (low * 0.8..high * 1.25).contains(&item.volume_cm3.p50),
            "{}: {low} {high} {:?}",
            item.label,
            item.volume_cm3
        );
        // Two photos are surer than the surer one, unless they disagree.
        let own = seen
            .iter()
            .map(|s| s.volume_sigma_ln.own)
            .fold(f64::INFINITY, f64::min);
        let disagree = both
            .warnings
            .iter()
            .any(|w| w.code == WarningCode::PhotosDisagree);
        assert!(item.volume_sigma_ln.own <= own || disagree, "{}", item.label);
        // Mask and box are on the photo that the item names.
        let shown = &both.photos[item.photo];
        assert!(shown.items.iter().any(|s| s.bbox == item.bbox), "{}", item.label);
    }
    let total: f64 = both.items.iter().map(|i| i.mass_g.p50).sum();
    assert!((both.totals.mass_g.p50 / total - 1.0).abs() < 1e-9);
}

/// The egg is taken out of all that was found on the second photo: it is looked for where the first one has it.
#[test]
fn what_one_photo_did_not_show_is_looked_for_where_the_other_has_it() {
    let mut scanner = Scanner::bundled().unwrap();
    let mut asked = request(&[FIRST, SECOND]);
    asked.options.masks = MaskFormat::Rle;
    let both = scanner.scan_request(&asked).unwrap();
    let egg = both.items.iter().find(|i| i.label.contains("egg")).unwrap();
    let on = |result: &ScanResult, photo: usize, id: &str| {
        let seen = result.photos[photo]
            .items
            .iter()
            .find(|i| i.item.as_deref() == Some(id))?;
        match seen.mask.as_ref()? {
            MaskData::Rle { size, counts } => Mask::from_coco_string(size[1], size[0], counts),
            MaskData::Png { .. } => None,
        }
    };
    let whole = on(&both, 1, &egg.id).unwrap();

    let ctx = JobContext::detached();
    let photos: Vec<Photo> = [FIRST, SECOND]
        .iter()
        .enumerate()
        .map(|(k, (name, _))| {
            let shot = Shot::from_request(&asked.of_photo(k));
            read_photo(
                &photo(name),
                &shot,
                &SourceMeta::default(),
                &DecodeLimits::default(),
            )
            .unwrap()
        })
        .collect();
    let mut outputs = scanner
        .network_outputs(&photos[1], &asked.of_photo(1), &ctx)
        .unwrap();
    let before = outputs.detections.candidates.len();
    outputs.detections.candidates.retain(|c| {
        let of_egg = 2 * c.mask.intersection_area(&whole) > c.mask.area();
        !(of_egg && c.identity.kind == Kind::Food)
    });
    assert!(outputs.detections.candidates.len() < before);
    let second = ScanInputs {
        outputs: Some(outputs),
        ..ScanInputs::default()
    };
    let photos = photos.into_iter().map(Ok).collect();
    let (result, _) = scanner
        .scan_meal_with(photos, &asked, &ctx, vec![ScanInputs::default(), second])
        .unwrap();
    let again = result.items.iter().find(|i| i.label == egg.label).unwrap();
    assert_eq!(result.items.len(), both.items.len(), "{:?}", volumes(&result));
    let found = on(&result, 1, &again.id).unwrap();
    assert!(found.iou(&whole) > 0.5, "{}", found.iou(&whole));
    let ratio = again.volume_cm3.p50 / egg.volume_cm3.p50;
    assert!((0.75..1.33).contains(&ratio), "{ratio}");
}

#[test]
fn a_photo_of_other_food_is_left_out_and_the_rest_kept() {
    let mut scanner = Scanner::bundled().unwrap();
    let mut asked = request(&[FIRST, ("plates/scene_030/photo.jpg", 2.2)]);
    asked.reference = Some(Reference {
        kind: ReferenceKind::Plate,
        diameter_cm: Some(27.0),
    });
    let result = scanner.scan_request(&asked).unwrap();
    let code = result.photos[1].error.as_ref().map(|e| e.code);
    assert_eq!(
        (result.photos[0].used, result.photos[1].used, code),
        (true, false, Some(ErrorCode::OtherMeal))
    );
    assert!(result.photos[1].items.iter().all(|i| i.item.is_none()));
    assert!(
        result
            .warnings
            .iter()
            .any(|w| w.code == WarningCode::PhotoLeftOut)
    );
    assert!(
        result
            .items
            .iter()
            .all(|i| i.photo == 0 && !i.flags.contains(&ItemFlag::Flat))
    );
}

#[test]
fn a_photo_that_is_none_is_left_out_and_none_at_all_is_an_error() {
    let mut scanner = Scanner::bundled().unwrap();
    let mut asked = request(&[FIRST, SECOND]);
    asked.more[0].image = ImageSource::Bytes(b"no photo".to_vec());
    let result = scanner.scan_request(&asked).unwrap();
    let code = result.photos[1].error.as_ref().map(|e| e.code);
    assert_eq!(
        (result.photos[0].used, code),
        (true, Some(ErrorCode::ImageFormat))
    );
    asked.image = ImageSource::Bytes(b"no photo either".to_vec());
    assert_eq!(
        scanner.scan_request(&asked).unwrap_err().code,
        ErrorCode::ImageFormat
    );
}

/// Reduced ahead of the pipeline, a photo is measured as if it were not, and answered in its own pixels.
#[test]
fn a_photo_kept_small_is_measured_the_same() {
    let (w, h) = (2000, 1500);
    let bytes: Vec<u8> = (0..w * h)
        .flat_map(|i| [(i % 251) as u8, (i / w % 249) as u8, 90])
        .collect();
    let photo = Photo {
        image: RgbImage::new(w, h, bytes).unwrap(),
        orientation: 1,
        camera: crate::intake::CameraGuess {
            focal_px: 1600.0,
            sigma_ln: 0.02,
            source: crate::contract::FovSource::ExifF35,
        },
        gravity: None,
        warnings: Vec::new(),
        depth: None,
        full_size: None,
    };
    let mut request = ScanRequest::new(ImageSource::Bytes(Vec::new()));
    request.hints.items = vec![crate::contract::request::ItemHint {
        point: Some([1999.0, 700.0]),
        ..Default::default()
    }];
    let full = super::super::working::Working::new(&photo, &request, 1536).unwrap();
    let small = photo.reduced(1536).unwrap();
    assert_eq!(small.full_size, Some((w, h)));
    let same = super::super::working::Working::new(&small, &request, 1536).unwrap();
    assert_eq!(
        (same.full, same.photo.image.as_bytes()),
        (full.full, full.photo.image.as_bytes())
    );
    assert_eq!(
        (same.photo.camera.focal_px, &same.hints),
        (full.photo.camera.focal_px, &full.hints)
    );
    assert!((same.enlarge() - 2000.0 / 1536.0).abs() < 1e-3);
}
