use candle_core::backend::BackendStorage;
use candle_core::{CpuStorage, Layout, Result, Shape};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Pairwise;
use crate::cpu::element::{Element, by_type};
use crate::cpu::memory::unwritten;
use crate::cpu::parallel::CHUNK;
use crate::cpu::simd;
use crate::cpu::storage::{F32Input, contiguous, same_type};

pub(super) fn forward(
    f: Pairwise,
    (a, a_layout): (&CpuStorage, &Layout),
    (b, b_layout): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let out = match a.dtype() == b.dtype() {
        true => by_type!(a, T => T::storage(of::<T>(f, contiguous(a, a_layout)?, contiguous(b, b_layout)?))),
        false => {
            let (x, y) = (
                F32Input::contiguous(a, a_layout)?,
                F32Input::contiguous(b, b_layout)?,
            );
            same_type(a, of(f, &x, &y))?
        }
    };
    Ok((out, a_layout.shape().clone()))
}

fn of<T: Element>(f: Pairwise, a: &[T], b: &[T]) -> Vec<T> {
    let mut out = unwritten(a.len());
    out.par_chunks_mut(CHUNK)
        .zip(a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK)))
        .for_each(|(dst, (a, b))| simd::dispatch(Pairs { f, a, b, dst }));
    out
}

struct Pairs<'a, T> {
    f: Pairwise,
    a: &'a [T],
    b: &'a [T],
    dst: &'a mut [T],
}

impl Pairwise {
    #[inline(always)]
    fn of_vectors<S: Simd>(self, simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        match self {
            Self::Add => simd.add_f32s(a, b),
            Self::SiluMul => simd.mul_f32s(simd::silu(simd, a), b),
        }
    }
}

impl Pairwise {
    /// Of a vector of each, or of what is left. No closure: it may stay a call, without the vectors of the code around it.
    #[inline(always)]
    fn of_slices<S: Simd, T: Element>(self, simd: S, a: &[T], b: &[T], y: &mut [T]) {
        let (a, b) = (T::load(simd, a), T::load(simd, b));
        T::store(simd, y, self.of_vectors(simd, a, b));
    }
}

impl<T: Element> WithSimd for Pairs<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut dst = self.dst.chunks_exact_mut(S::F32_LANES);
        let a = self.a.chunks_exact(S::F32_LANES);
        let b = self.b.chunks_exact(S::F32_LANES);
        let last = (a.remainder(), b.remainder());
        for (y, (a, b)) in (&mut dst).zip(a.zip(b)) {
            self.f.of_slices(simd, a, b, y);
        }
        if !last.0.is_empty() {
            self.f.of_slices(simd, last.0, last.1, dst.into_remainder());
        }
    }
}
