//! Job records on disk: one embedded database, one writer thread, every commit fsynced and shared by all who wait.

use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Instant;

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::Record;
use crate::telemetry::names;

/// Id to the record as JSON, without its input.
const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");
/// Id to the input's JSON text, apart because it may be megabytes and never changes.
const INPUTS: TableDefinition<&str, &[u8]> = TableDefinition::new("inputs");
/// Most changes that share one commit.
const MAX_GROUP: usize = 256;

/// Why the store could not be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum DiskError {
    #[error("cannot use the state directory {path}: {source}")]
    Directory {
        path: PathBuf,
        source: Arc<std::io::Error>,
    },
    #[error("the job database {path} cannot be opened: {source} (is another process using it?)")]
    Open { path: PathBuf, source: Arc<redb::Error> },
    #[error("the job database: {0}")]
    Database(Arc<redb::Error>),
    #[error("the record of job {id} in the database is not readable: {source}")]
    Record {
        id: String,
        source: Arc<serde_json::Error>,
    },
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
}

type Ack = oneshot::Sender<Result<(), DiskError>>;

/// Handle on the writer thread; the thread ends with it.
#[derive(Debug)]
pub struct Disk {
    writer: mpsc::Sender<(Change, Option<Ack>)>,
}

impl Disk {
    /// Opens or creates `dir/jobs.redb` and reads every record, with its input, in order of acceptance.
    ///
    /// # Errors
    /// [`DiskError`], naming the path.
    pub fn open(dir: &Path) -> Result<(Self, Vec<Record>), DiskError> {
        std::fs::create_dir_all(dir).map_err(|e| DiskError::Directory {
            path: dir.into(),
            source: Arc::new(e),
        })?;
        let path = dir.join("jobs.redb");
        let db = Database::create(&path).map_err(|e| DiskError::Open {
            path: path.clone(),
            source: Arc::new(e.into()),
        })?;
        // Inputs are people's photos, and jobs may carry the keys of their own buckets.
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map_err(|e| {
            DiskError::Directory {
                path: path.clone(),
                source: Arc::new(e),
            }
        })?;
        let records = load(&db)?;
        let (writer, changes) = mpsc::channel();
        std::thread::Builder::new()
            .name("job-store".into())
            .spawn(move || write_loop(&db, &changes))
            .map_err(|e| DiskError::Directory {
                path,
                source: Arc::new(e),
            })?;
        Ok((Self { writer }, records))
    }

    /// Returns when the change is on disk.
    ///
    /// # Errors
    /// [`DiskError`]; the change may then be lost at the next start.
    pub async fn write(&self, change: Change) -> Result<(), DiskError> {
        let (ack, done) = oneshot::channel();
        self.writer
            .send((change, Some(ack)))
            .map_err(|_| DiskError::Closed)?;
        done.await.map_err(|_| DiskError::Closed)?
    }

    /// Writes soon; a failure is logged by the writer.
    pub fn write_later(&self, change: Change) {
        let _ = self.writer.send((change, None));
    }
}

fn load(db: &Database) -> Result<Vec<Record>, DiskError> {
    // Opening for writing creates the tables of a new database.
    let write = db.begin_write().map_err(DiskError::db)?;
    write.open_table(RECORDS).map_err(DiskError::db)?;
    write.open_table(INPUTS).map_err(DiskError::db)?;
    write.commit().map_err(DiskError::db)?;

    let read = db.begin_read().map_err(DiskError::db)?;
    let records = read.open_table(RECORDS).map_err(DiskError::db)?;
    let inputs = read.open_table(INPUTS).map_err(DiskError::db)?;
    let mut all = Vec::new();
    for row in records.iter().map_err(DiskError::db)? {
        let (id, bytes) = row.map_err(DiskError::db)?;
        let unreadable = |e| DiskError::Record {
            id: id.value().to_owned(),
            source: Arc::new(e),
        };
        let mut record: Record = serde_json::from_slice(bytes.value()).map_err(unreadable)?;
        if let Some(text) = inputs.get(id.value()).map_err(DiskError::db)? {
            let raw: Box<RawValue> = serde_json::from_slice(text.value()).map_err(unreadable)?;
            record.input = Some(raw.into());
        }
        all.push(record);
    }
    all.sort_by_key(|r| r.seq);
    Ok(all)
}

fn write_loop(db: &Database, changes: &mpsc::Receiver<(Change, Option<Ack>)>) {
    while let Ok(first) = changes.recv() {
        let mut group = vec![first];
        group.extend(changes.try_iter().take(MAX_GROUP - 1));
        let begun = Instant::now();
        let result = commit(db, group.iter().map(|(change, _)| change));
        metrics::histogram!(names::STORE_COMMIT_SECONDS).record(begun.elapsed().as_secs_f64());
        if let Err(error) = &result {
            tracing::error!(changes = group.len(), "job store: {error}");
        }
        for (_, ack) in group {
            if let Some(ack) = ack {
                let _ = ack.send(result.clone());
            }
        }
    }
}

/// One transaction; redb's default durability fsyncs before `commit` returns.
fn commit<'a>(db: &Database, changes: impl Iterator<Item = &'a Change>) -> Result<(), DiskError> {
    let write = db.begin_write().map_err(DiskError::db)?;
    {
        let mut records = write.open_table(RECORDS).map_err(DiskError::db)?;
        let mut inputs = write.open_table(INPUTS).map_err(DiskError::db)?;
        for change in changes {
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
            }
        }
    }
    write.commit().map_err(DiskError::db)
}
