//! Checkpoint directories in the Hugging Face layout, on disk or embedded in the binary.
//!
//! A model asks for tensors by their Hugging Face names; a [`Layout`] says which tensor of the file stands behind
//! each name, so that published files in the original key layout load into the same code. Loading is strict: a
//! missing, mis-shaped or unknown tensor is an error that names the file, the key and the shape.

pub mod source;
mod store;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use serde::de::DeserializeOwned;

use crate::{ModelError, Result};
use store::{Shard, Store};

/// Where one requested tensor comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    /// Name that the model asks for (Hugging Face layout).
    pub name: String,
    /// Rows of the stored tensor along dimension 0, or all of it.
    pub rows: Option<Range<usize>>,
}

impl Alias {
    pub fn whole(name: impl Into<String>) -> Vec<Self> {
        vec![Self {
            name: name.into(),
            rows: None,
        }]
    }
}

/// Maps a stored key and its shape to the names it serves. No names: known and not needed.
pub type Layout = dyn Fn(&str, &[usize]) -> Vec<Alias>;

#[derive(Debug, Clone)]
enum Place {
    Dir(PathBuf),
    Embedded {
        name: &'static str,
        files: &'static [(&'static str, &'static [u8])],
    },
}

/// One model's folder: `config.json`, weights, and what else the publisher put there.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    place: Place,
}

impl Checkpoint {
    /// Weights alone will do: files in the original layout of SAM are published without a config.
    ///
    /// # Errors
    /// [`ModelError::Io`] if the folder has neither a readable `config.json` nor weights.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        let this = Self {
            place: Place::Dir(dir.as_ref().to_owned()),
        };
        if !this.has("model.safetensors") {
            this.read("config.json")?;
        }
        Ok(this)
    }

    /// A checkpoint compiled into the binary: pairs of file name and content.
    pub fn embedded(name: &'static str, files: &'static [(&'static str, &'static [u8])]) -> Self {
        Self {
            place: Place::Embedded { name, files },
        }
    }

    /// The path of `file`, for messages (embedded files get a name, not a path on disk).
    pub fn path(&self, file: &str) -> PathBuf {
        match &self.place {
            Place::Dir(dir) => dir.join(file),
            Place::Embedded { name, .. } => Path::new("<embedded>").join(name).join(file),
        }
    }

    pub fn has(&self, file: &str) -> bool {
        match &self.place {
            Place::Dir(dir) => dir.join(file).is_file(),
            Place::Embedded { files, .. } => files.iter().any(|(n, _)| *n == file),
        }
    }

    /// Content of a small file.
    pub fn read(&self, file: &str) -> Result<Cow<'static, [u8]>> {
        let path = self.path(file);
        match &self.place {
            Place::Dir(_) => std::fs::read(&path)
                .map(Cow::Owned)
                .map_err(|source| ModelError::Io { path, source }),
            Place::Embedded { files, .. } => match files.iter().find(|(n, _)| *n == file) {
                Some((_, bytes)) => Ok(Cow::Borrowed(*bytes)),
                None => Err(ModelError::Io {
                    path,
                    source: std::io::ErrorKind::NotFound.into(),
                }),
            },
        }
    }

    /// Parses a JSON file of the checkpoint, `config.json` most often.
    pub fn json<T: DeserializeOwned>(&self, file: &str) -> Result<T> {
        let bytes = self.read(file)?;
        serde_json::from_slice(&bytes).map_err(|source| ModelError::Json {
            path: self.path(file),
            source,
        })
    }

    /// Builds a model from the weights: `model.safetensors`, or the shards of `model.safetensors.index.json`.
    ///
    /// `build` gets a [`VarBuilder`] that serves the names of `layout` in `dtype` on `device`.
    ///
    /// # Errors
    /// The first missing or mis-shaped tensor, or the list of tensors that nothing asked for.
    pub fn load<M>(
        &self,
        layout: &Layout,
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder<'static>) -> candle_core::Result<M>,
    ) -> Result<M> {
        let store = Arc::new(Store::new(self.shards()?, layout)?);
        let vb = source::builder(Arc::clone(&store), dtype, device);
        let model = build(vb).map_err(|e| store.take_fault().unwrap_or(ModelError::Compute(e)))?;
        store.unused()?;
        Ok(model)
    }

    /// Names and shapes of all stored tensors, before any layout is applied.
    pub fn stored_tensors(&self) -> Result<BTreeMap<String, Vec<usize>>> {
        Ok(self.shards()?.iter().flat_map(Shard::tensors).collect())
    }

    fn shards(&self) -> Result<Vec<Shard>> {
        const INDEX: &str = "model.safetensors.index.json";
        if !self.has(INDEX) {
            return Ok(vec![self.shard("model.safetensors")?]);
        }
        #[derive(serde::Deserialize)]
        struct Index {
            weight_map: BTreeMap<String, String>,
        }
        let index: Index = self.json(INDEX)?;
        let mut names: Vec<_> = index.weight_map.into_values().collect();
        names.sort();
        names.dedup();
        for name in &names {
            if name.contains(['/', '\\']) {
                let reason = format!("the index names {name:?}, which is not in this folder");
                return Err(ModelError::Safetensors {
                    path: self.path(INDEX),
                    reason,
                });
            }
        }
        names.iter().map(|name| self.shard(name)).collect()
    }

    fn shard(&self, file: &str) -> Result<Shard> {
        match &self.place {
            Place::Dir(_) => Shard::map(self.path(file)),
            Place::Embedded { .. } => match self.read(file)? {
                Cow::Borrowed(bytes) => Shard::from_static(self.path(file), bytes),
                Cow::Owned(_) => unreachable!("embedded files are borrowed"),
            },
        }
    }
}
