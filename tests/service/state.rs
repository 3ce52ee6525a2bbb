//! What a store finds in its directory: damaged files, unreadable records, jobs of another day.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dragunov::jobs::disk::{Disk, DiskError, Found};
use dragunov::jobs::{Clock, Limits, Policy, Store, Submission};
use redb::{Database, TableDefinition};
use serde_json::json;
use serde_json::value::RawValue;

use crate::app::TestApp;
use crate::patience::until;

fn job() -> Submission {
    Submission {
        input: Arc::from(RawValue::from_string("{\"mock_return\":1}".into()).unwrap()),
        webhook: None,
        policy: Policy::default(),
        s3: None,
        sync: false,
    }
}

/// A store that was dropped closes its file on a thread of its own.
async fn disk(dir: &Path, set_aside: bool) -> Result<(Disk, Found), DiskError> {
    let mut opened = Disk::open(dir, set_aside);
    until("the file is let go", async || {
        if matches!(opened, Err(DiskError::InUse { .. })) {
            opened = Disk::open(dir, set_aside);
        }
        !matches!(opened, Err(DiskError::InUse { .. }))
    })
    .await;
    opened
}

async fn open(dir: &Path, set_aside: bool, clock: &Clock) -> Result<Store, DiskError> {
    let disk = disk(dir, set_aside).await?;
    Ok(Store::over(Some(disk), Limits::default(), clock.clone(), "w").0)
}

/// The file itself, when whatever the store still had to write is written.
async fn database(dir: &Path) -> Database {
    let mut opened = None;
    until("the file is let go", async || {
        opened = Database::create(dir.join("jobs.redb")).ok();
        opened.is_some()
    })
    .await;
    opened.unwrap()
}

/// What a broken disk does to a file.
type Damage = fn(&mut Vec<u8>);

async fn with_jobs(dir: &Path, n: usize) -> Vec<String> {
    let store = open(dir, false, &Clock::default()).await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..n {
        ids.push(store.submit(job()).await.unwrap().id);
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn the_directory_is_for_its_owner_only() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("a/state");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    with_jobs(&dir, 1).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("jobs.redb")), 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_says_what_to_do_and_can_be_set_aside() {
    let damages: [(&str, Damage); 5] = [
        ("its head zeroed", |b| b[..4096].fill(0)),
        ("cut in half", |b| b.truncate(b.len() / 2)),
        ("cut to some bytes", |b| b.truncate(100)),
        ("overwritten", |b| b.iter_mut().for_each(|x| *x = 0x5A)),
        ("its pages zeroed", |b| b[4096..].fill(0)),
    ];
    for (what, damage) in damages {
        let dir = tempfile::tempdir().unwrap();
        with_jobs(dir.path(), 3).await;
        let file = dir.path().join("jobs.redb");
        drop(database(dir.path()).await);
        let mut bytes = std::fs::read(&file).unwrap();
        damage(&mut bytes);
        std::fs::write(&file, bytes).unwrap();
        let error = open(dir.path(), false, &Clock::default()).await.unwrap_err();
        assert!(
            error.to_string().contains("--set-aside-damaged-state"),
            "{what}: {error}"
        );
        let store = open(dir.path(), true, &Clock::default()).await.unwrap();
        store.submit(job()).await.unwrap();
        let kept = std::fs::read_dir(dir.path()).unwrap();
        let kept = kept.filter(|e| {
            e.as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .contains("damaged")
        });
        assert_eq!(kept.count(), 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_unreadable_record_is_put_aside() {
    let dir = tempfile::tempdir().unwrap();
    let ids = with_jobs(dir.path(), 2).await;
    drop(open(dir.path(), false, &Clock::default()).await.unwrap());
    let records: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
    {
        let db = database(dir.path()).await;
        let write = db.begin_write().unwrap();
        let mut table = write.open_table(records).unwrap();
        table.insert("odd", b"no record".as_slice()).unwrap();
        table.insert(ids[0].as_str(), b"{\"id\":1}".as_slice()).unwrap();
        drop(table);
        write.commit().unwrap();
    }
    let store = open(dir.path(), false, &Clock::default()).await.unwrap();
    assert!(store.status(&ids[0]).is_none() && store.status(&ids[1]).is_some());
    drop(store);
    // It is not told of again, and not gone.
    let (_, found) = disk(dir.path(), false).await.unwrap();
    assert_eq!(found.records.len(), 1);
}

/// Jobs age while the service runs: a clock that is set to another day, and a stop of any length, delete none.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_deletes_no_jobs() {
    let dir = tempfile::tempdir().unwrap();
    let ids = with_jobs(dir.path(), 1).await;
    let later = Clock::default();
    later.advance(Duration::from_secs(2 * 86_400));
    let store = open(dir.path(), false, &later).await.unwrap();
    store.sweep();
    assert!(store.status(&ids[0]).is_some());
    later.advance(Duration::from_secs(86_400));
    store.sweep();
    assert!(store.status(&ids[0]).is_none(), "its own day is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_whose_webhook_is_due_is_not_forgotten() {
    let app = TestApp::with(|k| {
        k.limits.kept = 2;
        k.limits.bytes = 40_000;
        k.serve.webhooks.pause = Duration::from_secs(600);
    })
    .await;
    // Nobody listens there.
    let owed = json!({"input": {"mock_return": "x".repeat(8000)}, "webhook": "http://127.0.0.1:1/"});
    let (_, view) = app.post("/run", &owed).await;
    let owed = view["id"].as_str().unwrap().to_owned();
    app.ended(&owed).await;
    for _ in 0..8 {
        let id = app.run(json!({"mock_return": "y".repeat(8000)})).await;
        app.ended(&id).await;
    }
    let (status, view) = app.get(&format!("/status/{owed}")).await;
    assert_eq!((status, &view["status"]), (200, &json!("COMPLETED")));
}
