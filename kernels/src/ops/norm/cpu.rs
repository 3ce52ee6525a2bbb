//! Two passes in f32 while the row is in the first-level cache.

use candle_core::{CpuStorage, Layout, Result, Shape};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Norm;
use crate::cpu::block::{load, store};
use crate::cpu::memory::unwritten;
use crate::cpu::parallel::grain;
use crate::cpu::simd;
use crate::cpu::storage::{F32Input, TensorInput, same_type};

pub(super) fn forward(
    op: &Norm,
    (x, xl): (&CpuStorage, &Layout),
    (w, wl): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let n = wl.shape().elem_count();
    let (input, weight) = (F32Input::contiguous(x, xl)?, F32Input::contiguous(w, wl)?);
    let mut out = unwritten(input.len());
    if out.is_empty() {
        return Ok((same_type(x, out)?, xl.shape().clone()));
    }
    let (bias, &eps) = match op {
        Norm::Layer { bias, eps } => (Some(TensorInput::new(bias)), eps),
        Norm::Rms { eps } => (None, eps),
    };
    let bias = bias.as_ref().map(TensorInput::view).transpose()?;
    let rounding = match x {
        CpuStorage::BF16(_) => Rounding::Bf16,
        CpuStorage::F16(_) => Rounding::F16,
        _ => Rounding::None,
    };
    let rows = grain(input.len() / n, 1, 1, 256.max(8192 / n));
    out.par_chunks_mut(rows * n)
        .zip(input.par_chunks(rows * n))
        .for_each(|(dst, src)| {
            simd::dispatch(Rows {
                src,
                dst,
                weight: &weight,
                bias: bias.as_deref(),
                eps: eps as f32,
                rounding,
            });
        });
    Ok((same_type(x, out)?, xl.shape().clone()))
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Rounding {
    None,
    Bf16,
    F16,
}

impl Rounding {
    fn apply(self, row: &mut [f32]) {
        match self {
            Self::None => {}
            Self::Bf16 => row
                .iter_mut()
                .for_each(|v| *v = half::bf16::from_f32(*v).to_f32()),
            Self::F16 => row.iter_mut().for_each(|v| *v = half::f16::from_f32(*v).to_f32()),
        }
    }
}

struct Rows<'a> {
    src: &'a [f32],
    dst: &'a mut [f32],
    weight: &'a [f32],
    /// With a bias: layer norm; without: RMS norm.
    bias: Option<&'a [f32]>,
    eps: f32,
    rounding: Rounding,
}

/// Sum of `f(x)` over a row, in four interleaved vectors.
#[inline(always)]
fn total<S: Simd>(simd: S, row: &[f32], f: impl Fn(S::f32s, S::f32s) -> S::f32s) -> f32 {
    let (full, tail) = S::as_simd_f32s(row);
    let (quads, rest) = full.as_chunks::<4>();
    let mut sums = [simd.splat_f32s(0.); 4];
    for quad in quads {
        for (sum, &v) in sums.iter_mut().zip(quad) {
            *sum = f(*sum, v);
        }
    }
    for (sum, &v) in sums.iter_mut().zip(rest) {
        *sum = f(*sum, v);
    }
    let pair = simd.add_f32s(simd.add_f32s(sums[0], sums[1]), simd.add_f32s(sums[2], sums[3]));
    let mut sum = simd.reduce_sum_f32s(pair);
    for &v in tail {
        let one = f(simd.splat_f32s(0.), simd.splat_f32s(v));
        sum += simd.reduce_max_f32s(one);
    }
    sum
}

impl WithSimd for Rows<'_> {
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
            if self.rounding != Rounding::None && self.bias.is_none() {
                for i in (0..n).step_by(S::F32_LANES) {
                    let end = (i + S::F32_LANES).min(n);
                    store(
                        simd,
                        &mut dst[i..end],
                        simd.mul_f32s(load(simd, &src[i..end]), scale),
                    );
                }
                self.rounding.apply(dst);
                dst.iter_mut().zip(self.weight).for_each(|(v, w)| *v *= w);
                continue;
            }
            for i in (0..n).step_by(S::F32_LANES) {
                let end = (i + S::F32_LANES).min(n);
                let unit = simd.mul_f32s(simd.sub_f32s(load(simd, &src[i..end]), minus), scale);
                let weight = load(simd, &self.weight[i..end]);
                let y = match self.bias {
                    Some(bias) => simd.mul_add_e_f32s(unit, weight, load(simd, &bias[i..end])),
                    None => simd.mul_f32s(unit, weight),
                };
                store(simd, &mut dst[i..end], y);
            }
        }
    }
}
