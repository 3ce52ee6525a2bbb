//! Pulling: the layout, what comes from where, what is not asked twice.

use std::path::Path;

use dragunov::weights_pull::{Hub, HubConfig, PullError};
use dragunov_models::weights::{Catalogue, FileState, HubCache, Model, Places};

use crate::hub::{COMMIT, FakeHub, sha256};
use crate::{CONFIG, cache, client, leftovers, model, quiet, repository, serve, weights};

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
