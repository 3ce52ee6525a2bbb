//! The state directory and what may be wrong with the file in it.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::DatabaseError;

use super::DiskError;
use crate::jobs::clock::wall_ms;

const FILE: &str = "jobs.redb";

fn at(path: &Path) -> impl Fn(std::io::Error) -> DiskError + '_ {
    move |source| DiskError::Directory {
        path: path.into(),
        source: Arc::new(source),
    }
}

/// The directory, readable by nobody else, and the database's path in it.
pub(super) fn prepare(dir: &Path) -> Result<PathBuf, DiskError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(at(dir))?;
    // Inputs are people's photos, and jobs may carry the keys of their own buckets.
    set_mode(dir, 0o700)?;
    Ok(dir.join(FILE))
}

pub(super) fn keep_private(file: &Path) -> Result<(), DiskError> {
    set_mode(file, 0o600)
}

fn set_mode(path: &Path, mode: u32) -> Result<(), DiskError> {
    let now = std::fs::metadata(path).map_err(at(path))?.permissions().mode() & 0o777;
    if now == mode {
        return Ok(());
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(at(path))
}

/// Opening and reading a damaged file may fail in any way, a panic included; all of them mean the same.
pub(super) fn guarded<T>(path: &Path, open: impl FnOnce() -> Result<T, DiskError>) -> Result<T, DiskError> {
    catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|_| {
            Err(DiskError::Damaged {
                path: path.into(),
                why: "its pages contradict each other".into(),
            })
        })
        .map_err(|error| match error {
            DiskError::Database(e) if is_damage(&e) => damaged(path, &e),
            other => other,
        })
}

pub(super) fn of_open(path: &Path, error: DatabaseError) -> DiskError {
    if let DatabaseError::DatabaseAlreadyOpen = error {
        return DiskError::InUse { path: path.into() };
    }
    let error: redb::Error = error.into();
    if is_damage(&error) {
        return damaged(path, &error);
    }
    DiskError::Open {
        path: path.into(),
        source: Arc::new(error),
    }
}

fn damaged(path: &Path, error: &redb::Error) -> DiskError {
    DiskError::Damaged {
        path: path.into(),
        why: error.to_string(),
    }
}

/// The file is there and can be read, but is no database of ours any more.
fn is_damage(error: &redb::Error) -> bool {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    match error {
        redb::Error::Io(e) => matches!(e.kind(), InvalidData | UnexpectedEof),
        redb::Error::Corrupted(_)
        | redb::Error::RepairAborted
        | redb::Error::UpgradeRequired(_)
        | redb::Error::TableTypeMismatch { .. }
        | redb::Error::TableIsMultimap(_)
        | redb::Error::TypeDefinitionChanged { .. } => true,
        _ => false,
    }
}

/// Keeps a damaged file under another name.
pub(super) fn set_aside(path: &Path, why: &str) -> Result<(), DiskError> {
    let kept = path.with_file_name(format!("{FILE}.damaged-{}", wall_ms()));
    std::fs::rename(path, &kept).map_err(at(path))?;
    tracing::error!(kept = %kept.display(), "the job database was damaged and is set aside: {why}");
    Ok(())
}
