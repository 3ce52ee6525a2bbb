//! Transfers that break, and bytes that are not the published ones.

use std::sync::Mutex;

use dragunov::weights_pull::{Event, PullError, pull};

use crate::hub::{Fault, sha256};
use crate::{cache, client, leftovers, model, quiet, repository, serve, weights};

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

/// A file of the right size that is not what was put there: found by its hash, and fetched anew.
#[tokio::test]
async fn a_damaged_file_in_the_cache_is_fetched_anew() {
    let (server, dir) = (serve().await, tempfile::tempdir().unwrap());
    let (cache, model) = (cache(dir.path()), model(""));
    let pulled = quiet(&client(&server, None), &cache, &model).await.unwrap();
    let file = pulled.folder.join("model.safetensors");
    let mut bytes = weights();
    bytes[77] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let again = quiet(&client(&server, None), &cache, &model).await.unwrap();
    assert_eq!(again, pulled);
    assert_eq!(std::fs::read(&file).unwrap(), weights());
}
