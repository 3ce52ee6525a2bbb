//! Files of `torch.save` (`.pth`, `.pt`, `.bin`): a zip archive of one pickle and of raw storages.
//!
//! The archive is not compressed, so that tensors are read from the map as those of a safetensors file are.

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::ops::Range;

use candle_core::DType;
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{Id, Node, Pickle};
use super::store::Entry;

/// Names under which training scripts keep the weights beside the optimiser's state.
const WRAPPERS: [&str; 4] = ["model", "state_dict", "model_state_dict", "params"];

const MALFORMED: &str = "it is not described as PyTorch does";

/// What a zip archive starts with.
pub(super) const MAGIC: &[u8] = b"PK\x03\x04";

/// The tensors of the state dictionary in `bytes`.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn tensors(bytes: &[u8]) -> Result<BTreeMap<String, Entry>, String> {
    let archive = Archive::open(bytes)?;
    let pickle = Pickle::parse(&bytes[archive.pickle.clone()])?;
    let Node::Dict(top) = pickle.root() else {
        return Err("it holds no dictionary of tensors; save the model's state_dict()".to_owned());
    };
    let mut found = archive.dictionary(&pickle, top)?;
    if found.is_empty() {
        let wrapped = top
            .iter()
            .find_map(|&(key, value)| match (pickle.node(key), pickle.node(value)) {
                (Node::Text(name), Node::Dict(entries)) if WRAPPERS.contains(&name.as_str()) => Some(entries),
                _ => None,
            });
        if let Some(entries) = wrapped {
            found = archive.dictionary(&pickle, entries)?;
        }
    }
    if found.is_empty() {
        return Err("it holds no tensors by name; save the model's state_dict()".to_owned());
    }
    Ok(found)
}

/// Where the members of the archive lie in the file.
struct Archive {
    pickle: Range<usize>,
    /// By the key that the pickle calls a storage by.
    storages: HashMap<String, Range<usize>>,
}

impl Archive {
    fn open(bytes: &[u8]) -> Result<Self, String> {
        if !bytes.starts_with(MAGIC) {
            return Err(
                "it is no archive of PyTorch 1.6 or newer; load and save it again with torch, or convert it to safetensors"
                    .to_owned(),
            );
        }
        let mut zip = ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
        let (mut pickle, mut storages) = (None, HashMap::new());
        for index in 0..zip.len() {
            let member = zip.by_index_raw(index).map_err(|e| e.to_string())?;
            let name = member.name().map_err(|e| e.to_string())?.into_owned();
            // All members lie in one folder, whose name does not matter.
            let inner = name.split_once('/').map_or("", |(_, inner)| inner);
            let wanted = inner == "data.pkl" || inner == "byteorder" || inner.starts_with("data/");
            if !wanted {
                continue;
            }
            if member.compression() != CompressionMethod::Stored || member.encrypted() {
                return Err(format!(
                    "its member {name} is compressed, which torch.save does not do"
                ));
            }
            let start = member.data_start().and_then(|start| usize::try_from(start).ok());
            let range = start
                .zip(usize::try_from(member.size()).ok())
                .and_then(|(start, size)| Some(start..start.checked_add(size)?))
                .filter(|range| range.end <= bytes.len())
                .ok_or_else(|| format!("its member {name} lies beyond its end"))?;
            match inner {
                "data.pkl" => pickle = Some(range),
                "byteorder" if &bytes[range.clone()] != b"little" => {
                    return Err("it was saved on a big-endian machine".to_owned());
                }
                "byteorder" => {}
                _ => drop(storages.insert(inner["data/".len()..].to_owned(), range)),
            }
        }
        let pickle = pickle.ok_or("it is a zip archive without data.pkl, so none of torch.save")?;
        Ok(Self { pickle, storages })
    }

    /// The tensors among the values of a dictionary.
    fn dictionary(&self, pickle: &Pickle, entries: &[(Id, Id)]) -> Result<BTreeMap<String, Entry>, String> {
        let mut found = BTreeMap::new();
        for &(key, value) in entries {
            if let Node::Text(name) = pickle.node(key)
                && let Some(arguments) = rebuilt(pickle, value)
            {
                let entry = self.entry(pickle, arguments);
                found.insert(name.clone(), entry.map_err(|e| format!("tensor {name}: {e}"))?);
            }
        }
        Ok(found)
    }

    /// From the arguments of `torch._utils._rebuild_tensor_v2`: storage, offset, size, stride, and what does not
    /// matter here.
    fn entry(&self, pickle: &Pickle, arguments: &[Id]) -> Result<Entry, String> {
        let [storage, offset, size, stride, ..] = arguments else {
            return Err(MALFORMED.to_owned());
        };
        let Storage { dtype, bytes } = self.storage(pickle, *storage)?;
        let offset = number(pickle, *offset).ok_or(MALFORMED)?;
        let shape = numbers(pickle, *size).ok_or(MALFORMED)?;
        let strides = numbers(pickle, *stride)
            .filter(|s| s.len() == shape.len())
            .ok_or(MALFORMED)?;
        let width = dtype.as_ref().map_or(1, |d| d.size_in_bytes());
        let extent = match (&dtype, shape.contains(&0)) {
            // Of a type that nothing here reads the size is not known either.
            (Err(_), _) | (_, true) => 0,
            (Ok(_), false) => extent(&shape, &strides).ok_or(MALFORMED)?,
        };
        let place = offset.checked_mul(width).and_then(|o| bytes.start.checked_add(o));
        let end = extent
            .checked_mul(width)
            .zip(place)
            .and_then(|(e, p)| p.checked_add(e));
        match place.zip(end) {
            Some((start, end)) if end <= bytes.end => Ok(Entry {
                dtype,
                strides: (!contiguous(&shape, &strides)).then_some(strides),
                shape,
                data: start..end,
            }),
            _ => Err(format!("{shape:?} is more than its storage holds")),
        }
    }

    /// Type and bytes of a storage: `("storage", class, key, device, length)`.
    fn storage(&self, pickle: &Pickle, id: Id) -> Result<Storage, String> {
        let Node::Persistent(described) = pickle.node(id) else {
            return Err(MALFORMED.to_owned());
        };
        let Node::Tuple(parts) = pickle.node(*described) else {
            return Err(MALFORMED.to_owned());
        };
        let [_, class, key, ..] = parts.as_slice() else {
            return Err(MALFORMED.to_owned());
        };
        let (Node::Global(class), Node::Text(key)) = (pickle.node(*class), pickle.node(*key)) else {
            return Err(MALFORMED.to_owned());
        };
        let dtype = match class.as_str() {
            "torch.FloatStorage" => Ok(DType::F32),
            "torch.DoubleStorage" => Ok(DType::F64),
            "torch.HalfStorage" => Ok(DType::F16),
            "torch.BFloat16Storage" => Ok(DType::BF16),
            "torch.ByteStorage" => Ok(DType::U8),
            "torch.LongStorage" => Ok(DType::I64),
            other => Err(other.to_owned()),
        };
        match self.storages.get(key) {
            Some(bytes) => Ok(Storage {
                dtype,
                bytes: bytes.clone(),
            }),
            None => Err(format!("its storage {key} is missing")),
        }
    }
}

/// What the elements of a tensor are taken from.
struct Storage {
    /// The class's name where nothing here reads the type.
    dtype: Result<DType, String>,
    bytes: Range<usize>,
}

/// Arguments of the call that makes a tensor, also inside that of a parameter.
fn rebuilt(pickle: &Pickle, id: Id) -> Option<&[Id]> {
    let Node::Call(callable, arguments) = pickle.node(id) else {
        return None;
    };
    let (Node::Global(name), Node::Tuple(arguments)) = (pickle.node(*callable), pickle.node(*arguments))
    else {
        return None;
    };
    match name.as_str() {
        "torch._utils._rebuild_tensor_v2" => Some(arguments),
        "torch._utils._rebuild_parameter" => match pickle.node(*arguments.first()?) {
            // one level only: a parameter's data is a tensor
            Node::Call(callable, inner) => match (pickle.node(*callable), pickle.node(*inner)) {
                (Node::Global(name), Node::Tuple(inner)) if name == "torch._utils._rebuild_tensor_v2" => {
                    Some(inner)
                }
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn number(pickle: &Pickle, id: Id) -> Option<usize> {
    match pickle.node(id) {
        Node::Int(value) => usize::try_from(*value).ok(),
        _ => None,
    }
}

fn numbers(pickle: &Pickle, id: Id) -> Option<Vec<usize>> {
    match pickle.node(id) {
        Node::Tuple(items) => items.iter().map(|&item| number(pickle, item)).collect(),
        _ => None,
    }
}

/// Elements from the first to the last of a tensor that is not empty. None for one whose elements overlap, which is
/// no weight and could claim any size.
fn extent(shape: &[usize], strides: &[usize]) -> Option<usize> {
    let last = |sum: usize, (&n, &stride): (&usize, &usize)| sum.checked_add((n - 1).checked_mul(stride)?);
    let count = shape.iter().try_fold(1usize, |count, &n| count.checked_mul(n))?;
    shape
        .iter()
        .zip(strides)
        .try_fold(1, last)
        .filter(|&extent| count <= extent)
}

fn contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    shape.iter().zip(strides).rev().all(|(&n, &stride)| {
        let fits = n == 1 || stride == expected;
        expected = expected.saturating_mul(n);
        fits
    }) || shape.contains(&0)
}
