//! Memory-mapped safetensors behind candle's `VarBuilder`, strict about what is asked and what is left.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;

use super::Layout;
use super::source::TensorSource;
use crate::{ModelError, Result};

enum Bytes {
    Mapped(memmap2::Mmap),
    Static(&'static [u8]),
}

impl std::ops::Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Static(bytes) => bytes,
        }
    }
}

/// One safetensors file with its parsed header.
pub(super) struct Shard {
    path: PathBuf,
    bytes: Bytes,
    /// Offset of the first tensor byte.
    data_start: usize,
    metadata: Metadata,
}

impl Shard {
    #[allow(unsafe_code)]
    pub(super) fn map(path: PathBuf) -> Result<Self> {
        let io = |source| ModelError::Io {
            path: path.clone(),
            source,
        };
        let file = std::fs::File::open(&path).map_err(io)?;
        // SAFETY: the map is read-only and private to this struct. Another process truncating the file while it
        // is mapped would fault; weight files are written to a temporary name and renamed, never changed in place.
        let map = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
        Self::parse(path, Bytes::Mapped(map))
    }

    pub(super) fn from_static(path: PathBuf, bytes: &'static [u8]) -> Result<Self> {
        Self::parse(path, Bytes::Static(bytes))
    }

    fn parse(path: PathBuf, bytes: Bytes) -> Result<Self> {
        let damaged = |e: safetensors::SafeTensorError| ModelError::Safetensors {
            path: path.clone(),
            reason: e.to_string(),
        };
        // `deserialize` also checks that the offsets cover the file exactly, which catches truncation.
        SafeTensors::deserialize(&bytes).map_err(damaged)?;
        let (header, metadata) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
        Ok(Self {
            path,
            bytes,
            data_start: header + 8,
            metadata,
        })
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        self.metadata
            .tensors()
            .into_iter()
            .map(|(name, info)| (name, info.shape.clone()))
    }

    fn load(&self, key: &str, rows: Option<&Range<usize>>, device: &Device) -> candle_core::Result<Tensor> {
        let info = self
            .metadata
            .info(key)
            .ok_or_else(|| candle_core::Error::Msg(format!("no tensor {key}")))?;
        let (begin, end) = info.data_offsets;
        let mut data = &self.bytes[self.data_start + begin..self.data_start + end];
        let mut shape = info.shape.clone();
        if let Some(rows) = rows {
            let row = data.len() / shape[0].max(1);
            data = &data[rows.start * row..rows.end * row];
            shape[0] = rows.len();
        }
        Tensor::from_raw_buffer(data, DType::try_from(info.dtype)?, &shape, device)
    }
}

struct Source {
    shard: usize,
    key: String,
    rows: Option<Range<usize>>,
    shape: Vec<usize>,
}

/// All shards under the names that the model uses.
pub(super) struct Store {
    shards: Vec<Shard>,
    sources: HashMap<String, Source>,
    asked: Mutex<BTreeSet<String>>,
    fault: Mutex<Option<ModelError>>,
}

impl Store {
    pub(super) fn new(shards: Vec<Shard>, layout: &Layout) -> Result<Self> {
        let mut sources = HashMap::new();
        for (index, shard) in shards.iter().enumerate() {
            for (key, shape) in shard.tensors() {
                for alias in layout(&key, &shape) {
                    let mut shape = shape.clone();
                    if let Some(rows) = &alias.rows {
                        if shape.first().is_none_or(|&n| rows.end > n) {
                            let (path, expected) = (shard.path.clone(), vec![rows.end]);
                            return Err(ModelError::TensorShape {
                                path,
                                key,
                                expected,
                                found: shape,
                            });
                        }
                        shape[0] = rows.len();
                    }
                    let source = Source {
                        shard: index,
                        key: key.clone(),
                        rows: alias.rows,
                        shape,
                    };
                    sources.insert(alias.name, source);
                }
            }
        }
        Ok(Self {
            shards,
            sources,
            asked: Mutex::default(),
            fault: Mutex::default(),
        })
    }

    /// The typed reason of the last failed request.
    pub(super) fn take_fault(&self) -> Option<ModelError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// # Errors
    /// [`ModelError::UnexpectedTensors`] if some tensors were never asked for.
    pub(super) fn unused(&self) -> Result<()> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut left: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (name, source) in &self.sources {
            if !asked.contains(name) {
                left.entry(source.shard).or_default().push(source.key.clone());
            }
        }
        match left.pop_first() {
            None => Ok(()),
            Some((shard, mut keys)) => {
                keys.sort();
                keys.dedup();
                Err(ModelError::UnexpectedTensors {
                    path: self.shards[shard].path.clone(),
                    keys,
                })
            }
        }
    }

    fn fail(&self, error: ModelError) -> candle_core::Error {
        let message = error.to_string();
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        candle_core::Error::Msg(message)
    }

    fn find(&self, name: &str, expected: &[usize]) -> candle_core::Result<&Source> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned());
        self.sources.get(name).ok_or_else(|| {
            let path = self.shards.first().map(|s| s.path.clone()).unwrap_or_default();
            self.fail(ModelError::MissingTensor {
                path,
                key: name.to_owned(),
                expected: expected.to_vec(),
            })
        })
    }

    fn read(&self, source: &Source, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.shards[source.shard]
            .load(&source.key, source.rows.as_ref(), device)?
            .to_dtype(dtype)
    }
}

/// The `VarBuilder` holds one; another outlives it to tell what went wrong and what was left.
impl TensorSource for Arc<Store> {
    fn tensor(
        &self,
        name: &str,
        shape: Option<&Shape>,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let expected = shape.map_or(&[][..], Shape::dims);
        let source = self.find(name, expected)?;
        if shape.is_some() && source.shape != expected {
            return Err(self.fail(ModelError::TensorShape {
                path: self.shards[source.shard].path.clone(),
                key: source.key.clone(),
                expected: expected.to_vec(),
                found: source.shape.clone(),
            }));
        }
        self.read(source, dtype, device)
    }

    fn has(&self, name: &str) -> bool {
        self.sources.contains_key(name)
    }
}
