//! The JSON of the contract: what the fixtures say is read, and written again as it was.
#![allow(clippy::unwrap_used)]

use super::ScanRequest;
use serde_json::{Value, json};

fn fixture(name: &str) -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/contract")
        .join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn read(value: Value) -> Result<ScanRequest, String> {
    serde_json::from_value(value).map_err(|e| e.to_string())
}

#[test]
fn requests_with_photos_and_depth_are_read_and_written() {
    for name in ["scan_request_images.json", "scan_request_depth.json"] {
        let value = fixture(name);
        let request = read(value.clone()).unwrap();
        assert_eq!(serde_json::to_value(request).unwrap(), value, "{name}");
    }
    let several = read(fixture("scan_request_images.json")).unwrap();
    assert_eq!((several.pitch_deg, several.more.len()), (Some(23.4), 1));
    assert_eq!(several.more[0].camera.f35_mm, Some(26.0));
    assert_eq!(several.hints.items[0].photo, 1);
}

/// As `dragunov scan fixtures/meal/a.jpg fixtures/meal/b.jpg --meal --pitch 40.9,32.6 --json -` wrote it.
#[test]
fn a_result_of_several_photos_is_read_and_written() {
    let value = fixture("scan_result_images.json");
    let result: crate::contract::ScanResult = serde_json::from_value(value.clone()).unwrap();
    assert_eq!(result.photos.len(), 2);
    let seen = |id: &String| {
        result
            .photos
            .iter()
            .flat_map(|p| &p.items)
            .filter(|i| i.item.as_ref() == Some(id))
            .count()
    };
    assert!(result.items.iter().all(|item| (1..=2).contains(&seen(&item.id))));
    assert_eq!(serde_json::to_value(result).unwrap(), value);
}

/// One photo in a list is the same request as the photo alone.
#[test]
fn one_of_images_is_image() {
    let alone = read(json!({"image": "s3://b/k.jpg", "pitch_deg": 30, "camera": {"f35_mm": 26}})).unwrap();
    let listed =
        read(json!({"images": [{"image": "s3://b/k.jpg", "pitch_deg": 30, "camera": {"f35_mm": 26}}]}))
            .unwrap();
    assert_eq!(alone, listed);
    assert!(serde_json::to_value(listed).unwrap()["images"].is_null());
}

#[test]
fn photos_that_cannot_be_are_named() {
    let photo = json!({"image": "s3://b/k.jpg"});
    let says = |value: Value, word: &str| {
        let error = read(value).unwrap_err();
        assert!(error.contains(word), "{error} lacks {word}");
    };
    says(json!({}), "image");
    says(json!({"images": []}), "image");
    says(json!({"images": vec![photo.clone(); 7]}), "over 6");
    says(json!({"image": "s3://b/k.jpg", "images": [photo]}), "one of them");
    says(json!({"images": [photo], "pitch_deg": 30}), "inside each");
    says(
        json!({"images": [{"image": "s3://b/k.jpg", "pich_deg": 30}]}),
        "pich_deg",
    );
    says(
        json!({"image": "s3://b/k.jpg", "depth": {"data": "AA=="}}),
        "format",
    );
    assert_eq!(read(json!({"images": vec![photo; 6]})).unwrap().more.len(), 5);
}
