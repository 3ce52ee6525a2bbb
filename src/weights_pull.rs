//! Fetching published checkpoints from the Hugging Face Hub, or a mirror that speaks its routes, into its cache.
//!
//! Written on reqwest: `hf-hub` 1.0 starts every file afresh (`File::create` on the `.incomplete` file), compares
//! no hash and does not sync, and all three are wanted here.
//!
//! A file is visible under `snapshots/` only after its bytes are complete, hashed from the disk and synced; the
//! branch under `refs/` moves only after all files of a model are there, and all come from one commit.

mod client;
mod download;

use std::path::PathBuf;

use dragunov_models::weights::{HubCache, Model, Recorded, is_commit};

use crate::contract::{ErrorCode, ScanError};

pub use client::{Hub, HubConfig};

/// What a pull tells the one who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// A file is about to be fetched; `have` bytes of it are here from an earlier attempt.
    Start {
        file: &'a str,
        total: Option<u64>,
        have: u64,
    },
    /// Bytes of the current file that are on the disk now.
    At(u64),
    /// The connection broke; another attempt follows.
    Retry { reason: &'a str },
    /// The file in the cache is not what was put there; it is fetched anew.
    Damaged { file: &'a str },
    /// All bytes are here and are being hashed.
    Checking { file: &'a str },
    /// In place. `pinned` says that the hash equals the one in the table; else it is only recorded.
    Done {
        file: &'a str,
        sha256: &'a str,
        pinned: bool,
        fetched: bool,
    },
}

/// Receives the events of a pull, in order.
pub type Progress<'a> = &'a (dyn Fn(Event<'_>) + Sync);

/// Why a pull failed.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    #[error("{0} is not cached and HF_HUB_OFFLINE is set")]
    Offline(String),
    #[error("HF_ENDPOINT: {0}")]
    Endpoint(String),
    #[error("{url}: the hub refuses access ({status})")]
    Refused { url: String, status: u16 },
    #[error("{url}: not found")]
    NotFound { url: String },
    #[error("{url}: {reason}")]
    Answer { url: String, reason: String },
    #[error("{url}: gave up after {attempts} attempts: {reason}")]
    Broken {
        url: String,
        attempts: u32,
        reason: String,
    },
    #[error("{file} has sha256 {found}, expected {expected}: nothing of it was kept")]
    Hash {
        file: String,
        expected: String,
        found: String,
    },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
}

impl PullError {
    fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

impl From<PullError> for ScanError {
    fn from(error: PullError) -> Self {
        let (code, next) = match &error {
            PullError::Offline(_) => (ErrorCode::ConfigInvalid, "unset HF_HUB_OFFLINE and pull once"),
            PullError::Endpoint(_) => (ErrorCode::ConfigInvalid, "give an https:// address"),
            PullError::Refused { .. } => (
                ErrorCode::Unauthorized,
                "accept the model's terms on its page and set HF_TOKEN",
            ),
            PullError::NotFound { .. } => (
                ErrorCode::NotFound,
                "check HF_ENDPOINT; the repository may have moved",
            ),
            PullError::Answer { .. } => (ErrorCode::FetchFailed, "check HF_ENDPOINT"),
            PullError::Broken { .. } => (
                ErrorCode::FetchFailed,
                "run the same command again: it goes on where it stopped",
            ),
            PullError::Hash { .. } => (
                ErrorCode::CheckpointInvalid,
                "pull again; if it stays, the publisher or the mirror has changed the file",
            ),
            PullError::Io { .. } => (ErrorCode::Storage, "check space and rights of the cache folder"),
        };
        Self::new(code, error.to_string()).next_step(next).source(error)
    }
}

/// A model that is now complete in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// Folder to open as a checkpoint.
    pub folder: PathBuf,
    pub commit: String,
    /// sha256 of every file.
    pub hashes: Recorded,
}

/// Brings `model` into `cache`. What is there already is not fetched again.
///
/// # Errors
/// [`PullError`]; a failed pull leaves the earlier state of the model usable.
pub async fn pull(
    hub: &Hub,
    cache: &HubCache,
    model: &Model,
    progress: Progress<'_>,
) -> Result<Pulled, PullError> {
    if hub.offline() {
        return cached(cache, model);
    }
    let repository = cache.repository(model);
    let mut revision = model.revision.clone();
    let mut hashes = Recorded::default();
    for file in &model.files {
        let remote = hub.look(&model.repository, &revision, &file.path).await?;
        if !is_commit(&revision) {
            // Every further file from the commit that the branch pointed to at the first.
            revision.clone_from(&remote.commit);
            hashes = Recorded::read(&repository, &revision);
        }
        let job = download::Job {
            hub,
            cache,
            model,
            file,
            remote: &remote,
            known: hashes.0.get(&file.path).cloned(),
        };
        let sha256 = job.run(progress).await?;
        download::link(&repository, &revision, &file.path, &remote.etag)?;
        hashes.0.insert(file.path.clone(), sha256);
        hashes
            .write(&repository, &revision)
            .map_err(PullError::io(&repository))?;
    }
    if revision != model.revision {
        download::write_ref(&repository, &model.revision, &revision)?;
    }
    let folder = finish(cache, model)?.ok_or_else(|| PullError::Answer {
        url: model.repository.clone(),
        reason: "the cache is not complete after the pull".into(),
    })?;
    Ok(Pulled {
        folder,
        commit: revision,
        hashes,
    })
}

fn cached(cache: &HubCache, model: &Model) -> Result<Pulled, PullError> {
    let absent = || PullError::Offline(model.name.clone());
    let folder = finish(cache, model)?.ok_or_else(absent)?;
    let snapshot = cache.snapshot(model).ok_or_else(absent)?;
    let commit = snapshot
        .file_name()
        .and_then(|n| n.to_str())
        .unwrap_or_default()
        .to_owned();
    let repository = snapshot.ancestors().nth(2).unwrap_or(&snapshot);
    Ok(Pulled {
        folder,
        hashes: Recorded::read(repository, &commit),
        commit,
    })
}

/// The model's folder, assembled if it has to be; `None` if files are missing.
fn finish(cache: &HubCache, model: &Model) -> Result<Option<PathBuf>, PullError> {
    if let (true, Some(snapshot)) = (model.needs_assembly(), cache.snapshot(model)) {
        cache
            .assemble(model, &snapshot)
            .map_err(PullError::io(&snapshot))?;
    }
    Ok(cache.folder(model))
}
