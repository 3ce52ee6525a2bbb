//! Operands and results of whatever element type, where a kernel's arithmetic does not depend on it.

use std::ops::Range;

use candle_core::{CpuStorage, Layout, Result};
use half::{bf16, f16};
use pulp::Simd;
use rayon::prelude::*;

use super::disjoint::DisjointOutput;
use super::element::{Element, narrow, widen};
use super::memory::{unwritten, zeros};
use super::scratch;

/// Elements of a tensor, where they lie.
#[derive(Debug, Clone, Copy)]
pub(crate) enum View<'a> {
    F32(&'a [f32]),
    Bf16(&'a [bf16]),
    F16(&'a [f16]),
}

impl<'a> View<'a> {
    /// The elements of a contiguous tensor, in order.
    pub(crate) fn contiguous(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        match layout.contiguous_offsets() {
            Some((begin, end)) => Ok(Self::whole(storage)?.part(begin..end)),
            None => candle_core::bail!("kernels: a contiguous tensor is needed, got {layout:?}"),
        }
    }

    /// The storage from a strided tensor's first element to its last; index it with the layout's strides.
    pub(crate) fn strided(storage: &'a CpuStorage, layout: &Layout) -> Result<Self> {
        let empty = layout.shape().elem_count() == 0;
        let reach = |(&dim, &stride): (&usize, &usize)| dim.saturating_sub(1) * stride;
        let reach: usize = layout.dims().iter().zip(layout.stride()).map(reach).sum();
        let begin = layout.start_offset();
        let end = if empty { begin } else { begin + reach + 1 };
        Ok(Self::whole(storage)?.part(begin..end))
    }

    fn whole(storage: &'a CpuStorage) -> Result<Self> {
        match storage {
            CpuStorage::F32(v) => Ok(Self::F32(v)),
            CpuStorage::BF16(v) => Ok(Self::Bf16(v)),
            CpuStorage::F16(v) => Ok(Self::F16(v)),
            _ => candle_core::bail!("kernels: f32, bf16 or f16 is needed"),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::Bf16(v) => v.len(),
            Self::F16(v) => v.len(),
        }
    }

    #[inline(always)]
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        match self {
            Self::F32(v) => Self::F32(&v[range]),
            Self::Bf16(v) => Self::Bf16(&v[range]),
            Self::F16(v) => Self::F16(&v[range]),
        }
    }

    pub(crate) fn from(self, begin: usize) -> Self {
        self.part(begin..self.len())
    }

    /// A vector of what lies in `range`, 0 behind it; for code that runs with vectors.
    #[inline(always)]
    pub(crate) fn load<S: Simd>(&self, simd: S, range: Range<usize>) -> S::f32s {
        match self {
            Self::F32(v) => f32::load(simd, &v[range]),
            Self::Bf16(v) => bf16::load(simd, &v[range]),
            Self::F16(v) => f16::load(simd, &v[range]),
        }
    }

    /// The whole in f32.
    pub(crate) fn copy_to(self, floats: &mut [f32]) {
        match self {
            Self::F32(v) => floats.copy_from_slice(v),
            Self::Bf16(v) => widen(v, floats),
            Self::F16(v) => widen(v, floats),
        }
    }

    /// The whole in f32: where it lies, or widened in memory of the thread.
    pub(crate) fn with<R>(self, f: impl FnOnce(&[f32]) -> R) -> R {
        match self {
            Self::F32(v) => f(v),
            _ => scratch::with(self.len(), |floats| {
                self.copy_to(floats);
                f(floats)
            }),
        }
    }

    /// Room for `len` elements of this type, all 0.
    pub(crate) fn room(&self, len: usize) -> Elements {
        match self {
            Self::F32(_) => Elements::F32(vec![0.; len]),
            Self::Bf16(_) => Elements::Bf16(vec![bf16::ZERO; len]),
            Self::F16(_) => Elements::F16(vec![f16::ZERO; len]),
        }
    }
}

/// Elements of a type that is known at run time: a result.
#[derive(Debug)]
pub(crate) enum Elements {
    F32(Vec<f32>),
    Bf16(Vec<bf16>),
    F16(Vec<f16>),
}

impl Elements {
    /// `len` elements, of any content, of the type of `like`; see [`unwritten`].
    ///
    /// # Errors
    /// Another type than f32, bf16 and f16.
    pub(crate) fn unwritten(like: &CpuStorage, len: usize) -> Result<Self> {
        Ok(match View::whole(like)? {
            View::F32(_) => Self::F32(unwritten(len)),
            View::Bf16(_) => Self::Bf16(unwritten(len)),
            View::F16(_) => Self::F16(unwritten(len)),
        })
    }

    /// The same, all 0.
    ///
    /// # Errors
    /// As [`Self::unwritten`].
    pub(crate) fn zeros(like: &CpuStorage, len: usize) -> Result<Self> {
        Ok(match View::whole(like)? {
            View::F32(_) => Self::F32(zeros(len)),
            View::Bf16(_) => Self::Bf16(zeros(len)),
            View::F16(_) => Self::F16(zeros(len)),
        })
    }

    pub(crate) fn storage(self) -> CpuStorage {
        match self {
            Self::F32(v) => CpuStorage::F32(v),
            Self::Bf16(v) => CpuStorage::BF16(v),
            Self::F16(v) => CpuStorage::F16(v),
        }
    }

    /// For tasks that write pieces of `range`, counted from its begin.
    pub(crate) fn output(&mut self, range: Range<usize>) -> Output<'_> {
        match self {
            Self::F32(v) => Output::F32(DisjointOutput::new(&mut v[range])),
            Self::Bf16(v) => Output::Bf16(DisjointOutput::new(&mut v[range])),
            Self::F16(v) => Output::F16(DisjointOutput::new(&mut v[range])),
        }
    }

    /// Pieces of `piece` elements, each with its number, on all cores: `f` writes one in f32.
    pub(crate) fn fill(&mut self, piece: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
        fn narrowed<T: Element>(out: &mut [T], piece: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
            out.par_chunks_mut(piece).enumerate().for_each(|(i, out)| {
                scratch::with(out.len(), |floats| {
                    f(i, floats);
                    narrow(floats, out);
                });
            });
        }
        match self {
            Self::F32(v) => v.par_chunks_mut(piece).enumerate().for_each(|(i, out)| f(i, out)),
            Self::Bf16(v) => narrowed(v, piece, f),
            Self::F16(v) => narrowed(v, piece, f),
        }
    }
}

/// A result that parallel tasks write in pieces which are disjoint but not contiguous.
pub(crate) enum Output<'a> {
    F32(DisjointOutput<'a, f32>),
    Bf16(DisjointOutput<'a, bf16>),
    F16(DisjointOutput<'a, f16>),
}

impl Output<'_> {
    /// Whether it can hold sums that are not finished.
    pub(crate) fn holds_sums(&self) -> bool {
        matches!(self, Self::F32(_))
    }

    #[inline(always)]
    /// Writes `values` at `begin`; for code that runs with vectors.
    ///
    /// # Safety
    /// Nobody else uses these elements meanwhile.
    ///
    /// # Panics
    /// If they leave the result.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn put(&self, begin: usize, values: &[f32]) {
        // SAFETY: by the caller's promise.
        unsafe {
            match self {
                Self::F32(out) => out.piece(begin, values.len()).copy_from_slice(values),
                Self::Bf16(out) => bf16::narrow(values, out.piece(begin, values.len())),
                Self::F16(out) => f16::narrow(values, out.piece(begin, values.len())),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn results_of_every_type_are_filled_and_put() {
        for like in [
            CpuStorage::F32(vec![]),
            CpuStorage::BF16(vec![]),
            CpuStorage::F16(vec![]),
        ] {
            let mut out = Elements::zeros(&like, 50).unwrap();
            out.fill(16, |i, piece| piece.fill(i as f32));
            // SAFETY: nobody else is there.
            #[allow(unsafe_code)]
            unsafe {
                out.output(2..50).put(3, &[0.5, 0.25]);
            }
            let storage = out.storage();
            let mut floats = vec![0.; 50];
            View::whole(&storage).unwrap().copy_to(&mut floats);
            let mut wanted: Vec<f32> = (0..50).map(|i| (i / 16) as f32).collect();
            wanted[5..7].copy_from_slice(&[0.5, 0.25]);
            assert_eq!(floats, wanted);
        }
    }
}
