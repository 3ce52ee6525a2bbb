//! One task of the attention kernel.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::softmax::Softmax;
use crate::cpu::block::{Block, Dense, EpilogueSlices};
use crate::cpu::panels::Panels;
use crate::cpu::strided::Strided;
use crate::cpu::view::Output;
use crate::cpu::{scratch, simd};
use crate::ops::attention::Dims;

/// Query rows per tile, a multiple of every row count of the inner loop.
pub(super) const QUERIES: usize = 48;
/// Keys per tile.
pub(super) const KEYS: usize = 384;

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
    pub dims: Dims,
    pub scale: f32,
    pub q: Strided<'a>,
    pub k: Strided<'a>,
    pub v: Strided<'a>,
    pub mask: Mask<'a>,
    /// (B, Nq, H, Dv)
    pub out: Output<'a>,
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

/// The keys of a task, cut into tiles, and how each lies packed: its keys, then its values.
struct KeyTiles {
    keys: Range<usize>,
    d: usize,
    dv: usize,
    /// Floats of a full tile's keys and of its values.
    k_len: usize,
    v_len: usize,
}

impl KeyTiles {
    fn new(keys: Range<usize>, d: usize, dv: usize) -> Self {
        let widest = keys.len().min(KEYS);
        Self {
            d,
            dv,
            k_len: Panels::new(d, widest).len(),
            v_len: Panels::new(widest, dv).len(),
            keys,
        }
    }

    fn count(&self) -> usize {
        self.keys.len().div_ceil(KEYS)
    }

    /// Floats from tile to tile, and of all of them.
    fn stride(&self) -> usize {
        self.k_len + self.v_len
    }

    fn len(&self) -> usize {
        self.count() * self.stride()
    }

    /// First key of a tile.
    fn first(&self, tile: usize) -> usize {
        self.keys.start + tile * KEYS
    }

    fn width(&self, tile: usize) -> usize {
        (self.keys.len() - tile * KEYS).min(KEYS)
    }

    /// D x keys.
    fn k(&self, tile: usize) -> Panels {
        Panels::new(self.d, self.width(tile))
    }

    /// keys x Dv.
    fn v(&self, tile: usize) -> Panels {
        Panels::new(self.width(tile), self.dv)
    }
}

/// Working memory for a tile of queries.
pub(super) struct Work<'a> {
    /// `d` floats a row.
    pub q: &'a mut [f32],
    /// `KEYS` floats a row.
    pub scores: &'a mut [f32],
    /// `dv` floats a row.
    pub values: &'a mut [f32],
    /// One float a row.
    pub maxima: &'a mut [f32],
    pub sums: &'a mut [f32],
}

impl Job<'_> {
    /// Batch, query head and query of a task's row.
    pub(super) fn row(&self, task: &Task, row: usize) -> [usize; 3] {
        let (n, kv_heads) = (task.queries.len(), self.dims.kv_heads);
        let (b, h) = (task.head / kv_heads, task.head % kv_heads);
        [b, h * self.dims.group() + row / n, task.queries.start + row % n]
    }

    /// The end of the keys that a query sees.
    pub(super) fn visible(&self, task: &Task, query: usize) -> usize {
        match self.mask {
            Mask::Causal { offset } => task.keys.end.min(query + offset + 1),
            _ => task.keys.end,
        }
    }

    /// The end of the keys that any query of a task sees.
    pub(super) fn last_visible(&self, task: &Task) -> usize {
        let ends = task
            .rows
            .clone()
            .map(|r| self.visible(task, self.row(task, r)[2]));
        ends.max().unwrap_or(task.keys.start)
    }

    pub(super) fn run(&self, task: &Task) {
        let Dims { d, dv, .. } = self.dims;
        let tiles = KeyTiles::new(task.keys.start..self.last_visible(task), d, dv);
        if tiles.count() == 0 {
            return;
        }
        scratch::with(tiles.len(), |packed| {
            self.pack(task, &tiles, packed);
            let packed = &*packed;
            self.by_blocks(QUERIES, task, |rows, work| {
                self.attend(task, rows, &tiles, packed, work)
            });
        });
    }

    /// `attend` for every `queries` rows of a task, with the memory that it works in; writes what it leaves there.
    pub(super) fn by_blocks(
        &self,
        queries: usize,
        task: &Task,
        mut attend: impl FnMut(&[[usize; 3]], &mut Work),
    ) {
        let Dims { d, dv, .. } = self.dims;
        let sizes = [queries * d, queries * KEYS, queries * dv, queries, queries];
        scratch::with(sizes.iter().sum(), |work| {
            let (q, work) = work.split_at_mut(sizes[0]);
            let (scores, work) = work.split_at_mut(sizes[1]);
            let (values, work) = work.split_at_mut(sizes[2]);
            let (maxima, sums) = work.split_at_mut(sizes[3]);
            let mut work = Work {
                q,
                scores,
                values,
                maxima,
                sums,
            };
            for begin in task.rows.clone().step_by(queries) {
                let count = (task.rows.end - begin).min(queries);
                let rows: Vec<[usize; 3]> = (begin..begin + count).map(|r| self.row(task, r)).collect();
                attend(&rows, &mut work);
                self.write(&rows, work.values, work.sums);
            }
        });
    }

    /// Lays out the keys as panels over keys, transposed, and the values as panels over their columns.
    fn pack(&self, task: &Task, tiles: &KeyTiles, packed: &mut [f32]) {
        let kv_heads = self.dims.kv_heads;
        let (b, h) = (task.head / kv_heads, task.head % kv_heads);
        for (tile, packed) in packed.chunks_exact_mut(tiles.stride()).enumerate() {
            let (k_panels, v_panels) = packed.split_at_mut(tiles.k_len);
            let first = tiles.first(tile);
            let shape = tiles.k(tile);
            self.k.floats([b, h, first], (shape.n, shape.k), |src, stride| {
                shape.pack_all(&mut k_panels[..shape.len()], |p, panel| {
                    shape.pack_transposed(p, panel, src, stride)
                });
            });
            let shape = tiles.v(tile);
            self.v.floats([b, h, first], (shape.k, shape.n), |src, stride| {
                shape.pack_all(&mut v_panels[..shape.len()], |p, panel| {
                    shape.pack_rows(p, panel, src, stride)
                });
            });
        }
    }

    /// Scores, weights and weighted values of some query rows against all tiles of keys; leaves the values in `work`,
    /// not yet divided by the sums of their weights.
    fn attend(
        &self,
        task: &Task,
        rows: &[[usize; 3]],
        tiles: &KeyTiles,
        packed: &[f32],
        work: &mut Work<'_>,
    ) {
        let Dims { d, dv, .. } = self.dims;
        let late = self.gather(rows, work.q);
        let count = rows.len();
        work.values[..count * dv].fill(0.);
        work.maxima.fill(f32::NEG_INFINITY);
        work.sums.fill(0.);
        let last_visible = rows.iter().map(|r| self.visible(task, r[2])).max();
        for (tile, packed) in packed.chunks_exact(tiles.stride()).enumerate() {
            let first = tiles.first(tile);
            if last_visible.is_none_or(|end| end <= first) {
                break;
            }
            let shape = tiles.k(tile);
            let masked = self.fill_scores(rows, first, shape.n, work.scores);
            simd::dispatch(Block {
                a: Dense::new(&work.q[..count * d], d),
                rows: count,
                shape,
                packed: &packed[..shape.len()],
                out: &mut *work.scores,
                stride: KEYS,
                column: 0,
                accumulate: masked,
                epilogue: EpilogueSlices::default(),
            });
            self.hide(task, rows, first..first + shape.n, work.scores);
            simd::dispatch(Softmax {
                rows: count,
                keys: shape.n,
                dv,
                scale: late,
                scores: &mut *work.scores,
                values: &mut *work.values,
                maxima: &mut *work.maxima,
                sums: &mut *work.sums,
            });
            let shape = tiles.v(tile);
            simd::dispatch(Block {
                a: Dense {
                    data: &*work.scores,
                    stride: KEYS,
                    begin: 0,
                    end: shape.k,
                },
                rows: count,
                shape,
                packed: &packed[tiles.k_len..tiles.k_len + shape.len()],
                out: &mut *work.values,
                stride: dv,
                column: 0,
                accumulate: true,
                epilogue: EpilogueSlices::default(),
            });
        }
    }

    /// Copies the queries of `rows` to `q`, `d` floats each; returns the factor of the scores that is left to apply. Scores are
    /// scaled after the sum, as the references do, unless something is added to them.
    pub(super) fn gather(&self, rows: &[[usize; 3]], q: &mut [f32]) -> f32 {
        let d = self.dims.d;
        let (early, late) = match self.mask {
            Mask::None | Mask::Causal { .. } => (1., self.scale),
            Mask::Bias(_) | Mask::RelPos { .. } => (self.scale, 1.),
        };
        for (q, &[b, h, n]) in q.chunks_exact_mut(d.max(1)).zip(rows) {
            self.q.from(b, h, n).part(0..d).copy_to(q);
            if early != 1. {
                q.iter_mut().for_each(|q| *q *= early);
            }
        }
        late
    }

    /// Lets no query of `rows` see a key behind it.
    pub(super) fn hide(&self, task: &Task, rows: &[[usize; 3]], keys: Range<usize>, scores: &mut [f32]) {
        if let Mask::Causal { .. } = self.mask {
            for (scores, row) in scores.chunks_exact_mut(KEYS).zip(rows) {
                let seen = self.visible(task, row[2]).saturating_sub(keys.start);
                scores[seen.min(keys.len())..keys.len()].fill(f32::NEG_INFINITY);
            }
        }
    }

    /// Lays down what is added to the scores of a tile; false if that is nothing.
    pub(super) fn fill_scores(
        &self,
        rows: &[[usize; 3]],
        first: usize,
        keys: usize,
        scores: &mut [f32],
    ) -> bool {
        match self.mask {
            Mask::None | Mask::Causal { .. } => return false,
            Mask::Bias(bias) => {
                for (scores, &row) in scores.chunks_exact_mut(KEYS).zip(rows) {
                    bias.copy(row, first, &mut scores[..keys]);
                }
            }
            Mask::RelPos { rel_h, rel_w, kw } => {
                let scores = scores.chunks_exact_mut(KEYS).map(|s| &mut s[..keys]);
                simd::dispatch(RelPos {
                    rel_h,
                    rel_w,
                    kw,
                    first,
                    scores: scores.zip(rows),
                });
            }
        }
        true
    }

    /// Divides `values` by `sums` and puts them where they belong.
    pub(super) fn write(&self, rows: &[[usize; 3]], values: &mut [f32], sums: &[f32]) {
        simd::dispatch(Write {
            dims: &self.dims,
            rows,
            values,
            sums,
            out: &self.out,
        });
    }
}

struct Write<'a> {
    dims: &'a Dims,
    rows: &'a [[usize; 3]],
    values: &'a mut [f32],
    sums: &'a [f32],
    out: &'a Output<'a>,
}

impl WithSimd for Write<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn with_simd<S: Simd>(self, _: S) {
        let &Dims { nq, dv, heads, .. } = self.dims;
        let values = self.values.chunks_exact_mut(dv);
        for ((&[b, h, n], values), &sum) in self.rows.iter().zip(values).zip(self.sums) {
            let inverse = if sum > 0. { 1. / sum } else { 0. };
            let at = ((b * nq + n) * heads + h) * dv;
            if let Output::F32(out) = self.out {
                // SAFETY: a (batch, head, query) belongs to one row of one task, so nobody else writes there.
                let out = unsafe { out.piece(at, dv) };
                out.iter_mut()
                    .zip(values)
                    .for_each(|(out, v)| *out = *v * inverse);
                continue;
            }
            values.iter_mut().for_each(|v| *v *= inverse);
            // SAFETY: as above.
            unsafe { self.out.put(at, values) };
        }
    }
}

/// Lays down the relative positions of keys `first ..` on a grid of `kw` columns.
struct RelPos<'a, I> {
    rel_h: Strided<'a>,
    rel_w: Strided<'a>,
    kw: usize,
    first: usize,
    /// Scores of each row (batch, head, query).
    scores: I,
}

impl<'s, I: Iterator<Item = (&'s mut [f32], &'s [usize; 3])>> WithSimd for RelPos<'_, I> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (scores, &row) in self.scores {
            let mut key = self.first;
            let mut rest = scores;
            while !rest.is_empty() {
                let (y, x) = (key / self.kw, key % self.kw);
                let run = (self.kw - x).min(rest.len());
                let (now, later) = rest.split_at_mut(run);
                let mut above = [0.];
                self.rel_h.copy(row, y, &mut above);
                self.rel_w.copy(row, x, now);
                now.iter_mut().for_each(|v| *v += above[0]);
                key += run;
                rest = later;
            }
        }
    }
}
