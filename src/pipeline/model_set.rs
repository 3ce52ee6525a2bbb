//! Which checkpoints a scan runs on.

use std::path::Path;

use dragunov_models::bundled::{self, PLATE_TINY};
use dragunov_models::checkpoint::Checkpoint;
use dragunov_models::weights::{Catalogue, HubCache, Role};
use sha2::{Digest, Sha256};

use super::calibration::Calibration;
use crate::contract::{ErrorCode, ScanError};
use crate::identify::{NOVELTY_FILE, Novelty};
use crate::nutrition::FoodTable;

/// Foods of a vision-language model trained on crops, one a line.
pub(super) const LABELS_FILE: &str = "labels.txt";

/// One checkpoint for each role, under a name that ends up in the result.
#[derive(Debug, Clone)]
pub struct ModelSet {
    pub name: String,
    pub sam: Checkpoint,
    pub depth: Checkpoint,
    /// None: items stay `unknown` unless another identifier is configured.
    pub vlm: Option<Checkpoint>,
    /// How the set is to be used and how far its networks are off; none where that was never measured.
    pub calibration: Option<Calibration>,
    /// Where the foods lie that the vision-language model was trained on; none where that was never measured.
    pub novelty: Option<Novelty>,
}

impl ModelSet {
    /// The set compiled into this binary.
    ///
    /// # Errors
    /// `checkpoint_invalid` in a build without it.
    pub fn bundled() -> Result<Self, ScanError> {
        let get = |role: &str| {
            bundled::checkpoint(role).ok_or_else(|| {
                let message = format!("this binary was built without the bundled {role} checkpoint");
                ScanError::new(ErrorCode::CheckpointInvalid, message).next_step(
                    "name a folder of checkpoints with --models, or a published set after `models pull`",
                )
            })
        };
        Ok(Self {
            name: PLATE_TINY.into(),
            sam: get("sam")?,
            depth: get("depth")?,
            vlm: get("vlm").ok(),
            calibration: Some(Calibration::parse(
                bundled::calibration(),
                Path::new("<embedded>/plate-tiny/calibration.toml"),
            )?),
            novelty: Some(Novelty::parse(
                bundled::novelty(),
                &Path::new("<embedded>/plate-tiny").join(NOVELTY_FILE),
            )?),
        })
    }

    /// A folder with `sam`, `depth` and, optionally, `vlm`, each in the Hugging Face layout, and `calibration.toml`.
    ///
    /// # Errors
    /// `checkpoint_invalid` or `config_invalid` naming the file that cannot be read.
    pub fn open(dir: &Path) -> Result<Self, ScanError> {
        let vlm = dir.join("vlm");
        Ok(Self {
            name: dir
                .file_name()
                .map_or_else(|| dir.display().to_string(), |n| n.to_string_lossy().into()),
            sam: Checkpoint::open(dir.join("sam"))?,
            depth: Checkpoint::open(dir.join("depth"))?,
            vlm: if vlm.exists() {
                Some(Checkpoint::open(vlm)?)
            } else {
                None
            },
            calibration: Calibration::beside(dir)?,
            novelty: Novelty::beside(dir)?,
        })
    }

    /// SHA-256, in hex, over the contents of all checkpoints of the set, whatever it is called. Reads every byte.
    ///
    /// # Errors
    /// `checkpoint_invalid` naming the file that cannot be read.
    pub fn fingerprint(&self) -> Result<String, ScanError> {
        let mut hash = Sha256::new();
        for checkpoint in [Some(&self.sam), Some(&self.depth), self.vlm.as_ref()] {
            match checkpoint {
                Some(checkpoint) => hash.update(checkpoint.fingerprint()?),
                None => hash.update("none"),
            }
        }
        Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }

    /// Whether the vision-language model gives boxes: the published ones do, one that comes with its own list of labels
    /// was trained to name crops.
    pub fn grounds(&self) -> bool {
        self.vlm.as_ref().is_some_and(|vlm| !vlm.has(LABELS_FILE))
    }

    /// The foods that the vision-language model may name: `labels.txt` beside it, one a line, or the food table.
    ///
    /// # Errors
    /// `checkpoint_invalid` if the file cannot be read.
    pub fn labels(&self, foods: &FoodTable) -> Result<Vec<String>, ScanError> {
        match &self.vlm {
            Some(vlm) if vlm.has(LABELS_FILE) => {
                let bytes = vlm.read(LABELS_FILE)?;
                let text = String::from_utf8_lossy(&bytes);
                Ok(text
                    .lines()
                    .map(str::trim)
                    .filter(|l| !l.is_empty())
                    .map(String::from)
                    .collect())
            }
            _ => Ok(foods.common_names()),
        }
    }

    /// The set of this name, or the folder of this path.
    ///
    /// # Errors
    /// `checkpoint_invalid` if there is neither.
    pub fn find(name_or_dir: &str) -> Result<Self, ScanError> {
        if name_or_dir == PLATE_TINY {
            return Self::bundled();
        }
        let dir = Path::new(name_or_dir);
        if dir.is_dir() {
            return Self::open(dir);
        }
        let found = Catalogue::builtin().and_then(|c| c.locate(name_or_dir, &HubCache::from_env()));
        let folders = found.map_err(|e| {
            ScanError::new(
                ErrorCode::CheckpointInvalid,
                format!("no checkpoints for {name_or_dir:?}"),
            )
            .source(e)
            .next_step(
                "`dragunov models list` shows the sets, `dragunov models pull` fetches one; or name a folder",
            )
        })?;
        let open = |role: Role| folders.get(&role).map(Checkpoint::open).transpose();
        let need = |role: Role, checkpoint: Option<Checkpoint>| {
            checkpoint.ok_or_else(|| {
                let message = format!(
                    "{name_or_dir:?} is one model, not a set: it has no {}",
                    role.as_str()
                );
                ScanError::new(ErrorCode::CheckpointInvalid, message)
                    .next_step("name a set of `dragunov models list`")
            })
        };
        Ok(Self {
            name: name_or_dir.to_owned(),
            sam: need(Role::Sam, open(Role::Sam)?)?,
            depth: need(Role::Depth, open(Role::Depth)?)?,
            vlm: open(Role::Vlm)?,
            // The files of a hub's cache have no folder of the set's own; `--calibration` names one.
            calibration: None,
            novelty: None,
        })
    }
}

#[cfg(test)]
mod tests;
