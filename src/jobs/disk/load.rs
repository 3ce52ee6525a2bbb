//! What is on disk when the store is opened.

use redb::{Database, ReadableTable};
use serde_json::value::RawValue;

use super::{DiskError, INPUTS, LAST_MS, META, RECORDS, STOPPING, UNREADABLE};
use crate::jobs::Record;

/// Records with their inputs, in order of acceptance, and what is known of the last process.
#[derive(Debug, Default)]
pub struct Found {
    pub records: Vec<Record>,
    /// The jobs' time when it last wrote.
    pub last_ms: Option<u64>,
    /// It was told to stop: what it had in hand did not end it.
    pub stopped: bool,
}

/// Reads everything; a record that cannot be read is put aside and told of, the others are not its hostages.
pub(super) fn all(db: &Database) -> Result<Found, DiskError> {
    let mut found = Found::default();
    // Opening for writing creates the tables of a new database.
    let write = db.begin_write().map_err(DiskError::db)?;
    {
        let mut records = write.open_table(RECORDS).map_err(DiskError::db)?;
        let mut inputs = write.open_table(INPUTS).map_err(DiskError::db)?;
        let meta = write.open_table(META).map_err(DiskError::db)?;
        let mut unreadable = write.open_table(UNREADABLE).map_err(DiskError::db)?;
        found.last_ms = meta.get(LAST_MS).map_err(DiskError::db)?.map(|v| v.value());
        found.stopped = meta
            .get(STOPPING)
            .map_err(DiskError::db)?
            .is_some_and(|v| v.value() != 0);
        let mut bad = Vec::new();
        for row in records.iter().map_err(DiskError::db)? {
            let (id, bytes) = row.map_err(DiskError::db)?;
            let read = serde_json::from_slice::<Record>(bytes.value()).and_then(|mut record| {
                if let Some(text) = inputs.get(id.value()).ok().flatten() {
                    let raw: Box<RawValue> = serde_json::from_slice(text.value())?;
                    record.input = Some(raw.into());
                }
                Ok(record)
            });
            match read {
                Ok(record) => found.records.push(record),
                Err(error) => {
                    tracing::error!(
                        job = id.value(),
                        "the record of this job cannot be read and is put aside: {error}"
                    );
                    bad.push((id.value().to_owned(), bytes.value().to_vec()));
                }
            }
        }
        for (id, bytes) in bad {
            unreadable
                .insert(id.as_str(), bytes.as_slice())
                .map_err(DiskError::db)?;
            records.remove(id.as_str()).map_err(DiskError::db)?;
            inputs.remove(id.as_str()).map_err(DiskError::db)?;
        }
    }
    write.commit().map_err(DiskError::db)?;
    found.records.sort_by_key(|r| r.seq);
    Ok(found)
}
