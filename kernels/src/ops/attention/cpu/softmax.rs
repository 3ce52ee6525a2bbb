//! The softmax between the two products, tile by tile (online softmax).

use pulp::{Simd, WithSimd};

use super::tile::KEYS;
use crate::cpu::block::{load, store};
use crate::cpu::simd;

/// Turns a tile of scores into weights relative to the running maximum, and rescales what was summed before.
pub(super) struct Softmax<'a> {
    pub rows: usize,
    pub keys: usize,
    pub dv: usize,
    /// Of the scores as they come.
    pub scale: f32,
    /// `KEYS` floats a row.
    pub scores: &'a mut [f32],
    /// `dv` floats a row.
    pub values: &'a mut [f32],
    pub maxima: &'a mut [f32],
    pub sums: &'a mut [f32],
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for r in 0..self.rows {
            let scores = &mut self.scores[r * KEYS..r * KEYS + self.keys];
            let mut peak = simd.splat_f32s(f32::NEG_INFINITY);
            if self.scale != 1. {
                scores.iter_mut().for_each(|v| *v *= self.scale);
            }
            let (full, tail) = S::as_mut_simd_f32s(scores);
            for v in full.iter() {
                peak = simd.max_f32s(peak, *v);
            }
            let tail_peak = tail.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let before = self.maxima[r];
            let now = before.max(simd.reduce_max_f32s(peak)).max(tail_peak);
            // With every key so far masked out there is nothing to be relative to; all weights become 0.
            let base = if now == f32::NEG_INFINITY { 0. } else { now };
            let minus = simd.splat_f32s(base);
            for v in full.iter_mut() {
                *v = simd::exp(simd, simd.sub_f32s(*v, minus));
            }
            if !tail.is_empty() {
                let v = simd::exp(simd, simd.sub_f32s(simd.partial_load_f32s(tail), minus));
                simd.partial_store_f32s(tail, v);
            }
            let sum = sum_f64(scores);
            self.settle(simd, r, now, sum);
        }
    }
}

impl Softmax<'_> {
    /// Makes what was summed before in row `r` relative to the maximum `now`, and adds the tile's sum.
    #[inline(always)]
    fn settle<S: Simd>(&mut self, simd: S, r: usize, now: f32, sum: f32) {
        let before = self.maxima[r];
        if now > before && self.sums[r] > 0. {
            let shrink = (before - now).exp();
            let factor = simd.splat_f32s(shrink);
            self.sums[r] *= shrink;
            let values = &mut self.values[r * self.dv..(r + 1) * self.dv];
            for i in (0..self.dv).step_by(S::F32_LANES) {
                let part = &mut values[i..(i + S::F32_LANES).min(self.dv)];
                let v = simd.mul_f32s(load(simd, part), factor);
                store(simd, part, v);
            }
        }
        self.maxima[r] = now;
        self.sums[r] += sum;
    }
}

/// The same in two passes, with sums in f32: for weights that are then rounded to 17 bits.
pub(super) struct QuickSoftmax<'a>(pub Softmax<'a>);

impl WithSimd for QuickSoftmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut job = self.0;
        let scale = simd.splat_f32s(job.scale);
        let none = simd.splat_f32s(f32::NEG_INFINITY);
        for r in 0..job.rows {
            let scores = &mut job.scores[r * KEYS..r * KEYS + job.keys];
            let (full, tail) = S::as_mut_simd_f32s(scores);
            // Two chains each: the latency of one would be the limit.
            let (mut peak, mut other) = (none, none);
            let (pairs, single) = full.as_chunks_mut::<2>();
            for [a, b] in pairs {
                *a = simd.mul_f32s(*a, scale);
                *b = simd.mul_f32s(*b, scale);
                peak = simd.max_f32s(peak, *a);
                other = simd.max_f32s(other, *b);
            }
            for v in single {
                *v = simd.mul_f32s(*v, scale);
                peak = simd.max_f32s(peak, *v);
            }
            let mut tail_peak = f32::NEG_INFINITY;
            for v in tail.iter_mut() {
                *v *= job.scale;
                tail_peak = tail_peak.max(*v);
            }
            let peak = simd.reduce_max_f32s(simd.max_f32s(peak, other));
            let now = job.maxima[r].max(peak).max(tail_peak);
            // As above, with every key so far masked out.
            let minus = simd.splat_f32s(if now == f32::NEG_INFINITY { 0. } else { now });
            let (mut sum, mut other) = (simd.splat_f32s(0.), simd.splat_f32s(0.));
            let (pairs, single) = full.as_chunks_mut::<2>();
            for [a, b] in pairs {
                *a = simd::exp(simd, simd.sub_f32s(*a, minus));
                *b = simd::exp(simd, simd.sub_f32s(*b, minus));
                sum = simd.add_f32s(sum, *a);
                other = simd.add_f32s(other, *b);
            }
            for v in single {
                *v = simd::exp(simd, simd.sub_f32s(*v, minus));
                sum = simd.add_f32s(sum, *v);
            }
            let mut sum = simd.reduce_sum_f32s(simd.add_f32s(sum, other));
            if !tail.is_empty() {
                let v = simd::exp(simd, simd.sub_f32s(simd.partial_load_f32s(tail), minus));
                simd.partial_store_f32s(tail, v);
                sum += tail.iter().sum::<f32>();
            }
            job.settle(simd, r, now, sum);
        }
    }
}

/// Weights are added in f64: their sum divides everything, so its rounding would be in every value.
#[inline(always)]
fn sum_f64(weights: &[f32]) -> f32 {
    let mut lanes = [0f64; 8];
    let (eights, rest) = weights.as_chunks::<8>();
    for eight in eights {
        lanes
            .iter_mut()
            .zip(eight)
            .for_each(|(sum, &w)| *sum += f64::from(w));
    }
    let rest: f64 = rest.iter().map(|&w| f64::from(w)).sum();
    (lanes.iter().sum::<f64>() + rest) as f32
}
