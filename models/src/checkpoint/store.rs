//! Memory-mapped weights behind candle's `VarBuilder`, strict about what is asked and what is left.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use safetensors::SafeTensors;

use super::Layout;
use super::source::TensorSource;
use super::torch;
use crate::device::upload::Upload;
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

/// Where one tensor lies in its file.
#[derive(Debug)]
pub(super) struct Entry {
    /// The file's own name of the type where candle has none; such a tensor may lie there as long as nobody asks.
    pub(super) dtype: std::result::Result<DType, String>,
    pub(super) shape: Vec<usize>,
    /// In elements; `None`: row by row without gaps.
    pub(super) strides: Option<Vec<usize>>,
    /// Bytes of the file from the first element to the last.
    pub(super) data: Range<usize>,
}

/// One weights file with its parsed header.
pub(super) struct Shard {
    path: PathBuf,
    bytes: Bytes,
    entries: BTreeMap<String, Entry>,
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

    /// All of it will be read soon: the system may begin. Without that a network volume is asked for a page at a time.
    fn read_ahead(&self) {
        if let Bytes::Mapped(map) = &self.bytes {
            // A hint; nothing is lost where it is not taken.
            #[cfg(unix)]
            let _ = map.advise(memmap2::Advice::WillNeed);
            #[cfg(not(unix))]
            let _ = map;
        }
    }

    pub(super) fn from_static(path: PathBuf, bytes: &'static [u8]) -> Result<Self> {
        Self::parse(path, Bytes::Static(bytes))
    }

    /// Safetensors, unless name or content say that it is PyTorch's own.
    fn parse(path: PathBuf, bytes: Bytes) -> Result<Self> {
        let torch_name = path
            .extension()
            .is_some_and(|e| e == "pth" || e == "pt" || e == "bin");
        let entries = if torch_name || bytes.starts_with(torch::MAGIC) {
            torch::tensors(&bytes).map_err(|reason| ModelError::TorchFile {
                path: path.clone(),
                reason,
            })?
        } else {
            safetensors(&bytes).map_err(|e| ModelError::Safetensors {
                path: path.clone(),
                reason: e.to_string(),
            })?
        };
        Ok(Self { path, bytes, entries })
    }

    pub(super) fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        self.entries
            .iter()
            .map(|(name, entry)| (name.clone(), entry.shape.clone()))
    }

    /// Type, shape and bytes of a tensor, for comparison.
    pub(super) fn stored(&self, key: &str) -> Option<(String, Vec<usize>, Cow<'_, [u8]>)> {
        let entry = self.entries.get(key)?;
        let data = &self.bytes[entry.data.clone()];
        let (name, data) = match (&entry.dtype, &entry.strides) {
            (Ok(dtype), Some(strides)) => {
                let gathered = gather(data, &entry.shape, strides, dtype.size_in_bytes());
                (dtype.as_str().to_owned(), Cow::Owned(gathered))
            }
            (Ok(dtype), None) => (dtype.as_str().to_owned(), Cow::Borrowed(data)),
            (Err(name), _) => (name.clone(), Cow::Borrowed(data)),
        };
        Some((name, entry.shape.clone(), data))
    }

    /// `place` makes a tensor of dense bytes and a shape.
    fn load(
        &self,
        entry: &Entry,
        dtype: DType,
        rows: Option<&Range<usize>>,
        place: impl FnOnce(&[u8], &[usize]) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Tensor> {
        let stored = &self.bytes[entry.data.clone()];
        let gathered = entry
            .strides
            .as_ref()
            .map(|strides| gather(stored, &entry.shape, strides, dtype.size_in_bytes()));
        let mut data = gathered.as_deref().unwrap_or(stored);
        let mut shape = entry.shape.clone();
        if let Some(rows) = rows {
            let row = data.len() / shape[0].max(1);
            data = &data[rows.start * row..rows.end * row];
            shape[0] = rows.len();
        }
        place(data, &shape)
    }
}

/// Checks that the offsets cover the file exactly, which catches truncation.
fn safetensors(bytes: &[u8]) -> std::result::Result<BTreeMap<String, Entry>, safetensors::SafeTensorError> {
    SafeTensors::deserialize(bytes)?;
    let (header, metadata) = SafeTensors::read_metadata(bytes)?;
    let data_start = header + 8;
    let entry = |(name, info): (String, &safetensors::tensor::TensorInfo)| {
        let (begin, end) = info.data_offsets;
        let entry = Entry {
            dtype: DType::try_from(info.dtype).map_err(|_| format!("{:?}", info.dtype)),
            shape: info.shape.clone(),
            strides: None,
            data: data_start + begin..data_start + end,
        };
        (name, entry)
    };
    Ok(metadata.tensors().into_iter().map(entry).collect())
}

/// The elements of `width` bytes of a strided tensor, row by row.
fn gather(data: &[u8], shape: &[usize], strides: &[usize], width: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut index = vec![0usize; shape.len()];
    for _ in 0..shape.iter().product() {
        let place: usize = index.iter().zip(strides).map(|(i, s)| i * s).sum();
        out.extend_from_slice(&data[place * width..(place + 1) * width]);
        for (i, &n) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < n {
                break;
            }
            *i = 0;
        }
    }
    out
}

struct Source {
    shard: usize,
    key: String,
    rows: Option<Range<usize>>,
    shape: Vec<usize>,
}

/// Whether two sources of one name hold the same numbers, as copies of a tied tensor do.
fn same(shards: &[Shard], a: &Source, b: &Source) -> bool {
    let stored = |source: &Source| shards[source.shard].stored(&source.key);
    a.rows == b.rows && stored(a) == stored(b)
}

/// All shards under the names that the model uses.
pub(super) struct Store {
    /// The file that lists all tensors: the index of several shards, or the weights themselves.
    path: PathBuf,
    shards: Vec<Shard>,
    sources: HashMap<String, Source>,
    asked: Mutex<BTreeSet<String>>,
    fault: Mutex<Option<ModelError>>,
    upload: Upload,
}

impl Store {
    pub(super) fn new(path: PathBuf, shards: Vec<Shard>, layout: &Layout) -> Result<Self> {
        shards.iter().for_each(Shard::read_ahead);
        let mut sources: HashMap<String, Source> = HashMap::new();
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
                    let earlier = sources.get(&alias.name);
                    if let Some(earlier) = earlier.filter(|e| !same(&shards, e, &source)) {
                        return Err(ModelError::AmbiguousTensor {
                            path,
                            name: alias.name,
                            keys: [earlier.key.clone(), key],
                        });
                    }
                    sources.insert(alias.name, source);
                }
            }
        }
        Ok(Self {
            path,
            shards,
            sources,
            asked: Mutex::default(),
            fault: Mutex::default(),
            upload: Upload::default(),
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
        let left: BTreeSet<(usize, &str)> = self
            .sources
            .iter()
            .filter(|(name, _)| !asked.contains(*name))
            .map(|(_, source)| (source.shard, source.key.as_str()))
            .collect();
        match left.first() {
            None => Ok(()),
            Some(&(shard, key)) => Err(ModelError::UnexpectedTensors {
                path: self.shards[shard].path.clone(),
                key: key.to_owned(),
                found: self.shards[shard].entries[key].shape.clone(),
                more: left.len() - 1,
            }),
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
            self.fail(ModelError::MissingTensor {
                path: self.path.clone(),
                key: name.to_owned(),
                expected: expected.to_vec(),
            })
        })
    }

    fn read(&self, source: &Source, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let shard = &self.shards[source.shard];
        let entry = &shard.entries[&source.key];
        let stored = entry.dtype.clone().map_err(|found| {
            self.fail(ModelError::TensorType {
                path: shard.path.clone(),
                key: source.key.clone(),
                found,
            })
        })?;
        let place = |data: &[u8], shape: &[usize]| self.upload.tensor(data, stored, shape, device);
        shard
            .load(entry, stored, source.rows.as_ref(), place)?
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
