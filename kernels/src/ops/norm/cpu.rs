//! Two passes in f32 while the row is in the first-level cache.

use candle_core::{CpuStorage, Layout, Result, Shape};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Norm;
use crate::cpu::block::load;
use crate::cpu::element::{Element, by_type};
use crate::cpu::memory::unwritten;
use crate::cpu::parallel::grain;
use crate::cpu::simd;
use crate::cpu::storage::{F32Input, TensorInput, contiguous};

pub(super) fn forward(
    op: &Norm,
    (x, xl): (&CpuStorage, &Layout),
    (w, wl): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let weight = F32Input::contiguous(w, wl)?;
    let (bias, &eps) = match op {
        Norm::Layer { bias, eps } => (Some(TensorInput::new(bias)), eps),
        Norm::Rms { eps } => (None, eps),
    };
    let bias = bias.as_ref().map(TensorInput::floats).transpose()?;
    let (n, eps) = (weight.len().max(1), eps as f32);
    let out = by_type!(x, T => {
        let input: &[T] = contiguous(x, xl)?;
        let mut out: Vec<T> = unwritten(input.len());
        let rows = grain(input.len() / n, 1, 1, 256.max(8192 / n));
        out.par_chunks_mut(rows * n)
            .zip(input.par_chunks(rows * n))
            .for_each(|(dst, src)| {
                simd::dispatch(Rows {
                    src,
                    dst,
                    weight: &weight,
                    bias: bias.as_deref(),
                    eps,
                });
            });
        T::storage(out)
    });
    Ok((out, xl.shape().clone()))
}

struct Rows<'a, T> {
    src: &'a [T],
    dst: &'a mut [T],
    weight: &'a [f32],
    /// With a bias: layer norm; without: RMS norm.
    bias: Option<&'a [f32]>,
    eps: f32,
}

/// Sum of `f(x)` over a row, in four interleaved vectors.
#[inline(always)]
fn total<S: Simd, T: Element>(simd: S, row: &[T], f: impl Fn(S::f32s, S::f32s) -> S::f32s) -> f32 {
    let mut sums = [simd.splat_f32s(0.); 4];
    let mut quads = row.chunks_exact(4 * S::F32_LANES);
    for quad in &mut quads {
        for (sum, v) in sums.iter_mut().zip(quad.chunks_exact(S::F32_LANES)) {
            *sum = f(*sum, T::load(simd, v));
        }
    }
    let mut rest = quads.remainder().chunks_exact(S::F32_LANES);
    for (sum, v) in sums.iter_mut().zip(&mut rest) {
        *sum = f(*sum, T::load(simd, v));
    }
    let pair = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
    let mut sum = simd.reduce_sum_f32s(pair);
    for v in rest.remainder() {
        let mut wide = [0.];
        T::widen(std::slice::from_ref(v), &mut wide);
        let one = f(simd.splat_f32s(0.), simd.splat_f32s(wide[0]));
        sum += simd.reduce_max_f32s(one);
    }
    sum
}

impl<T: Element> WithSimd for Rows<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let n = self.weight.len();
        let count = n as f32;
        for (src, dst) in self.src.chunks_exact(n).zip(self.dst.chunks_exact_mut(n)) {
            let mean = match self.bias {
                Some(_) => total(simd, src, |sum, v| simd.add_f32s(sum, v)) / count,
                None => 0.,
            };
            let minus = simd.splat_f32s(mean);
            let square = |sum, v| {
                let centred = simd.sub_f32s(v, minus);
                simd.mul_add_e_f32s(centred, centred, sum)
            };
            let variance = total(simd, src, square) / count;
            let scale = simd.splat_f32s(1. / (variance + self.eps).sqrt());
            for i in (0..n).step_by(S::F32_LANES) {
                let end = (i + S::F32_LANES).min(n);
                let unit = simd.mul_f32s(simd.sub_f32s(T::load(simd, &src[i..end]), minus), scale);
                let weight = load(simd, &self.weight[i..end]);
                let y = match self.bias {
                    Some(bias) => simd.mul_add_e_f32s(unit, weight, load(simd, &bias[i..end])),
                    None => simd.mul_f32s(T::rounded(simd, unit), weight),
                };
                T::store(simd, &mut dst[i..end], y);
            }
        }
    }
}
