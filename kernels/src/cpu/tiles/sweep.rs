//! Rows against panels of a laid-out right-hand side, on one thread.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::split::{self, Place};
use super::weight::Layout;
use super::{BLOCK, Engine, Line, Multiplier, STEP, Shape, Sums, TILE};
use crate::cpu::block::EpilogueSlices;
use crate::cpu::view::{Elements, Output, View};
use crate::cpu::{scratch, simd};

/// Steps of a sum, times terms, that are laid out at a time, at most: a good megabyte of 256 rows, which stays in the second-level
/// cache.
const STEPS: usize = 72;

/// The left-hand side, one row at a time.
pub(crate) trait Rows {
    /// Numbers `k` of row `i`: where they lie, or copied to `room`, which is as long as `k`.
    fn row<'a>(&'a self, i: usize, k: Range<usize>, room: &'a mut Elements) -> View<'a>;

    /// What `row` copies `len` numbers to.
    fn room(&self, len: usize) -> Elements;
}

/// Rows that lie `stride` elements apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stored<'a> {
    pub data: View<'a>,
    pub stride: usize,
}

impl Rows for Stored<'_> {
    #[inline(always)]
    fn row<'a>(&'a self, i: usize, k: Range<usize>, _: &'a mut Elements) -> View<'a> {
        let begin = i * self.stride;
        self.data.part(begin + k.start..begin + k.end)
    }

    fn room(&self, _: usize) -> Elements {
        Elements::F32(Vec::new())
    }
}

/// `out[i, column + j] = epilogue(a[i, :] B[:, j])` for `rows` and the columns of `panels`.
pub(crate) struct Sweep<'a, A> {
    pub engine: Engine,
    pub a: &'a A,
    pub rows: Range<usize>,
    pub layout: Layout,
    pub packed: &'a [Line],
    pub panels: Range<usize>,
    pub out: &'a Output<'a>,
    /// Elements from row to row of `out`; row 0 is its first.
    pub stride: usize,
    /// Column of `out` at which the product starts.
    pub column: usize,
    /// Add to what `out` holds, which is f32.
    pub accumulate: bool,
    /// Bias and residual as of the whole of `out`.
    pub epilogue: EpilogueSlices<'a>,
}

impl<A: Rows> Sweep<'_, A> {
    /// # Safety
    /// Nobody else uses these rows of these columns of `out` meanwhile.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn run(&self) {
        let steps = self.layout.steps();
        let most = STEPS / self.layout.terms.count();
        let chunk = steps.div_ceil(steps.div_ceil(most).max(1)).max(1);
        let blocks = self.rows.len().div_ceil(BLOCK);
        let lines = self.layout.terms.lines(2);
        let mut sums = Sums([0.; BLOCK * BLOCK]);
        // What has only part of a sum waits in the output, or where that would round it in memory of the thread.
        let waiting = match chunk < steps && !self.out.holds_sums() {
            true => self.rows.len() * self.width(),
            false => 0,
        };
        scratch::with(waiting, |waiting| {
            scratch::lines(blocks * chunk * lines, |left| {
                for begin in (0..steps.max(1)).step_by(chunk) {
                    let span = begin..(begin + chunk).min(steps);
                    self.lay_out(span.clone(), left);
                    self.engine.with(|multiplier| {
                        for p in self.panels.clone() {
                            for block in 0..blocks {
                                let waiting = &mut *waiting;
                                self.block(multiplier, left, (block, p), span.clone(), (&mut sums, waiting));
                            }
                        }
                    });
                }
            });
        });
    }

    /// Columns of the panels.
    fn width(&self) -> usize {
        (self.panels.end * BLOCK).min(self.layout.n) - self.panels.start * BLOCK
    }

    /// Rows of block `block`, and tiles that they take.
    fn of_block(&self, block: usize) -> (Range<usize>, usize) {
        let first = self.rows.start + block * BLOCK;
        let rows = first..(first + BLOCK).min(self.rows.end);
        let tiles = rows.len().div_ceil(TILE);
        (rows, tiles)
    }

    /// What of the panel behind `p` every block fetches, so that the first finds all of it in the cache.
    fn ahead(&self, block: usize, p: usize, steps: Range<usize>) -> &[Line] {
        if p + 1 == self.panels.end {
            return &[];
        }
        let panel = self.layout.part(self.packed, p + 1, steps);
        let share = panel.len().div_ceil(self.rows.len().div_ceil(BLOCK));
        panel.chunks(share.max(1)).nth(block).unwrap_or_default()
    }

    fn lay_out(&self, steps: Range<usize>, left: &mut [Line]) {
        let terms = self.layout.terms;
        let k = steps.start * STEP..(steps.end * STEP).min(self.layout.k);
        let mut room = self.a.room(k.len());
        let size = (steps.len() * terms.lines(2)).max(1);
        for (block, lines) in left
            .chunks_mut(size)
            .enumerate()
            .take(self.rows.len().div_ceil(BLOCK))
        {
            let (rows, tiles) = self.of_block(block);
            for (r, i) in rows.enumerate() {
                let row = self.a.row(i, k.clone(), &mut room);
                split::row(Place { tiles, terms }, r, row, lines);
            }
        }
    }

    fn block(
        &self,
        multiplier: &Multiplier,
        left: &[Line],
        (block, p): (usize, usize),
        steps: Range<usize>,
        (sums, waiting): (&mut Sums, &mut [f32]),
    ) {
        let (rows, tiles) = self.of_block(block);
        let shape = Shape {
            rows: tiles,
            columns: self.layout.tiles(p),
            terms: self.layout.terms,
            steps: steps.len(),
        };
        let size = steps.len() * shape.terms.lines(2);
        let left = &left[block * size..(block + 1) * size];
        let last = steps.end == self.layout.steps();
        let accumulate = self.accumulate || steps.start > 0;
        let right = self.layout.part(self.packed, p, steps.clone());
        multiplier.multiply(shape, left, right, self.ahead(block, p, steps), sums);
        let column = p * BLOCK;
        let stride = self.width();
        let begin = block * BLOCK * stride + column - self.panels.start * BLOCK;
        let waiting = (!waiting.is_empty()).then(|| (&mut waiting[begin..], stride));
        simd::dispatch(Write {
            sums,
            rows,
            column,
            width: (self.layout.n - column).min(BLOCK),
            out: self.out,
            stride: self.stride,
            at: self.column,
            accumulate,
            waiting,
            epilogue: last.then_some(self.epilogue),
        });
    }
}

/// A block of sums to where it belongs.
struct Write<'a> {
    sums: &'a mut Sums,
    rows: Range<usize>,
    column: usize,
    width: usize,
    out: &'a Output<'a>,
    stride: usize,
    at: usize,
    accumulate: bool,
    /// Where unfinished sums of the block are kept, with the floats from row to row; none where that is `out`.
    waiting: Option<(&'a mut [f32], usize)>,
    /// Of finished ones.
    epilogue: Option<EpilogueSlices<'a>>,
}

impl WithSimd for Write<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for (r, (i, sums)) in self.rows.zip(self.sums.0.chunks_exact_mut(BLOCK)).enumerate() {
            let at = i * self.stride + self.at + self.column;
            let sums = &mut sums[..self.width];
            if self.accumulate || self.epilogue.is_none() {
                let kept = match (&mut self.waiting, self.out) {
                    (Some((waiting, stride)), _) => &mut waiting[r * *stride..][..self.width],
                    // SAFETY: these rows of these columns are this sweep's alone, as the caller of `run` vouches.
                    (None, Output::F32(out)) => unsafe { out.piece(at, self.width) },
                    (None, _) => unreachable!("sums are not kept in 16 bits"),
                };
                if self.accumulate {
                    add(simd, sums, kept);
                }
                if self.epilogue.is_none() {
                    kept.copy_from_slice(sums);
                    continue;
                }
            }
            if let Some(epilogue) = self.epilogue {
                epilogue.apply_at(simd, sums, self.column, at);
                // SAFETY: as above.
                unsafe { self.out.put(at, sums) };
            }
        }
    }
}

/// `sums += kept`
#[inline(always)]
fn add<S: Simd>(simd: S, sums: &mut [f32], kept: &[f32]) {
    let (full, tail) = S::as_mut_simd_f32s(sums);
    let (kept, rest) = S::as_simd_f32s(kept);
    for (sums, kept) in full.iter_mut().zip(kept) {
        *sums = simd.add_f32s(*kept, *sums);
    }
    tail.iter_mut().zip(rest).for_each(|(sum, kept)| *sum += kept);
}
