//! A disk that is full for a while.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redb::backends::InMemoryBackend;
use redb::{Database, StorageBackend};
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use super::{Disk, Found, load};
use crate::jobs::{Clock, Limits, Policy, Status, Store, StoreError, Submission};
use crate::runpod::Outcome;

#[derive(Debug, Clone, Default)]
struct Filling {
    bytes: Arc<InMemoryBackend>,
    full: Arc<AtomicBool>,
}

impl Filling {
    fn room(&self) -> Result<(), std::io::Error> {
        match self.full.load(Ordering::SeqCst) {
            true => Err(std::io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }

    fn open(&self) -> Result<Database, redb::DatabaseError> {
        Database::builder().create_with_backend(self.clone())
    }

    fn store(&self) -> (Store, mpsc::UnboundedReceiver<String>) {
        let db = self.open().unwrap();
        let found = load::all(&db).unwrap();
        let again = self.clone();
        let disk = Disk::start(db, Box::new(move || again.open())).unwrap();
        Store::over(Some((disk, found)), Limits::default(), Clock::default(), "w")
    }
}

impl StorageBackend for Filling {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.bytes.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.bytes.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.room()?;
        self.bytes.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        self.room()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        self.room()?;
        self.bytes.write(offset, data)
    }
}

fn job(n: u32) -> Submission {
    Submission {
        input: Arc::from(RawValue::from_string(format!("{{\"n\":{n}}}")).unwrap()),
        webhook: None,
        policy: Policy::default(),
        s3: None,
        sync: false,
    }
}

async fn submit(store: &Store, n: u32) -> String {
    store.submit(job(n)).await.unwrap().id
}

async fn well(store: &Store) {
    for _ in 0..1000 {
        if store.is_well() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the store does not recover");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_loses_nothing_and_recovers() {
    let disk = Filling::default();
    let (store, _due) = disk.store();
    let failed = submit(&store, 1).await;
    assert_eq!(store.next().await.id, failed);
    assert!(
        store
            .end(&failed, Status::Failed, Outcome::plain_error("why"))
            .await
    );
    let waiting = submit(&store, 2).await;
    let running = submit(&store, 3).await;
    assert_eq!(store.next().await.id, waiting);
    assert_eq!(store.next().await.id, running);

    disk.full.store(true, Ordering::SeqCst);
    assert!(matches!(store.submit(job(4)).await, Err(StoreError::Disk(_))));
    assert!(!store.is_well());
    assert!(matches!(store.retry(&failed).await, Err(StoreError::Disk(_))));
    let view = store.view(&failed).unwrap();
    assert_eq!(
        (view.status, view.error.as_deref()),
        (Status::Failed, Some("why"))
    );
    assert!(matches!(store.cancel(&waiting).await, Err(StoreError::Disk(_))));
    // A result waits for the disk instead of being told and then taken back.
    let (other, id) = (store.clone(), running.clone());
    let output = Outcome {
        output: Some(7.into()),
        ..Outcome::default()
    };
    let end = tokio::spawn(async move { other.end(&id, Status::Completed, output).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(store.status(&running), Some(Status::InQueue));

    disk.full.store(false, Ordering::SeqCst);
    well(&store).await;
    assert!(end.await.unwrap());
    assert_eq!(store.view(&running).unwrap().output, Some(7.into()));
    let after = submit(&store, 5).await;
    store.retry(&failed).await.unwrap();
    drop(store);

    // All of it is on disk: what the next process finds.
    let mut found = Found::default();
    for _ in 0..500 {
        if let Ok(db) = disk.open() {
            found = load::all(&db).unwrap();
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let status = |id: &str| found.records.iter().find(|r| r.id == id).map(|r| r.status);
    assert_eq!(found.records.len(), 4);
    for (id, want) in [
        (&failed, Status::InQueue),
        (&waiting, Status::InQueue),
        (&running, Status::Completed),
        (&after, Status::InQueue),
    ] {
        assert_eq!(status(id), Some(want));
    }
}

/// The next job is not handed out while its crash could not be noticed.
#[tokio::test(flavor = "multi_thread")]
async fn jobs_wait_for_the_disk() {
    let disk = Filling::default();
    let (store, _due) = disk.store();
    let id = submit(&store, 1).await;
    disk.full.store(true, Ordering::SeqCst);
    let next = tokio::time::timeout(Duration::from_millis(300), store.next()).await;
    assert!(next.is_err(), "handed out");
    assert_eq!(store.unfinished(), 1);
    disk.full.store(false, Ordering::SeqCst);
    let next = tokio::time::timeout(Duration::from_secs(30), store.next()).await;
    assert_eq!(next.unwrap().id, id);
}
