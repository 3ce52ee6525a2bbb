//! What the RunPod Hub reads from `.runpod/`, and the files a machine is set up with.

use std::path::Path;

use dragunov::contract::request::ImageSource;
use dragunov::intake::{Intake, IntakeConfig, Shot};
use dragunov::runtime::JobInput;
use serde_json::Value;

fn file(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_hub_finds_what_it_needs() {
    let hub: Value = serde_json::from_str(&file(".runpod/hub.json")).unwrap();
    for key in ["title", "description"] {
        assert!(!hub[key].as_str().unwrap().is_empty(), "{key}");
    }
    assert_eq!(
        (&hub["type"], &hub["category"]),
        (&"serverless".into(), &"image".into())
    );
    assert_eq!(hub["config"]["runsOn"], "GPU");
    assert!(hub["config"]["containerDiskInGb"].is_u64() && hub["config"]["gpuCount"].is_u64());
    let keys: Vec<&str> = hub["config"]["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["key"].as_str().unwrap())
        .collect();
    for preset in hub["config"]["presets"].as_array().unwrap() {
        for key in preset["defaults"].as_object().unwrap().keys() {
            assert!(keys.contains(&key.as_str()), "{key} is not among the variables");
        }
    }
    let image = file("Dockerfile");
    assert!(image.contains("CMD [\"dragunov\", \"worker\"]") && !image.contains("ENTRYPOINT"));
    assert!(file(".runpod/handler.py").contains("dragunov worker") && !file(".runpod/README.md").is_empty());
}

/// The Hub posts these to the image; a test passes there if its job does not fail.
#[tokio::test(flavor = "multi_thread")]
async fn the_hubs_tests_are_jobs_with_readable_photos() {
    let tests: Value = serde_json::from_str(&file(".runpod/tests.json")).unwrap();
    let intake = Intake::new(IntakeConfig::default());
    let all = tests["tests"].as_array().unwrap();
    assert!(all.len() >= 2);
    for test in all {
        assert!(test["name"].is_string() && test["timeout"].as_u64().unwrap() >= 30_000);
        let image = match JobInput::parse(test["input"].clone(), false).unwrap() {
            JobInput::Scan(request) => request.image,
            JobInput::Model(request) => request.image,
            JobInput::Mock(_) => panic!("a script is no test"),
        };
        assert!(
            matches!(image, ImageSource::Base64(_)),
            "the Hub's machines reach no photo of ours"
        );
        let (bytes, meta) = intake.fetch(image, None).await.unwrap();
        intake.decode(bytes, Shot::default(), meta).await.unwrap();
    }
    assert_eq!(
        tests["config"]["env"][0]["value"], "plate-tiny",
        "nothing is downloaded for a test"
    );
}

/// Every variable that the unit and the Hub set is one that the program reads.
#[tokio::test(flavor = "multi_thread")]
async fn settings_of_packages_exist() {
    let (_, help, _) = crate::commands::output(&["serve", "--help"], &[]).await;
    let (_, worker, _) = crate::commands::output(&["worker", "--help"], &[]).await;
    let known = help + &worker;
    for text in [
        file("packaging/dragunov.service"),
        file(".runpod/hub.json"),
        file("Dockerfile"),
    ] {
        for word in text.split(|c: char| !(c.is_ascii_uppercase() || c == '_')) {
            if word.starts_with("DRAGUNOV_") {
                assert!(known.contains(word), "{word}");
            }
        }
    }
}
