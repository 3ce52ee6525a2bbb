use candle_core::{CpuStorage, Layout, Result, Shape};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Pairwise;
use crate::cpu::memory::unwritten;
use crate::cpu::parallel::CHUNK;
use crate::cpu::simd;
use crate::cpu::storage::{F32Input, same_type};

pub(super) fn forward(
    f: Pairwise,
    (a, a_layout): (&CpuStorage, &Layout),
    (b, b_layout): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let (x, y) = (
        F32Input::contiguous(a, a_layout)?,
        F32Input::contiguous(b, b_layout)?,
    );
    let mut out = unwritten(x.len());
    out.par_chunks_mut(CHUNK)
        .zip(x.par_chunks(CHUNK).zip(y.par_chunks(CHUNK)))
        .for_each(|(dst, (a, b))| simd::dispatch(Pairs { f, a, b, dst }));
    Ok((same_type(a, out)?, a_layout.shape().clone()))
}

struct Pairs<'a> {
    f: Pairwise,
    a: &'a [f32],
    b: &'a [f32],
    dst: &'a mut [f32],
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

impl WithSimd for Pairs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (a, a_tail) = S::as_simd_f32s(self.a);
        let (b, b_tail) = S::as_simd_f32s(self.b);
        let (dst, dst_tail) = S::as_mut_simd_f32s(self.dst);
        for (y, (&a, &b)) in dst.iter_mut().zip(a.iter().zip(b)) {
            *y = self.f.of_vectors(simd, a, b);
        }
        if !dst_tail.is_empty() {
            let (a, b) = (simd.partial_load_f32s(a_tail), simd.partial_load_f32s(b_tail));
            simd.partial_store_f32s(dst_tail, self.f.of_vectors(simd, a, b));
        }
    }
}
