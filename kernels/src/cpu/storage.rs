//! Between candle's typed CPU storage and the f32 slices that the kernels compute on.

use std::borrow::Cow;
use std::ops::Deref;

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor};
use half::{bf16, f16};
use rayon::prelude::*;

use super::element::{Element, narrow, widen};
use super::memory::unwritten;
use super::parallel::CHUNK;
use super::view::View;

/// The elements of a contiguous tensor of this type, in order.
pub(crate) fn contiguous<'a, T: Element>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    match (layout.contiguous_offsets(), T::slice(storage)) {
        (Some((begin, end)), Some(elements)) => Ok(&elements[begin..end]),
        _ => candle_core::bail!("kernels: a contiguous tensor of one type is needed, got {layout:?}"),
    }
}

/// A tensor as f32: borrowed when it is f32, the whole of it converted when it is bf16 or f16. For small operands, and kernels of f32
/// alone.
pub(crate) struct F32Input<'a> {
    data: Cow<'a, [f32]>,
}

impl Deref for F32Input<'_> {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.data
    }
}

impl<'a> F32Input<'a> {
    /// The elements of a contiguous tensor, in order.
    pub(crate) fn contiguous(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        let data = match View::contiguous(storage, layout)? {
            View::F32(v) => Cow::Borrowed(v),
            View::Bf16(v) => Cow::Owned(widened(v)),
            View::F16(v) => Cow::Owned(widened(v)),
        };
        Ok(Self { data })
    }
}

/// All of `from` in f32, on all cores.
fn widened<T: Element>(from: &[T]) -> Vec<f32> {
    let mut to = unwritten(from.len());
    to.par_chunks_mut(CHUNK)
        .zip(from.par_chunks(CHUNK))
        .for_each(|(to, from)| widen(from, to));
    to
}

/// `values` in the element type of `like`, rounded to nearest even.
pub(crate) fn same_type(like: &CpuStorage, values: Vec<f32>) -> Result<CpuStorage> {
    fn narrowed<T: Element>(from: &[f32]) -> CpuStorage {
        let mut to = unwritten(from.len());
        to.par_chunks_mut(CHUNK)
            .zip(from.par_chunks(CHUNK))
            .for_each(|(to, from)| narrow(from, to));
        T::storage(to)
    }
    Ok(match like {
        CpuStorage::F32(_) => CpuStorage::F32(values),
        CpuStorage::BF16(_) => narrowed::<bf16>(&values),
        CpuStorage::F16(_) => narrowed::<f16>(&values),
        _ => candle_core::bail!("kernels: f32, bf16 or f16 is needed"),
    })
}

/// A further operand of an op, beyond the three that candle passes.
pub(crate) struct TensorInput<'a> {
    /// candle's read lock.
    storage: Box<dyn Deref<Target = Storage> + 'a>,
    layout: &'a Layout,
}

impl<'a> TensorInput<'a> {
    pub(crate) fn new(tensor: &'a Tensor) -> Self {
        let (storage, layout) = tensor.storage_and_layout();
        Self {
            storage: Box::new(storage),
            layout,
        }
    }

    fn cpu(&self) -> Result<&CpuStorage> {
        match &**self.storage {
            Storage::Cpu(storage) => Ok(storage),
            _ => candle_core::bail!("kernels: operand on another device than the CPU"),
        }
    }

    pub(crate) fn layout(&self) -> &Layout {
        self.layout
    }

    /// Its elements, which must be contiguous and of this type.
    pub(crate) fn elements<T: Element>(&self) -> Result<&[T]> {
        contiguous(self.cpu()?, self.layout)
    }

    /// Its elements, which must be contiguous.
    pub(crate) fn view(&self) -> Result<View<'_>> {
        View::contiguous(self.cpu()?, self.layout)
    }

    /// The same in f32.
    pub(crate) fn floats(&self) -> Result<F32Input<'_>> {
        F32Input::contiguous(self.cpu()?, self.layout)
    }

    /// Its storage from the first element on, for strided reading.
    pub(crate) fn strided(&self) -> Result<View<'_>> {
        View::strided(self.cpu()?, self.layout)
    }
}
