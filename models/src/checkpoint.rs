//! Checkpoints: a folder in the Hugging Face layout, a weights file as an author published it, or one embedded in the
//! binary.
//!
//! A model asks for tensors by their Hugging Face names; a [`Layout`] says which tensor of the file stands behind
//! each name, so that published files in the original key layout load into the same code. Loading is strict: a
//! missing, mis-shaped or unknown tensor is an error that names the file, the key and the shape.

mod fingerprint;
mod pickle;
mod shapes;
pub mod source;
mod store;
mod torch;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use serde::de::DeserializeOwned;

use crate::{ModelError, Result};
pub(crate) use shapes::Shapes;
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

/// Names that training wrappers put into a key, in front or between two modules: `torch.compile`, `DataParallel` and
/// its like, FSDP, activation checkpointing.
const WRAPPERS: [&str; 4] = [
    "_orig_mod",
    "module",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];

/// The key without what training wrappers left in it and without `prefixes`, which exporters of a fine-tuned model put
/// in front.
pub(crate) fn unwrapped<'a>(key: &'a str, prefixes: &[&str]) -> Cow<'a, str> {
    let mut key = if key.split('.').any(|part| WRAPPERS.contains(&part)) {
        let parts: Vec<&str> = key.split('.').filter(|part| !WRAPPERS.contains(part)).collect();
        Cow::Owned(parts.join("."))
    } else {
        Cow::Borrowed(key)
    };
    while let Some(prefix) = prefixes.iter().find(|p| key.starts_with(**p)) {
        key = match key {
            Cow::Borrowed(key) => Cow::Borrowed(&key[prefix.len()..]),
            Cow::Owned(key) => Cow::Owned(key[prefix.len()..].to_owned()),
        };
    }
    key
}

/// Maps a stored key and its shape to the names it serves. No names: known and not needed.
pub type Layout = dyn Fn(&str, &[usize]) -> Vec<Alias>;

#[derive(Debug, Clone)]
enum Place {
    Dir {
        dir: PathBuf,
        /// The weights, where the caller named a file.
        named: Option<String>,
    },
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

const SAFETENSORS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

impl Checkpoint {
    /// `path` is a folder, or a weights file (safetensors or PyTorch's `.pth`) whose config, if it has one, lies
    /// beside it. In a folder the weights are `model.safetensors`, else the shards of its index, else the only weights
    /// file.
    /// Weights alone will do: files in the original layouts are published without a config.
    ///
    /// # Errors
    /// [`ModelError::Io`] if there is neither a readable `config.json` nor weights.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        if path.is_file() {
            let named = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let dir = path.parent().unwrap_or(Path::new("")).to_owned();
            return Ok(Self {
                place: Place::Dir { dir, named },
            });
        }
        let this = Self {
            place: Place::Dir {
                dir: path.to_owned(),
                named: None,
            },
        };
        if this.has("config.json") || this.has(INDEX) {
            return Ok(this);
        }
        match this.weights_file() {
            Ok(_) => Ok(this),
            // What a folder without anything lacks first of all is its config.
            Err(ModelError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                this.read("config.json").map(|_| this)
            }
            Err(several) => Err(several),
        }
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
            Place::Dir { dir, .. } => dir.join(file),
            Place::Embedded { name, .. } => Path::new("<embedded>").join(name).join(file),
        }
    }

    pub fn has(&self, file: &str) -> bool {
        match &self.place {
            Place::Dir { dir, .. } => dir.join(file).is_file(),
            Place::Embedded { files, .. } => files.iter().any(|(n, _)| *n == file),
        }
    }

    /// Content of a small file.
    pub fn read(&self, file: &str) -> Result<Cow<'static, [u8]>> {
        let path = self.path(file);
        match &self.place {
            Place::Dir { .. } => std::fs::read(&path)
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

    /// The settings of the image processor and the file that has them: `processor_config.json` of transformers 5 with its
    /// part `image_processor`, else `preprocessor_config.json`, as transformers chooses.
    ///
    /// # Errors
    /// [`ModelError::Json`] if the file does not parse.
    pub(crate) fn image_processor<T: DeserializeOwned>(&self) -> Result<Option<(&'static str, T)>> {
        #[derive(serde::Deserialize)]
        struct Processor<T> {
            image_processor: Option<T>,
        }
        const NEW: &str = "processor_config.json";
        const OLD: &str = "preprocessor_config.json";
        if self.has(NEW)
            && let Some(settings) = self.json::<Processor<T>>(NEW)?.image_processor
        {
            return Ok(Some((NEW, settings)));
        }
        match self.has(OLD) {
            true => Ok(Some((OLD, self.json(OLD)?))),
            false => Ok(None),
        }
    }

    /// Refuses the config of another kind of model by its `model_type`; a config without one passes.
    ///
    /// # Errors
    /// [`ModelError::Config`], or [`ModelError::Json`] if it does not parse.
    pub(crate) fn expect_type(&self, known: &[&str]) -> Result<()> {
        #[derive(serde::Deserialize)]
        struct Typed {
            #[serde(default)]
            model_type: String,
        }
        const FILE: &str = "config.json";
        let Typed { model_type } = self.json(FILE)?;
        if model_type.is_empty() || known.contains(&model_type.as_str()) {
            return Ok(());
        }
        Err(ModelError::Config {
            path: self.path(FILE),
            field: "model_type",
            value: format!("{model_type:?}"),
            reason: format!("this model reads {}", known.join(" and ")),
        })
    }

    /// Builds a model from the weights (see [`Self::open`]).
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
        if !self.sharded() && self.has(INDEX) {
            let (read, index) = (self.weights_path(), self.path(INDEX));
            tracing::warn!("{} is read; {} is ignored", read.display(), index.display());
        }
        let store = Arc::new(Store::new(self.weights_path(), self.shards()?, layout)?);
        let vb = source::builder(Arc::clone(&store), dtype, device);
        let model = build(vb).map_err(|e| store.take_fault().unwrap_or(ModelError::Compute(e)))?;
        store.unused()?;
        Ok(model)
    }

    /// Whether two stored tensors, by their keys in the files, hold the same bytes in one type and shape.
    ///
    /// # Errors
    /// Files that cannot be read.
    pub(crate) fn same_tensors(&self, a: &str, b: &str) -> Result<bool> {
        let shards = self.shards()?;
        let find = |key: &str| shards.iter().find_map(|shard| shard.stored(key));
        Ok(match (find(a), find(b)) {
            (Some(a), Some(b)) => a == b,
            _ => false,
        })
    }

    /// Names and shapes of all stored tensors, before any layout is applied.
    pub fn stored_tensors(&self) -> Result<BTreeMap<String, Vec<usize>>> {
        Ok(self.shards()?.iter().flat_map(Shard::tensors).collect())
    }

    /// Whether the weights are the shards of an index. A whole file beside one wins: the index may be of another build.
    fn sharded(&self) -> bool {
        let named = matches!(&self.place, Place::Dir { named: Some(_), .. });
        !named && !self.has(SAFETENSORS) && self.has(INDEX)
    }

    /// The weights file, for messages; of several shards the index.
    pub(crate) fn weights_path(&self) -> PathBuf {
        if self.sharded() {
            return self.path(INDEX);
        }
        self.path(self.weights_file().as_deref().unwrap_or(SAFETENSORS))
    }

    /// The name of the one weights file.
    fn weights_file(&self) -> Result<String> {
        let Place::Dir { dir, named } = &self.place else {
            return Ok(SAFETENSORS.to_owned());
        };
        if let Some(name) = named {
            return Ok(name.clone());
        }
        if self.has(SAFETENSORS) {
            return Ok(SAFETENSORS.to_owned());
        }
        let mut names: Vec<String> = std::fs::read_dir(dir)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| {
                let extension = Path::new(name).extension().and_then(|e| e.to_str());
                matches!(extension, Some("safetensors" | "pth" | "pt")) || name == "pytorch_model.bin"
            })
            .collect();
        names.sort();
        match names.as_slice() {
            [name] => Ok(name.clone()),
            [] => Err(ModelError::Io {
                path: self.path(SAFETENSORS),
                source: std::io::ErrorKind::NotFound.into(),
            }),
            several => {
                let message = format!("several weights files ({}); name one of them", several.join(", "));
                Err(ModelError::Io {
                    path: dir.clone(),
                    source: std::io::Error::new(std::io::ErrorKind::InvalidInput, message),
                })
            }
        }
    }

    fn shards(&self) -> Result<Vec<Shard>> {
        if !self.sharded() {
            return Ok(vec![self.shard(&self.weights_file()?)?]);
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
            Place::Dir { .. } => Shard::map(self.path(file)),
            Place::Embedded { .. } => match self.read(file)? {
                Cow::Borrowed(bytes) => Shard::from_static(self.path(file), bytes),
                Cow::Owned(_) => unreachable!("embedded files are borrowed"),
            },
        }
    }
}
