//! `models list | pull | verify` against a server on the loopback that speaks the hub's routes.
#![allow(clippy::unwrap_used, unreachable_pub)]

#[path = "weights/hub.rs"]
mod hub;

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use dragunov::weights_pull::{Event, Hub, HubConfig, PullError, Pulled, pull};
use dragunov_models::weights::{Catalogue, FileState, HubCache, Model, Places};
use hub::{COMMIT, FakeHub, Fault, sha256};

const CONFIG: &[u8] = br#"{"model_type": "depth_anything"}"#;

fn weights() -> Vec<u8> {
    (0..300_000u32)
        .flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect()
}

/// A table with one model of one small and one large file; `extra` goes into the large one's entry.
fn model(extra: &str) -> Model {
    let text = format!(
        "[sets]\n[models.m]\nrole='depth'\nrepository='acme/m'\nrevision='main'\nlicence='Apache-2.0'\n\
         files=[{{path='config.json'}}, {{path='model.safetensors' {extra}}}]"
    );
    let table = Catalogue::parse(&text).unwrap();
    table.find("m").unwrap()[0].clone()
}

fn cache(dir: &Path) -> HubCache {
    HubCache::new(&Places {
        hub_cache: Some(dir.join("hub")),
        ..Places::default()
    })
}

fn client(server: &FakeHub, token: Option<&str>) -> Hub {
    Hub::new(HubConfig {
        endpoint: server.url(),
        token: token.map(|t| t.to_owned().into()),
        attempts: 3,
        pause: Duration::from_millis(1),
        read_timeout: Duration::from_secs(5),
        ..HubConfig::default()
    })
    .unwrap()
}

async fn serve() -> FakeHub {
    let server = FakeHub::start().await;
    server.put("acme/m", "config.json", CONFIG, false);
    server.put("acme/m", "model.safetensors", &weights(), true);
    server
}

async fn quiet(hub: &Hub, cache: &HubCache, model: &Model) -> Result<Pulled, PullError> {
    pull(hub, cache, model, &|_| {}).await
}

fn repository(cache: &HubCache) -> std::path::PathBuf {
    cache.root().join("models--acme--m")
}

fn leftovers(cache: &HubCache) -> Vec<(String, u64)> {
    let blobs = std::fs::read_dir(repository(cache).join("blobs")).unwrap();
    blobs
        .map(|e| e.unwrap())
        .map(|e| (e.file_name().into_string().unwrap(), e.metadata().unwrap().len()))
        .filter(|(name, _)| name.ends_with(".incomplete"))
        .collect()
}

#[tokio::test]
async fn a_pull_makes_the_hubs_layout_and_a_second_one_fetches_nothing() {
    let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
    let (cache, model) = (cache(dir.path()), model(""));
    assert!(cache.folder(&model).is_none());
    let pulled = quiet(&client(&server, None), &cache, &model).await.unwrap();
    assert_eq!(pulled.commit, COMMIT);
    let repository = repository(&cache);
    assert_eq!(
        std::fs::read_to_string(repository.join("refs/main")).unwrap(),
        COMMIT
    );
    assert_eq!(pulled.folder, repository.join("snapshots").join(COMMIT));
    assert_eq!(
        std::fs::read(pulled.folder.join("model.safetensors")).unwrap(),
        weights()
    );
    assert_eq!(std::fs::read(pulled.folder.join("config.json")).unwrap(), CONFIG);
    let link = std::fs::read_link(pulled.folder.join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(sha256(&weights())));
    assert_eq!(pulled.hashes.0["model.safetensors"], sha256(&weights()));
    assert!(leftovers(&cache).is_empty());

    let gets = server.log().gets.len();
    assert_eq!(gets, 2);
    let again = quiet(&client(&server, None), &cache, &model).await.unwrap();
    assert_eq!(again, pulled);
    assert_eq!(server.log().gets.len(), gets);
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_is_resumed_where_it_broke() {
    let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
    let (cache, model) = (cache(dir.path()), model(""));
    // Twice: after 400000 bytes, and after 400000 more.
    server.fail(
        "model.safetensors",
        [Fault::CutAfter(400_000), Fault::CutAfter(400_000)],
    );
    let retries = Mutex::new(0);
    let progress = |event: Event<'_>| {
        if let Event::Retry { .. } = event {
            *retries.lock().unwrap() += 1;
        }
    };
    let pulled = pull(&client(&server, None), &cache, &model, &progress)
        .await
        .unwrap();
    assert_eq!(
        std::fs::read(pulled.folder.join("model.safetensors")).unwrap(),
        weights()
    );
    assert_eq!(*retries.lock().unwrap(), 2);
    let ranges: Vec<_> = server
        .log()
        .gets
        .into_iter()
        .filter(|g| g.0 == "model.safetensors")
        .map(|g| g.1)
        .collect();
    assert_eq!(ranges.len(), 3);
    assert_eq!(ranges[0], None);
    let start = |r: &Option<String>| {
        r.as_deref()
            .unwrap()
            .trim_matches(|c: char| !c.is_ascii_digit())
            .parse::<usize>()
            .unwrap()
    };
    let (first, second) = (start(&ranges[1]), start(&ranges[2]));
    assert!(
        0 < first && first < second && second < weights().len(),
        "{ranges:?}"
    );
}

#[tokio::test]
async fn an_interrupted_pull_is_never_used_and_goes_on_later() {
    let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
    let (cache, model) = (cache(dir.path()), model(""));
    server.fail(
        "model.safetensors",
        [
            Fault::CutAfter(500_000),
            Fault::Status(503),
            Fault::Status(503),
            Fault::Status(503),
        ],
    );
    let error = quiet(&client(&server, None), &cache, &model).await.unwrap_err();
    assert!(matches!(error, PullError::Broken { .. }), "{error}");
    assert!(cache.folder(&model).is_none());
    assert!(cache.snapshot(&model).is_none());
    assert!(!repository(&cache).join("refs/main").exists());
    let left = leftovers(&cache);
    assert!(left.len() == 1 && left[0].1 > 0, "{left:?}");

    let from = Mutex::new(None);
    let progress = |event: Event<'_>| {
        if let Event::Start {
            file: "model.safetensors",
            have,
            ..
        } = event
        {
            *from.lock().unwrap() = Some(have);
        }
    };
    let pulled = pull(&client(&server, None), &cache, &model, &progress)
        .await
        .unwrap();
    assert_eq!(*from.lock().unwrap(), Some(left[0].1));
    assert_eq!(
        std::fs::read(pulled.folder.join("model.safetensors")).unwrap(),
        weights()
    );
}

#[tokio::test]
async fn a_server_that_ignores_ranges_is_read_from_the_start() {
    let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
    let (cache, model) = (cache(dir.path()), model(""));
    server.fail(
        "model.safetensors",
        [Fault::CutAfter(500_000), Fault::IgnoreRange],
    );
    let pulled = quiet(&client(&server, None), &cache, &model).await.unwrap();
    assert_eq!(
        std::fs::read(pulled.folder.join("model.safetensors")).unwrap(),
        weights()
    );
}

#[tokio::test]
async fn wrong_bytes_are_thrown_away() {
    for (extra, corrupt) in [
        (format!(", sha256='{}'", "a".repeat(64)), false), // not what the table pins
        (String::new(), true),                             // not what the hub itself says
    ] {
        let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
        let (cache, model) = (cache(dir.path()), model(&extra));
        if corrupt {
            server.fail("model.safetensors", [Fault::Corrupt]);
        }
        let error = quiet(&client(&server, None), &cache, &model).await.unwrap_err();
        assert!(matches!(error, PullError::Hash { .. }), "{error}");
        assert!(cache.folder(&model).is_none());
        assert!(leftovers(&cache).is_empty());
        assert!(!repository(&cache).join("blobs").join(sha256(&weights())).exists());
    }
}

#[tokio::test]
async fn refusals_are_typed() {
    let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
    let (cache, model) = (cache(dir.path()), model(""));
    server.require_token("right");
    let refused = quiet(&client(&server, None), &cache, &model).await.unwrap_err();
    assert!(
        matches!(refused, PullError::Refused { status: 401, .. }),
        "{refused}"
    );
    let wrong = client(&server, Some("wrong-token"));
    let refused = quiet(&wrong, &cache, &model).await.unwrap_err();
    assert!(!format!("{refused} {refused:?} {wrong:?}").contains("wrong-token"));
    quiet(&client(&server, Some("right")), &cache, &model)
        .await
        .unwrap();

    let empty = FakeHub::start().await;
    let other = tempfile::tempdir().unwrap();
    let error = quiet(&client(&empty, None), &self::cache(other.path()), &model)
        .await
        .unwrap_err();
    assert!(matches!(error, PullError::NotFound { .. }), "{error}");
}

#[tokio::test]
async fn the_token_goes_to_the_hub_and_nowhere_else() {
    let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
    let cache = cache(dir.path());
    quiet(&client(&server, Some("secret")), &cache, &model(""))
        .await
        .unwrap();
    let log = server.log();
    assert!(
        log.hub_tokens
            .iter()
            .all(|t| t.as_deref() == Some("Bearer secret"))
    );
    assert!(!log.storage_tokens.is_empty());
    assert!(
        log.storage_tokens.iter().all(Option::is_none),
        "{:?}",
        log.storage_tokens
    );

    for endpoint in ["http://example.com", "ftp://example.com", "nonsense"] {
        let config = HubConfig {
            endpoint: endpoint.into(),
            token: Some("secret".to_owned().into()),
            ..HubConfig::default()
        };
        assert!(
            matches!(Hub::new(config), Err(PullError::Endpoint(_))),
            "{endpoint}"
        );
    }
}

#[tokio::test]
async fn all_files_come_from_one_commit() {
    let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
    let (cache, model) = (cache(dir.path()), model(""));
    server.move_branch_after_first_look();
    let pulled = quiet(&client(&server, None), &cache, &model).await.unwrap();
    assert_eq!(pulled.commit, COMMIT);
    assert_eq!(server.log().revisions, ["main", COMMIT]);
}

#[tokio::test]
async fn offline_uses_the_cache_and_opens_no_connection() {
    let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
    let (cache, model) = (cache(dir.path()), model(""));
    let offline = Hub::new(HubConfig {
        endpoint: server.url(),
        offline: true,
        ..HubConfig::default()
    })
    .unwrap();
    let error = quiet(&offline, &cache, &model).await.unwrap_err();
    assert!(matches!(error, PullError::Offline(_)), "{error}");
    assert!(server.log().revisions.is_empty());
    let pulled = quiet(&client(&server, None), &cache, &model).await.unwrap();
    let asked = server.log().revisions.len();
    assert_eq!(quiet(&offline, &cache, &model).await.unwrap(), pulled);
    assert_eq!(server.log().revisions.len(), asked);
}

#[tokio::test]
async fn a_read_only_cache_serves_what_it_has() {
    let (server, mounted, own) = (
        serve().await,
        tempfile::tempdir().unwrap(),
        tempfile::tempdir().unwrap(),
    );
    let model = model("");
    quiet(&client(&server, None), &cache(mounted.path()), &model)
        .await
        .unwrap();
    let both = HubCache::new(&Places {
        hub_cache: Some(own.path().join("hub")),
        shared: vec![mounted.path().join("hub")],
        ..Places::default()
    });
    assert!(both.folder(&model).unwrap().starts_with(mounted.path()));
}

#[tokio::test]
async fn a_publisher_without_config_gets_one_beside_the_cache() {
    let (server, dir) = (FakeHub::start().await, tempfile::tempdir().unwrap());
    server.put("acme/m", "odd-name.safetensors", &weights(), true);
    let text = "[sets]\n[models.m]\nrole='sam'\nrepository='acme/m'\nrevision='main'\nlicence='Apache-2.0'\n\
                config='{\"a\": 1}'\nfiles=[{path='odd-name.safetensors', as='model.safetensors'}]";
    let table = Catalogue::parse(text).unwrap();
    let (cache, model) = (cache(dir.path()), table.find("m").unwrap()[0]);
    let pulled = quiet(&client(&server, None), &cache, model).await.unwrap();
    assert_eq!(
        std::fs::read(pulled.folder.join("config.json")).unwrap(),
        br#"{"a": 1}"#
    );
    assert_eq!(
        std::fs::read(pulled.folder.join("model.safetensors")).unwrap(),
        weights()
    );
    assert_eq!(cache.folder(model), Some(pulled.folder));
}

#[tokio::test]
async fn verify_tells_pinned_unpinned_and_damaged_apart() {
    let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
    let cache = cache(dir.path());
    let pinned = model(&format!(", sha256='{}'", sha256(&weights())));
    assert!(cache.verify(&pinned).is_err(), "nothing is there yet");
    let pulled = quiet(&client(&server, None), &cache, &pinned).await.unwrap();
    let states = |model: &Model| -> Vec<FileState> {
        cache
            .verify(model)
            .unwrap()
            .into_iter()
            .map(|c| c.state)
            .collect()
    };
    assert_eq!(
        states(&pinned),
        [FileState::Unpinned { recorded: true }, FileState::Pinned]
    );

    let mut bytes = weights();
    bytes[77] ^= 1;
    std::fs::write(pulled.folder.join("model.safetensors"), bytes).unwrap();
    std::fs::write(pulled.folder.join("config.json"), b"{}").unwrap();
    for model in [pinned, model("")] {
        for state in states(&model) {
            assert!(matches!(state, FileState::Mismatch { .. }), "{state:?}");
        }
    }
}

mod command {
    use super::*;
    use assert_cmd::Command;

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
        const REPOSITORY: &str = "depth-anything/Depth-Anything-V2-Metric-Indoor-Small-hf";
        for file in ["config.json", "preprocessor_config.json"] {
            server.put(REPOSITORY, file, CONFIG, false);
        }
        server.put(REPOSITORY, "model.safetensors", &weights(), true);
        let name = "depth-anything-v2-metric-indoor-small";

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
            .join("hub/models--depth-anything--Depth-Anything-V2-Metric-Indoor-Small-hf/blobs")
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
}
