//! One task of the attention kernel, its two products by tiles of bf16.

use std::ops::Range;

use super::softmax::{QuickSoftmax, Softmax};
use super::tile::{Job, KEYS, Task, Work};
use crate::cpu::block::EpilogueSlices;
use crate::cpu::disjoint::DisjointOutput;
use crate::cpu::tiles::sweep::{Stored, Sweep};
use crate::cpu::tiles::weight::Layout;
use crate::cpu::tiles::{Engine, Line, Terms};
use crate::cpu::view::{Output, View};
use crate::cpu::{scratch, simd};
use crate::ops::attention::Dims;

/// Rows, keys and channels below which tiles would be mostly empty.
pub(super) const LEAST: usize = 32;
/// Query rows per tile of queries.
const QUERIES: usize = 64;

/// The keys of a task, cut into tiles of `KEYS`, each laid out as two right-hand sides: its keys, then its values.
struct KeyTiles {
    keys: Range<usize>,
    d: usize,
    dv: usize,
    terms: Terms,
}

impl KeyTiles {
    fn first(&self, tile: usize) -> usize {
        self.keys.start + tile * KEYS
    }

    fn width(&self, tile: usize) -> usize {
        (self.keys.len() - tile * KEYS).min(KEYS)
    }

    fn count(&self) -> usize {
        self.keys.len().div_ceil(KEYS)
    }

    /// D x keys, and keys x Dv.
    fn layouts(&self, tile: usize) -> [Layout; 2] {
        let width = self.width(tile);
        [(self.d, width), (width, self.dv)].map(|(k, n)| Layout {
            k,
            n,
            terms: self.terms,
        })
    }

    /// Lines of the first, which is the largest.
    fn stride(&self) -> usize {
        self.layouts(0).iter().map(Layout::lines).sum()
    }
}

impl Job<'_> {
    pub(super) fn run_tiled(&self, task: &Task, engine: Engine, terms: Terms) {
        let Dims { d, dv, .. } = self.dims;
        let tiles = KeyTiles {
            keys: task.keys.start..self.last_visible(task),
            d,
            dv,
            terms,
        };
        if tiles.keys.is_empty() {
            return;
        }
        scratch::lines(tiles.count() * tiles.stride(), |packed| {
            self.lay_out(task, &tiles, packed);
            let packed = &*packed;
            self.by_blocks(QUERIES, task, |rows, work| {
                self.attend_tiled(engine, task, rows, &tiles, packed, work)
            });
        });
    }

    fn lay_out(&self, task: &Task, tiles: &KeyTiles, packed: &mut [Line]) {
        let kv_heads = self.dims.kv_heads;
        let (b, h) = (task.head / kv_heads, task.head % kv_heads);
        for (tile, packed) in packed.chunks_exact_mut(tiles.stride()).enumerate() {
            let [k, v] = tiles.layouts(tile);
            let (keys, values) = packed.split_at_mut(k.lines());
            let first = tiles.first(tile);
            let (src, stride) = (self.k.from(b, h, first), self.k.stride[2]);
            for (p, panel) in keys.chunks_mut(k.stride().max(1)).enumerate() {
                k.pack_transposed(p, panel, src, stride);
            }
            let (src, stride) = (self.v.from(b, h, first), self.v.stride[2]);
            for (p, panel) in values[..v.lines()].chunks_mut(v.stride().max(1)).enumerate() {
                v.pack_rows(p, panel, src, stride);
            }
        }
    }

    /// As [`Job::attend`].
    fn attend_tiled(
        &self,
        engine: Engine,
        task: &Task,
        rows: &[[usize; 3]],
        tiles: &KeyTiles,
        packed: &[Line],
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
            let [k, v] = tiles.layouts(tile);
            let (keys, values) = packed.split_at(k.lines());
            let masked = self.fill_scores(rows, first, k.n, work.scores);
            let q = &work.q[..count * d];
            multiply(engine, (q, d), count, (k, keys), (work.scores, KEYS), masked);
            self.hide(task, rows, first..first + k.n, work.scores);
            simd::dispatch(QuickSoftmax(Softmax {
                rows: count,
                keys: k.n,
                dv,
                scale: late,
                scores: &mut *work.scores,
                values: &mut *work.values,
                maxima: &mut *work.maxima,
                sums: &mut *work.sums,
            }));
            let weights = (&*work.scores, KEYS);
            multiply(engine, weights, count, (v, values), (work.values, dv), true);
        }
    }
}

/// `out = a B`, or `out += a B`; `a` and `out` with the floats from row to row.
fn multiply(
    engine: Engine,
    (a, a_stride): (&[f32], usize),
    rows: usize,
    (layout, packed): (Layout, &[Line]),
    (out, stride): (&mut [f32], usize),
    accumulate: bool,
) {
    let out = Output::F32(DisjointOutput::new(out));
    let sweep = Sweep {
        engine,
        a: &Stored {
            data: View::F32(a),
            stride: a_stride,
        },
        rows: 0..rows,
        layout,
        packed,
        panels: 0..layout.panels(),
        out: &out,
        stride,
        column: 0,
        accumulate,
        epilogue: EpilogueSlices::default(),
    };
    // SAFETY: `out` was borrowed for this call alone.
    #[allow(unsafe_code)]
    unsafe {
        sweep.run();
    }
}
