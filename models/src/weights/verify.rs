//! Whether the files of a model are what was published, or at least what was pulled.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{HubCache, Model, WeightsError};

/// Result for one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileState {
    /// Equal to the hash in the table.
    Pinned,
    /// The table has no hash; equal to what the pull recorded, if it recorded anything.
    Unpinned {
        recorded: bool,
    },
    /// Differs from `expected`, which is the table's or the recorded hash.
    Mismatch {
        expected: String,
    },
    Missing,
}

impl FileState {
    pub fn is_good(&self) -> bool {
        matches!(self, Self::Pinned | Self::Unpinned { .. })
    }
}

/// One checked file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Path in the repository.
    pub file: String,
    pub state: FileState,
    /// Hash and size of what lies there.
    pub found: Option<(String, u64)>,
}

/// Hashes noted at pull time: file to sha256, in `dragunov-sha256.<commit>.json` of the repository's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Recorded(pub BTreeMap<String, String>);

impl Recorded {
    fn path(repository: &Path, commit: &str) -> PathBuf {
        repository.join(format!("dragunov-sha256.{commit}.json"))
    }

    /// Empty if nothing was recorded, or nothing readable.
    pub fn read(repository: &Path, commit: &str) -> Self {
        let bytes = std::fs::read(Self::path(repository, commit)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// # Errors
    /// The file system's.
    pub fn write(&self, repository: &Path, commit: &str) -> std::io::Result<()> {
        let path = Self::path(repository, commit);
        let draft = path.with_extension("tmp");
        std::fs::write(&draft, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(draft, path)
    }
}

/// Lower-case hexadecimal sha256 and length of a file.
///
/// # Errors
/// The file system's.
pub fn sha256_file(path: &Path) -> std::io::Result<(String, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut length = 0;
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok((format!("{:x}", hasher.finalize()), length));
        }
        hasher.update(&buffer[..n]);
        length += n as u64;
    }
}

impl HubCache {
    /// Hashes every file of the model.
    ///
    /// # Errors
    /// [`WeightsError::Absent`] if there is no complete snapshot, [`WeightsError::Io`] if a file cannot be read.
    pub fn verify(&self, model: &Model) -> Result<Vec<Check>, WeightsError> {
        let snapshot = self.snapshot(model).ok_or_else(|| WeightsError::Absent {
            model: model.name.clone(),
            looked_in: self.roots().map(PathBuf::from).collect(),
        })?;
        let commit = snapshot.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let recorded = match snapshot.parent().and_then(Path::parent) {
            Some(repository) => Recorded::read(repository, commit),
            None => Recorded::default(),
        };
        let mut checks = Vec::with_capacity(model.files.len());
        for file in &model.files {
            let path = snapshot.join(&file.path);
            let found = match sha256_file(&path) {
                Ok(found) => Some(found),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
                Err(source) => return Err(WeightsError::Io { path, source }),
            };
            let noted = recorded.0.get(&file.path);
            let state = match (&found, file.sha256.as_ref(), noted) {
                (None, ..) => FileState::Missing,
                (Some((got, _)), Some(pinned), _) if got == pinned => FileState::Pinned,
                (Some((got, _)), None, Some(noted)) if got == noted => FileState::Unpinned { recorded: true },
                (Some(_), None, None) => FileState::Unpinned { recorded: false },
                (Some(_), Some(expected), _) | (Some(_), None, Some(expected)) => FileState::Mismatch {
                    expected: expected.clone(),
                },
            };
            checks.push(Check {
                file: file.path.clone(),
                state,
                found,
            });
        }
        Ok(checks)
    }
}
