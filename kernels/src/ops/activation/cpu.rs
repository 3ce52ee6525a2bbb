use candle_core::{CpuStorage, Layout, Result, Shape};
use pulp::Simd;
use rayon::prelude::*;

use super::Activation;
use crate::cpu::element::{Element, by_type};
use crate::cpu::memory::unwritten;
use crate::cpu::parallel::CHUNK;
use crate::cpu::simd::{self, Map, MapSlice};
use crate::cpu::storage::contiguous;

impl Map for Activation {
    #[inline(always)]
    fn apply<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        match self {
            Self::Identity => x,
            Self::Gelu => simd::gelu(simd, x),
            Self::Silu => simd::silu(simd, x),
            Self::Relu => simd.max_f32s(x, simd.splat_f32s(0.)),
        }
    }
}

pub(super) fn forward(f: Activation, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
    let y = by_type!(storage, T => {
        let x: &[T] = contiguous(storage, layout)?;
        let mut y: Vec<T> = unwritten(x.len());
        y.par_chunks_mut(CHUNK)
            .zip(x.par_chunks(CHUNK))
            .for_each(|(dst, src)| simd::dispatch(MapSlice { f, src, dst }));
        T::storage(y)
    });
    Ok((y, layout.shape().clone()))
}
