//! Job records on disk: one embedded database, one writer thread, every commit fsynced and shared by all who wait.
//!
//! A write that fails (a full disk, most often) closes the database. Until it can be opened and written again, changes
//! are refused or kept back, and [`Disk::is_well`] says so.

mod damage;
mod load;

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use redb::{Database, TableDefinition};
use serde_json::value::RawValue;
use tokio::sync::{oneshot, watch};

use super::Record;
use crate::telemetry::names;
pub use load::Found;

/// Id to the record as JSON, without its input.
const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
/// Id to the input's JSON text, apart because it may be megabytes and never changes.
const INPUTS: TableDefinition<&str, &[u8]> = TableDefinition::new("inputs");
/// Facts of the store itself.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Records that could not be read, by id, as they are.
const UNREADABLE: TableDefinition<&str, &[u8]> = TableDefinition::new("unreadable");
/// In [`META`]: the jobs' time at the last commit.
const LAST_MS: &str = "last_ms";
/// In [`META`]: the process was told to stop; jobs still running when it ended did not end it.
const STOPPING: &str = "stopping";
/// Most changes that share one commit.
const MAX_GROUP: usize = 256;
/// Of the database's pages in memory; records are in memory anyway.
const CACHE: usize = 16 << 20;
/// Between attempts to open the database again.
const REOPEN: Duration = Duration::from_millis(500);

/// Why the store could not be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DiskError {
    #[error("cannot use the state directory {path}: {source}")]
    Directory {
        path: PathBuf,
        source: Arc<std::io::Error>,
    },
    #[error("the job database {path} is in use by another process")]
    InUse { path: PathBuf },
    #[error("the job database {path} cannot be opened: {source}")]
    Open { path: PathBuf, source: Arc<redb::Error> },
    #[error(
        "the job database {path} is damaged ({why}); start once with --set-aside-damaged-state to keep it beside and \
         begin anew"
    )]
    Damaged { path: PathBuf, why: String },
    #[error("the job database: {0}")]
    Database(Arc<redb::Error>),
    #[error("the record of job {id} cannot be written as JSON: {source}")]
    Record {
        id: String,
        source: Arc<serde_json::Error>,
    },
    #[error("the job database cannot be written at the moment")]
    Unwell,
    #[error("the job database's writer has ended")]
    Closed,
}

impl DiskError {
    fn db(error: impl Into<redb::Error>) -> Self {
        Self::Database(Arc::new(error.into()))
    }
}

/// One change.
#[derive(Debug)]
pub enum Change {
    /// The record; with its input when it is new.
    Put(Box<Record>, Option<Arc<RawValue>>),
    DropInput(String),
    Remove(String),
    /// Whether the process was told to stop.
    Stopping(bool),
}

type Ack = oneshot::Sender<Result<(), DiskError>>;
type Opener = Box<dyn Fn() -> Result<Database, redb::DatabaseError> + Send>;

struct Request {
    change: Change,
    now_ms: u64,
    ack: Option<Ack>,
}

/// Handle on the writer thread; the thread ends with it.
#[derive(Debug)]
pub struct Disk {
    writer: mpsc::Sender<Request>,
    well: watch::Receiver<bool>,
}

impl Disk {
    /// Opens or creates `dir/jobs.redb` and reads what is there. A damaged file is moved aside if `set_aside` says so.
    ///
    /// # Errors
    /// [`DiskError`], naming the path.
    pub fn open(dir: &Path, set_aside: bool) -> Result<(Self, Found), DiskError> {
        let path = damage::prepare(dir)?;
        match Self::open_file(&path) {
            Err(DiskError::Damaged { why, .. }) if set_aside => {
                damage::set_aside(&path, &why)?;
                Self::open_file(&path)
            }
            other => other,
        }
    }

    fn open_file(path: &Path) -> Result<(Self, Found), DiskError> {
        let (db, found) = damage::guarded(path, || {
            let db = open_at(path).map_err(|e| damage::of_open(path, e))?;
            let found = load::all(&db)?;
            Ok((db, found))
        })?;
        damage::keep_private(path)?;
        let again = path.to_owned();
        let disk = Self::start(db, Box::new(move || open_at(&again))).map_err(|e| DiskError::Directory {
            path: path.into(),
            source: Arc::new(e),
        })?;
        Ok((disk, found))
    }

    fn start(db: Database, opener: Opener) -> std::io::Result<Self> {
        let (writer, requests) = mpsc::channel();
        let (tell, well) = watch::channel(true);
        std::thread::Builder::new()
            .name("job-store".into())
            .spawn(move || {
                Writer {
                    db: Some(db),
                    opener,
                    tell,
                    tried: Instant::now(),
                    kept_back: Vec::new(),
                }
                .run(&requests);
            })?;
        Ok(Self { writer, well })
    }

    /// Returns when the change is on disk.
    ///
    /// # Errors
    /// [`DiskError`]; the change was not made and will not be.
    pub async fn write(&self, change: Change, now_ms: u64) -> Result<(), DiskError> {
        let (ack, done) = oneshot::channel();
        let request = Request {
            change,
            now_ms,
            ack: Some(ack),
        };
        self.writer.send(request).map_err(|_| DiskError::Closed)?;
        done.await.map_err(|_| DiskError::Closed)?
    }

    /// Writes soon, or as soon as the disk can be written again.
    pub fn write_later(&self, change: Change, now_ms: u64) {
        let ack = None;
        let _ = self.writer.send(Request { change, now_ms, ack });
    }

    pub fn is_well(&self) -> bool {
        *self.well.borrow()
    }

    /// Resolves when the disk can be written.
    pub async fn until_well(&self) {
        let mut well = self.well.clone();
        if well.wait_for(|well| *well).await.is_err() {
            // The writer has ended; so will the process.
            std::future::pending::<()>().await;
        }
    }
}

fn open_at(path: &Path) -> Result<Database, redb::DatabaseError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE).set_check_integrity_on_open(true);
    builder.create(path)
}

struct Writer {
    db: Option<Database>,
    opener: Opener,
    tell: watch::Sender<bool>,
    /// When it was last tried to open the database.
    tried: Instant,
    /// Changes nobody waits for that could not be written yet, in order.
    kept_back: Vec<(Change, u64)>,
}

impl Writer {
    fn run(mut self, requests: &mpsc::Receiver<Request>) {
        loop {
            let first = if self.db.is_some() {
                requests.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected)
            } else {
                requests.recv_timeout(REOPEN)
            };
            let mut group = match first {
                Ok(first) => vec![first],
                Err(mpsc::RecvTimeoutError::Timeout) => Vec::new(),
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            };
            group.extend(requests.try_iter().take(MAX_GROUP - 1));
            self.revive();
            let begun = Instant::now();
            let result = match &self.db {
                None => Err(DiskError::Unwell),
                Some(db) => commit(db, group.iter().map(|r| (&r.change, r.now_ms))),
            };
            metrics::histogram!(names::STORE_COMMIT_SECONDS).record(begun.elapsed().as_secs_f64());
            if let (Err(error), true) = (&result, self.db.is_some()) {
                tracing::error!(
                    changes = group.len(),
                    "job store: {error}; no jobs are taken until it can be written"
                );
                // After a failed write the database refuses all others: it has to be opened anew.
                self.db = None;
                self.tried = Instant::now();
                self.tell.send_replace(false);
            }
            for request in group {
                match request.ack {
                    Some(ack) => drop(ack.send(result.clone())),
                    None if result.is_err() => self.kept_back.push((request.change, request.now_ms)),
                    None => {}
                }
            }
        }
    }

    /// Opens the database again and writes what was kept back.
    fn revive(&mut self) {
        if self.db.is_some() || self.tried.elapsed() < REOPEN {
            return;
        }
        self.tried = Instant::now();
        let opened = (self.opener)().map_err(DiskError::db);
        let written = opened.and_then(|db| {
            commit(&db, self.kept_back.iter().map(|(change, at)| (change, *at)))?;
            Ok(db)
        });
        match written {
            Ok(db) => {
                self.kept_back.clear();
                self.db = Some(db);
                self.tell.send_replace(true);
                tracing::info!("job store: the disk can be written again");
            }
            Err(error) => tracing::debug!("job store: {error}"),
        }
    }
}

/// One transaction; redb's default durability fsyncs before `commit` returns.
fn commit<'a>(db: &Database, changes: impl Iterator<Item = (&'a Change, u64)>) -> Result<(), DiskError> {
    let write = db.begin_write().map_err(DiskError::db)?;
    {
        let mut records = write.open_table(RECORDS).map_err(DiskError::db)?;
        let mut inputs = write.open_table(INPUTS).map_err(DiskError::db)?;
        let mut meta = write.open_table(META).map_err(DiskError::db)?;
        let mut last_ms: Option<u64> = None;
        for (change, now_ms) in changes {
            last_ms = last_ms.max(Some(now_ms));
            match change {
                Change::Put(record, input) => {
                    let bytes = serde_json::to_vec(record).map_err(|e| DiskError::Record {
                        id: record.id.clone(),
                        source: Arc::new(e),
                    })?;
                    records
                        .insert(record.id.as_str(), bytes.as_slice())
                        .map_err(DiskError::db)?;
                    if let Some(raw) = input {
                        inputs
                            .insert(record.id.as_str(), raw.get().as_bytes())
                            .map_err(DiskError::db)?;
                    }
                }
                Change::DropInput(id) => {
                    inputs.remove(id.as_str()).map_err(DiskError::db)?;
                }
                Change::Remove(id) => {
                    records.remove(id.as_str()).map_err(DiskError::db)?;
                    inputs.remove(id.as_str()).map_err(DiskError::db)?;
                }
                Change::Stopping(yes) => {
                    meta.insert(STOPPING, u64::from(*yes)).map_err(DiskError::db)?;
                }
            }
        }
        if let Some(last_ms) = last_ms {
            meta.insert(LAST_MS, last_ms).map_err(DiskError::db)?;
        }
    }
    write.commit().map_err(DiskError::db)
}

#[cfg(test)]
mod tests;
