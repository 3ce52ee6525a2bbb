//! `dragunov models list | pull | verify` as a process.

use std::path::Path;

use assert_cmd::Command;

use crate::hub::{FakeHub, sha256};
use crate::{CONFIG, weights};

fn dragunov(server: &FakeHub, dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::cargo_bin("dragunov").unwrap();
    command.args(args).env_clear().env("HOME", dir);
    command
        .env("HF_HOME", dir)
        .env("HF_ENDPOINT", server.url())
        .env("HF_TOKEN", "hush");
    command
}

async fn run(mut command: Command) -> (i32, String, String) {
    let output = tokio::task::spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[tokio::test]
async fn list_pull_verify() {
    let (server, dir) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    // Unpinned in the table.
    const REPOSITORY: &str = "facebook/sam-vit-large";
    for file in ["config.json", "preprocessor_config.json"] {
        server.put(REPOSITORY, file, CONFIG, false);
    }
    server.put(REPOSITORY, "model.safetensors", &weights(), true);
    let name = "sam-vit-large";

    let (code, out, _) = run(dragunov(&server, dir.path(), &["models", "list", "--json"])).await;
    let listed: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, 0);
    assert_eq!(listed["cache"], dir.path().join("hub").to_str().unwrap());
    assert_eq!(listed["sets"]["mobile"][1], "depth-anything-v2-small");

    let (code, _, err) = run(dragunov(&server, dir.path(), &["models", "verify", name])).await;
    assert_eq!(code, 1, "{err}");

    let (code, out, err) = run(dragunov(&server, dir.path(), &["models", "pull", name])).await;
    assert_eq!(code, 0, "{err}");
    assert!(
        out.contains(&sha256(&weights())) && out.contains("unpinned"),
        "{out}"
    );
    assert!(!format!("{out}{err}").contains("hush"));
    assert!(
        !err.contains('\r') && !err.contains('\u{1b}'),
        "no bar where there is no terminal: {err:?}"
    );

    let (code, out, _) = run(dragunov(&server, dir.path(), &["models", "verify"])).await;
    assert_eq!(
        (code, out.matches("unpinned, as pulled").count()),
        (0, 3),
        "{out}"
    );

    let weights = dir
        .path()
        .join("hub/models--facebook--sam-vit-large/blobs")
        .join(sha256(&weights()));
    std::fs::write(weights, b"half a file").unwrap();
    let (code, out, err) = run(dragunov(&server, dir.path(), &["models", "verify", name])).await;
    assert!(
        code != 0 && out.contains("MISMATCH") && err.contains("model.safetensors"),
        "{code} {out} {err}"
    );
}

/// Other bytes under a pinned name are not taken, whoever serves them.
#[tokio::test]
async fn pinned_files_must_be_the_published_ones() {
    let (server, dir) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    const REPOSITORY: &str = "depth-anything/Depth-Anything-V2-Small-hf";
    for file in ["config.json", "preprocessor_config.json"] {
        server.put(REPOSITORY, file, CONFIG, false);
    }
    server.put(REPOSITORY, "model.safetensors", &weights(), true);
    let name = "depth-anything-v2-small";
    let (code, _, err) = run(dragunov(&server, dir.path(), &["models", "pull", name])).await;
    assert_ne!(code, 0);
    assert!(err.contains("sha256") && err.contains("config.json"), "{err}");
    let (code, ..) = run(dragunov(&server, dir.path(), &["models", "verify", name])).await;
    assert_ne!(code, 0);
}

#[tokio::test]
async fn non_commercial_models_need_consent() {
    let (server, dir) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    let (code, _, err) = run(dragunov(&server, dir.path(), &["models", "pull", "base"])).await;
    assert_eq!(code, 2);
    assert!(
        err.contains("CC-BY-NC-4.0") && err.contains("--accept-non-commercial"),
        "{err}"
    );
    assert!(server.log().revisions.is_empty());
    let args = [
        "models",
        "pull",
        "depth-anything-v2-base",
        "--accept-non-commercial",
    ];
    let (code, _, err) = run(dragunov(&server, dir.path(), &args)).await;
    assert!(
        code == 1 && err.contains("not found"),
        "consent leads on to the hub: {err}"
    );
    let (code, _, err) = run(dragunov(&server, dir.path(), &["models", "pull", "enormous"])).await;
    assert!(code == 2 && err.contains("mobile"), "{err}");
}
