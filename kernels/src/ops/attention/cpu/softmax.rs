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
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
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
            if now > before && self.sums[r] > 0. {
                let shrink = (before - now).exp();
                let factor = simd.splat_f32s(shrink);
                self.sums[r] *= shrink;
                let values = &mut self.values[r * self.dv..(r + 1) * self.dv];
                for i in (0..self.dv).step_by(lanes) {
                    let part = &mut values[i..(i + lanes).min(self.dv)];
                    let v = simd.mul_f32s(load(simd, part), factor);
                    store(simd, part, v);
                }
            }
            self.maxima[r] = now;
            self.sums[r] += sum;
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
