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
    let image = file("Dockerfile.cuda");
    assert!(image.contains("CMD [\"dragunov\", \"worker\"]") && !image.contains("ENTRYPOINT"));
    assert_eq!(image, file(".runpod/Dockerfile"), "the Hub builds another image");
    assert!(file(".runpod/handler.py").contains("dragunov worker") && !file(".runpod/README.md").is_empty());
}

#[test]
fn the_image_ci_and_the_software_device_are_of_one_cuda_version() {
    let after = |path: &str, begin: &str| {
        let text = file(path);
        let (_, rest) = text
            .split_once(begin)
            .unwrap_or_else(|| panic!("{path} has no {begin:?}"));
        rest.chars()
            .take_while(|c| c.is_ascii_digit() || *c == '.')
            .collect::<String>()
    };
    let version = after("scripts/cuda-toolkit.sh", "\nVERSION=");
    assert_eq!(after("kernels/softcuda/toolkit/nvcc", "VERSION = \""), version);
    for base in ["BUILD_BASE=nvidia/cuda:", "RUN_BASE=nvidia/cuda:"] {
        let image = after("Dockerfile.cuda", base);
        assert!(
            image.starts_with(&format!("{version}.")),
            "{base}{image} and {version}"
        );
    }
    let number = |v: &str| v.split('.').map(|n| n.parse().unwrap()).collect::<Vec<u32>>();
    let hub: Value = serde_json::from_str(&file(".runpod/hub.json")).unwrap();
    let tests: Value = serde_json::from_str(&file(".runpod/tests.json")).unwrap();
    for config in [&hub["config"], &tests["config"]] {
        let allowed = config["allowedCudaVersions"].as_array().unwrap();
        assert!(!allowed.is_empty());
        for driver in allowed {
            let driver = driver.as_str().unwrap();
            assert!(
                number(driver) >= number(&version),
                "a driver of {driver} loads no kernel of {version}"
            );
        }
    }
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
            JobInput::Model(request) => request.call.image,
            JobInput::Mock(_) | JobInput::Recompute(_) => panic!("a script is no test"),
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
        file("Dockerfile.cuda"),
        file("packaging/serve"),
    ] {
        for word in text.split(|c: char| !(c.is_ascii_uppercase() || c == '_')) {
            if word.starts_with("DRAGUNOV_") {
                assert!(known.contains(word), "{word}");
            }
        }
    }
}

/// The image is built without what .dockerignore leaves out: nothing of it may be needed to compile the program.
#[test]
fn the_image_has_all_that_is_compiled() {
    fn sources(dir: &Path, out: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                sources(&entry, out);
            } else if entry.extension().is_some_and(|e| e == "rs") {
                out.push(entry);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for dir in ["src", "models/src", "kernels/src"] {
        sources(&root.join(dir), &mut files);
    }
    let ignored = file(".dockerignore");
    let ignored: Vec<&str> = ignored.lines().filter(|l| !l.starts_with(['#', '*'])).collect();
    assert!(!ignored.is_empty());
    let mut included = 0;
    for source in files.iter().filter(|f| !f.ends_with("tests.rs")) {
        let text = std::fs::read_to_string(source).unwrap();
        for rest in text.split("include_").skip(1) {
            let Some(path) = rest
                .split('"')
                .nth(1)
                .filter(|_| rest.starts_with("str!(\"") || rest.starts_with("bytes!(\""))
            else {
                continue;
            };
            let target = source.parent().unwrap().join(path).canonicalize().unwrap();
            let target = target.strip_prefix(root.canonicalize().unwrap()).unwrap();
            included += 1;
            assert!(
                !ignored.iter().any(|i| target.starts_with(i)),
                "{}",
                target.display()
            );
        }
    }
    assert!(
        included >= 5,
        "{included} files are compiled in; the check would pass on nothing"
    );
    for named in [
        "packaging/serve",
        "LICENSE",
        "rust-toolchain.toml",
        "Cargo.lock",
        "benches",
        "examples",
    ] {
        assert!(root.join(named).exists() && !ignored.contains(&named), "{named}");
    }
}

/// `docker run IMAGE serve`: the wrapper finds the binary on PATH and passes flags and variables on.
#[tokio::test(flavor = "multi_thread")]
async fn the_images_serve_starts_the_service() {
    use tokio::io::{AsyncBufReadExt, BufReader};
    let bin = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dragunov"), bin.path().join("dragunov")).unwrap();
    let path = format!("{}:{}", bin.path().display(), std::env::var("PATH").unwrap());
    let serve = |vars: &[(&str, &str)]| {
        let mut c =
            tokio::process::Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/serve"));
        c.args(["--engine", "stub", "--log", "error"])
            .env("PATH", &path)
            .envs(vars.iter().copied())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .kill_on_drop(true);
        c
    };
    // Reachable by others and without a key: refused.
    let refused = serve(&[]).output().await.unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("DRAGUNOV_API_KEY"));

    let mut child = serve(&[
        ("DRAGUNOV_API_KEY", "a-key-of-the-test-0123"),
        ("DRAGUNOV_HOST", "127.0.0.1"),
        ("DRAGUNOV_PORT", "0"),
    ])
    .spawn()
    .unwrap();
    let line = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .next_line()
        .await
        .unwrap()
        .unwrap();
    let url = line.strip_prefix("listening on ").unwrap();
    let ping = reqwest::get(format!("{url}/ping")).await.unwrap();
    assert!(ping.status().is_success(), "{}", ping.status());
    child.kill().await.unwrap();
}
