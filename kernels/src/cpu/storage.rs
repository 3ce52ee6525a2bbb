//! Between candle's typed CPU storage and the f32 slices that the kernels compute on.

use std::borrow::Cow;
use std::ops::Deref;

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor};
use half::slice::HalfFloatSliceExt;
use rayon::prelude::*;

use super::parallel::CHUNK;

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
            CpuStorage::BF16(v) => Cow::Owned(convert(&v[begin..end], |v| v.to_f32())),
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
        CpuStorage::BF16(_) => CpuStorage::BF16(convert(&values, round)),
        CpuStorage::F16(_) => CpuStorage::F16(values.into_iter().map(half::f16::from_f32).collect()),
        _ => candle_core::bail!("kernels: f32, bf16 or f16 is needed"),
    })
}

/// `f` of every element, on all cores.
fn convert<T: Copy + Sync, U: Copy + Default + Send>(from: &[T], f: impl Fn(T) -> U + Sync) -> Vec<U> {
    let mut to = vec![U::default(); from.len()];
    let chunk = |(to, from): (&mut [U], &[T])| to.iter_mut().zip(from).for_each(|(to, &v)| *to = f(v));
    match from.len() <= CHUNK {
        true => chunk((&mut to, from)),
        false => to
            .par_chunks_mut(CHUNK)
            .zip(from.par_chunks(CHUNK))
            .for_each(chunk),
    }
    to
}

/// To the nearest, ties to even, as `bf16::from_f32`, without its branch on NaN, so that the loop becomes vectors.
#[inline(always)]
fn round(v: f32) -> half::bf16 {
    let bits = v.to_bits();
    let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    let quiet = (bits >> 16) | 0x40;
    half::bf16::from_bits(if v.is_nan() { quiet } else { rounded } as u16)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_as_half_does() {
        let bits = (0..=u32::MAX).step_by(65_521).chain([
            0x7f80_0000,
            0xff80_0000,
            0x7fff_ffff,
            0x7f80_0001,
            0x3f80_8000,
            0x3f81_8000,
        ]);
        for bits in bits {
            let v = f32::from_bits(bits);
            assert_eq!(round(v).to_bits(), half::bf16::from_f32(v).to_bits(), "{bits:#x}");
        }
    }
}
