//! Between candle's typed CPU storage and the f32 slices that the kernels compute on.

use std::borrow::Cow;
use std::ops::Deref;

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor};
use half::slice::HalfFloatSliceExt;

/// A tensor's storage as f32: borrowed when it is f32, converted (whole storage) when it is bf16 or f16.
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
        match layout.contiguous_offsets() {
            Some((begin, end)) => Self::range(storage, begin, end),
            None => candle_core::bail!("kernels: a contiguous tensor is needed, got {layout:?}"),
        }
    }

    /// The storage from a strided tensor's first element on; index it with the layout's strides.
    pub(crate) fn strided(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        let empty = layout.shape().elem_count() == 0;
        let reach = |(&dim, &stride): (&usize, &usize)| dim.saturating_sub(1) * stride;
        let reach: usize = layout.dims().iter().zip(layout.stride()).map(reach).sum();
        let begin = layout.start_offset();
        Self::range(storage, begin, if empty { begin } else { begin + reach + 1 })
    }

    fn range(storage: &'a CpuStorage, begin: usize, end: usize) -> Result<Self> {
        let data = match storage {
            CpuStorage::F32(v) => Cow::Borrowed(&v[begin..end]),
            CpuStorage::BF16(v) => Cow::Owned(v[begin..end].to_f32_vec()),
            CpuStorage::F16(v) => Cow::Owned(v[begin..end].to_f32_vec()),
            _ => candle_core::bail!("kernels: f32, bf16 or f16 is needed"),
        };
        Ok(Self { data })
    }
}

/// `values` in the element type of `like`, rounded to nearest even.
pub(crate) fn same_type(like: &CpuStorage, values: Vec<f32>) -> Result<CpuStorage> {
    Ok(match like {
        CpuStorage::F32(_) => CpuStorage::F32(values),
        CpuStorage::BF16(_) => CpuStorage::BF16(values.into_iter().map(half::bf16::from_f32).collect()),
        CpuStorage::F16(_) => CpuStorage::F16(values.into_iter().map(half::f16::from_f32).collect()),
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

    /// Its elements, which must be contiguous.
    pub(crate) fn view(&self) -> Result<F32Input<'_>> {
        F32Input::contiguous(self.cpu()?, self.layout)
    }

    /// Its storage from the first element on, for strided reading.
    pub(crate) fn strided(&self) -> Result<F32Input<'_>> {
        F32Input::strided(self.cpu()?, self.layout)
    }
}
