//! One task of the attention kernel.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::rows::{Heads, Strided};
use crate::block::{Block, Dense, Epilogue, load, store};
use crate::panels::Panels;
use crate::shared::Shared;
use crate::{scratch, simd};

/// Query rows per tile, a multiple of every row count of the inner loop.
pub(super) const QUERIES: usize = 48;
/// Keys per tile.
const KEYS: usize = 384;

#[derive(Clone, Copy)]
pub(super) enum Mask<'a> {
    None,
    Causal {
        offset: usize,
    },
    RelPos {
        rel_h: Strided<'a>,
        rel_w: Strided<'a>,
        kw: usize,
    },
    Bias(Strided<'a>),
}

/// The inputs and output that all tasks share.
pub(super) struct Job<'a> {
    pub heads: Heads,
    pub scale: f32,
    pub q: Strided<'a>,
    pub k: Strided<'a>,
    pub v: Strided<'a>,
    pub mask: Mask<'a>,
    /// (B, Nq, H, Dv)
    pub out: Shared<'a>,
}

/// Rows `rows` of one key/value head against `keys`. Row `r` is query `queries.start + r % n` of the group's head
/// `r / n`, `n` the number of `queries`.
#[derive(Debug, Clone)]
pub(super) struct Task {
    /// `b Hkv + h`.
    pub head: usize,
    pub queries: Range<usize>,
    pub rows: Range<usize>,
    pub keys: Range<usize>,
}

impl Job<'_> {
    /// Batch, query head and query of a task's row.
    fn row(&self, task: &Task, row: usize) -> [usize; 3] {
        let (n, kv_heads) = (task.queries.len(), self.heads.heads / self.heads.group);
        let (b, h) = (task.head / kv_heads, task.head % kv_heads);
        [b, h * self.heads.group + row / n, task.queries.start + row % n]
    }

    /// The end of the keys that a query sees.
    fn visible(&self, task: &Task, query: usize) -> usize {
        match self.mask {
            Mask::Causal { offset } => task.keys.end.min(query + offset + 1),
            _ => task.keys.end,
        }
    }

    pub(super) fn run(&self, task: Task) {
        let Heads {
            d, dv, heads, group, ..
        } = self.heads;
        let (b, h) = (task.head / (heads / group), task.head % (heads / group));
        let end = task
            .rows
            .clone()
            .map(|r| self.visible(&task, self.row(&task, r)[2]))
            .max();
        let keys = task.keys.start..end.unwrap_or(task.keys.start);
        let tiles = keys.len().div_ceil(KEYS);
        // Per tile of keys: K^T as panels over keys, V as panels over its columns.
        let kt = |tile: usize| Panels::new(d, (keys.len() - tile * KEYS).min(KEYS));
        let vt = |tile: usize| Panels::new((keys.len() - tile * KEYS).min(KEYS), dv);
        if tiles == 0 {
            return;
        }
        // Scores are scaled after the sum, as the references do, unless something is added to them.
        let (early, late) = match self.mask {
            Mask::None | Mask::Causal { .. } => (1., self.scale),
            Mask::Bias(_) | Mask::RelPos { .. } => (self.scale, 1.),
        };
        let (k_len, v_len) = (kt(0).len(), vt(0).len());
        scratch::with(tiles * (k_len + v_len), |packed| {
            for (tile, packed) in packed.chunks_exact_mut(k_len + v_len).enumerate() {
                let (k_panels, v_panels) = packed.split_at_mut(k_len);
                let first = keys.start + tile * KEYS;
                let (shape, src) = (kt(tile), self.k.from(b, h, first));
                let k_panels = &mut k_panels[..shape.len()];
                shape.pack_all(k_panels, |p, panel| {
                    shape.pack_transposed(p, panel, src, self.k.stride[2])
                });
                let (shape, src) = (vt(tile), self.v.from(b, h, first));
                let v_panels = &mut v_panels[..shape.len()];
                shape.pack_all(v_panels, |p, panel| {
                    shape.pack_rows(p, panel, src, self.v.stride[2])
                });
            }
            let packed = &*packed;
            let sizes = [QUERIES * d, QUERIES * KEYS, QUERIES * dv, 2 * QUERIES];
            scratch::with(sizes.iter().sum(), |work| {
                let (q, work) = work.split_at_mut(sizes[0]);
                let (scores, work) = work.split_at_mut(sizes[1]);
                let (values, state) = work.split_at_mut(sizes[2]);
                for begin in task.rows.clone().step_by(QUERIES) {
                    let count = (task.rows.end - begin).min(QUERIES);
                    let rows: Vec<[usize; 3]> = (begin..begin + count).map(|r| self.row(&task, r)).collect();
                    for (q, &[b, h, n]) in q.chunks_exact_mut(d.max(1)).zip(&rows) {
                        let src = &self.q.from(b, h, n)[..d];
                        q.iter_mut().zip(src).for_each(|(q, v)| *q = v * early);
                    }
                    values[..count * dv].fill(0.);
                    let (maxima, sums) = state.split_at_mut(QUERIES);
                    maxima.fill(f32::NEG_INFINITY);
                    sums.fill(0.);
                    for (tile, packed) in packed.chunks_exact(k_len + v_len).enumerate() {
                        let first = keys.start + tile * KEYS;
                        let last_visible = rows.iter().map(|r| self.visible(&task, r[2])).max();
                        if last_visible.is_none_or(|end| end <= first) {
                            break;
                        }
                        let shape = kt(tile);
                        let masked = self.fill_scores(&rows, first, shape.n, scores);
                        simd::dispatch(Block {
                            a: Dense::new(&q[..count * d], d),
                            rows: count,
                            shape,
                            packed: &packed[..shape.len()],
                            out: &mut *scores,
                            stride: KEYS,
                            column: 0,
                            accumulate: masked,
                            epilogue: Epilogue::default(),
                        });
                        if let Mask::Causal { .. } = self.mask {
                            for (scores, row) in scores.chunks_exact_mut(KEYS).zip(&rows) {
                                let seen = self.visible(&task, row[2]).saturating_sub(first).min(shape.n);
                                scores[seen..shape.n].fill(f32::NEG_INFINITY);
                            }
                        }
                        simd::dispatch(Softmax {
                            rows: count,
                            keys: shape.n,
                            dv,
                            scale: late,
                            scores: &mut *scores,
                            values: &mut *values,
                            maxima: &mut *maxima,
                            sums: &mut *sums,
                        });
                        let shape = vt(tile);
                        simd::dispatch(Block {
                            a: Dense {
                                data: scores,
                                stride: KEYS,
                                begin: 0,
                                end: shape.k,
                            },
                            rows: count,
                            shape,
                            packed: &packed[k_len..k_len + shape.len()],
                            out: &mut *values,
                            stride: dv,
                            column: 0,
                            accumulate: true,
                            epilogue: Epilogue::default(),
                        });
                    }
                    self.write(&rows, values, sums);
                }
            });
        });
    }

    /// Lays down what is added to the scores of a tile; false if that is nothing.
    fn fill_scores(&self, rows: &[[usize; 3]], first: usize, keys: usize, scores: &mut [f32]) -> bool {
        match self.mask {
            Mask::None | Mask::Causal { .. } => return false,
            Mask::Bias(bias) => {
                for (scores, &row) in scores.chunks_exact_mut(KEYS).zip(rows) {
                    bias.copy(row, first, &mut scores[..keys]);
                }
            }
            Mask::RelPos { rel_h, rel_w, kw } => {
                for (scores, &row) in scores.chunks_exact_mut(KEYS).zip(rows) {
                    let mut key = first;
                    let mut rest = &mut scores[..keys];
                    while !rest.is_empty() {
                        let (y, x) = (key / kw, key % kw);
                        let run = (kw - x).min(rest.len());
                        let (now, later) = rest.split_at_mut(run);
                        let mut above = [0.];
                        rel_h.copy(row, y, &mut above);
                        rel_w.copy(row, x, now);
                        now.iter_mut().for_each(|v| *v += above[0]);
                        key += run;
                        rest = later;
                    }
                }
            }
        }
        true
    }

    #[allow(unsafe_code)]
    fn write(&self, rows: &[[usize; 3]], values: &[f32], sums: &[f32]) {
        let Heads { nq, dv, heads, .. } = self.heads;
        for ((&[b, h, n], values), &sum) in rows.iter().zip(values.chunks_exact(dv)).zip(sums) {
            // SAFETY: a (batch, head, query) belongs to one row of one task, so no other piece covers it.
            let out = unsafe { self.out.piece(((b * nq + n) * heads + h) * dv, dv) };
            let inverse = if sum > 0. { 1. / sum } else { 0. };
            out.iter_mut().zip(values).for_each(|(out, v)| *out = v * inverse);
        }
    }
}

/// Turns a tile of scores into weights relative to the running maximum, and rescales what was summed before.
struct Softmax<'a> {
    rows: usize,
    keys: usize,
    dv: usize,
    /// Of the scores as they come.
    scale: f32,
    /// `KEYS` floats a row.
    scores: &'a mut [f32],
    /// `dv` floats a row.
    values: &'a mut [f32],
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
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
