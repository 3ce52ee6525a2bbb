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
            let now = self.maxima[r].max(scaled_peak(simd, scores, self.scale));
            // With every key so far masked out there is nothing to be relative to; all weights become 0.
            let base = if now == f32::NEG_INFINITY { 0. } else { now };
            let minus = simd.splat_f32s(base);
            let (full, tail) = S::as_mut_simd_f32s(scores);
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
        for r in 0..job.rows {
            let scores = &mut job.scores[r * KEYS..r * KEYS + job.keys];
            let now = job.maxima[r].max(scaled_peak(simd, scores, job.scale));
            // As above, with every key so far masked out.
            let minus = simd.splat_f32s(if now == f32::NEG_INFINITY { 0. } else { now });
            let (mut sum, mut other) = (simd.splat_f32s(0.), simd.splat_f32s(0.));
            // Two chains: the latency of one would be the limit.
            let (full, tail) = S::as_mut_simd_f32s(scores);
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

/// Multiplies `scores` by `scale`, and gives the largest.
#[inline(always)]
fn scaled_peak<S: Simd>(simd: S, scores: &mut [f32], scale: f32) -> f32 {
    let factor = simd.splat_f32s(scale);
    let none = simd.splat_f32s(f32::NEG_INFINITY);
    let (full, tail) = S::as_mut_simd_f32s(scores);
    // Two chains, as above.
    let (mut peak, mut other) = (none, none);
    let (pairs, single) = full.as_chunks_mut::<2>();
    for [a, b] in pairs {
        *a = simd.mul_f32s(*a, factor);
        *b = simd.mul_f32s(*b, factor);
        peak = simd.max_f32s(peak, *a);
        other = simd.max_f32s(other, *b);
    }
    for v in single {
        *v = simd.mul_f32s(*v, factor);
        peak = simd.max_f32s(peak, *v);
    }
    let mut largest = simd.reduce_max_f32s(simd.max_f32s(peak, other));
    for v in tail {
        *v *= scale;
        largest = largest.max(*v);
    }
    largest
}

/// Weights are added in f64: their sum divides everything, so its rounding would be in every value.
#[inline(always)]
fn sum_f64(weights: &[f32]) -> f32 {
    let mut lanes = [0f64; 16];
    let (parts, rest) = weights.as_chunks::<16>();
    for part in parts {
        lanes
            .iter_mut()
            .zip(part)
            .for_each(|(sum, &w)| *sum += f64::from(w));
    }
    let rest: f64 = rest.iter().map(|&w| f64::from(w)).sum();
    (lanes.iter().sum::<f64>() + rest) as f32
}
