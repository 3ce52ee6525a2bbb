//! Which checkpoint this is, by what its files hold rather than by what they are called.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Checkpoint, Place};
use crate::{ModelError, Result};

impl Checkpoint {
    /// SHA-256, in hex, over names and contents of all files that a model may be read from: everything in the folder but
    /// hidden files, folders and `.md`. The same for a folder, a copy of it and the embedded files. Reads every byte of the
    /// weights.
    ///
    /// # Errors
    /// [`ModelError::Io`] naming the file that cannot be read.
    pub fn fingerprint(&self) -> Result<String> {
        let mut all = Sha256::new();
        let mut add = |name: &str, content: [u8; 32]| {
            all.update((name.len() as u64).to_le_bytes());
            all.update(name.as_bytes());
            all.update(content);
        };
        match &self.place {
            Place::Embedded { files, .. } => {
                let mut files = files.to_vec();
                files.sort_unstable_by_key(|(name, _)| *name);
                for (name, bytes) in files {
                    add(name, Sha256::digest(bytes).into());
                }
            }
            Place::Dir { dir, .. } => {
                for name in file_names(dir)? {
                    add(&name, file_hash(&dir.join(&name))?);
                }
            }
        }
        Ok(all.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }
}

/// Names of the files in a folder that count, sorted.
fn file_names(dir: &Path) -> Result<Vec<String>> {
    let failed = |source| ModelError::Io {
        path: dir.to_owned(),
        source,
    };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        // Links are followed: a hub's cache holds nothing else.
        let is_file = entry.path().is_file();
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_file && !name.starts_with('.') && !name.ends_with(".md") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

fn file_hash(path: &Path) -> Result<[u8; 32]> {
    let failed = |source| ModelError::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = File::open(path).map_err(failed)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hash.finalize().into()),
            n => hash.update(&buffer[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    static FILES: &[(&str, &[u8])] = &[("model.safetensors", b"weights"), ("config.json", b"{}")];

    #[test]
    fn a_copy_is_the_same_and_one_changed_byte_is_not() {
        let embedded = Checkpoint::embedded("x", FILES).fingerprint().unwrap();
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in FILES {
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let of_dir = || Checkpoint::open(dir.path()).unwrap().fingerprint().unwrap();
        assert_eq!(of_dir(), embedded);
        std::fs::write(dir.path().join("README.md"), "words").unwrap();
        assert_eq!(of_dir(), embedded, "a text changes no answer");
        std::fs::write(dir.path().join("model.safetensors"), "weightz").unwrap();
        let changed = of_dir();
        assert_ne!(changed, embedded);
        std::fs::rename(dir.path().join("config.json"), dir.path().join("konfig.json")).unwrap();
        assert_ne!(of_dir(), changed, "what a file is called counts");
    }
}
