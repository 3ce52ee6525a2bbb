//! Rows against panels of a laid-out right-hand side, on one thread.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::split::{self, Place};
use super::weight::Layout;
use super::{BLOCK, Engine, Line, Multiplier, STEP, Shape, Sums, TILE};
use crate::cpu::block::EpilogueSlices;
use crate::cpu::disjoint::DisjointOutput;
use crate::cpu::{scratch, simd};

/// Steps of a sum, times terms, that are laid out at a time, at most: a good megabyte of 256 rows, which stays in the second-level
/// cache.
const STEPS: usize = 72;

/// The left-hand side, one row at a time.
pub(crate) trait Rows {
    /// Numbers `k` of row `i`: where they lie, or copied to `buffer`, which is as long as `k`.
    fn row<'a>(&'a self, i: usize, k: Range<usize>, buffer: &'a mut [f32]) -> &'a [f32];
}

impl Rows for crate::cpu::block::Dense<'_> {
    #[inline(always)]
    fn row<'a>(&'a self, i: usize, k: Range<usize>, _: &'a mut [f32]) -> &'a [f32] {
        &self.data[i * self.stride + self.begin..][k]
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
    pub out: &'a DisjointOutput<'a>,
    /// Floats from row to row of `out`; row 0 is its first.
    pub stride: usize,
    /// Column of `out` at which the product starts.
    pub column: usize,
    /// Add to what `out` holds.
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
        scratch::lines(blocks * chunk * lines, |left| {
            for begin in (0..steps.max(1)).step_by(chunk) {
                let span = begin..(begin + chunk).min(steps);
                self.lay_out(span.clone(), left);
                self.engine.with(|multiplier| {
                    for p in self.panels.clone() {
                        for block in 0..blocks {
                            self.block(multiplier, left, (block, p), span.clone(), &mut sums);
                        }
                    }
                });
            }
        });
    }

    /// Rows of block `block`, and tiles that they take.
    fn of_block(&self, block: usize) -> (Range<usize>, usize) {
        let first = self.rows.start + block * BLOCK;
        let rows = first..(first + BLOCK).min(self.rows.end);
        let tiles = rows.len().div_ceil(TILE);
        (rows, tiles)
    }

    fn lay_out(&self, steps: Range<usize>, left: &mut [Line]) {
        let terms = self.layout.terms;
        let k = steps.start * STEP..(steps.end * STEP).min(self.layout.k);
        scratch::with(k.len(), |buffer| {
            let size = (steps.len() * terms.lines(2)).max(1);
            for (block, lines) in left
                .chunks_mut(size)
                .enumerate()
                .take(self.rows.len().div_ceil(BLOCK))
            {
                let (rows, tiles) = self.of_block(block);
                for (r, i) in rows.enumerate() {
                    split::row(Place { tiles, terms }, r, self.a.row(i, k.clone(), buffer), lines);
                }
            }
        });
    }

    fn block(
        &self,
        multiplier: &Multiplier,
        left: &[Line],
        (block, p): (usize, usize),
        steps: Range<usize>,
        sums: &mut Sums,
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
        let right = self.layout.part(self.packed, p, steps);
        multiplier.multiply(shape, left, right, sums);
        let column = p * BLOCK;
        simd::dispatch(Write {
            sums,
            rows,
            column,
            width: (self.layout.n - column).min(BLOCK),
            out: self.out,
            stride: self.stride,
            at: self.column,
            accumulate,
            epilogue: last.then_some(self.epilogue),
        });
    }
}

/// A block of sums to where it belongs.
struct Write<'a> {
    sums: &'a Sums,
    rows: Range<usize>,
    column: usize,
    width: usize,
    out: &'a DisjointOutput<'a>,
    stride: usize,
    at: usize,
    accumulate: bool,
    epilogue: Option<EpilogueSlices<'a>>,
}

impl WithSimd for Write<'_> {
    type Output = ();

    #[inline(always)]
    #[allow(unsafe_code)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (i, sums) in self.rows.zip(self.sums.0.chunks_exact(BLOCK)) {
            let at = i * self.stride + self.at + self.column;
            // SAFETY: these rows of these columns are this sweep's alone, as the caller of `run` vouches.
            let row = unsafe { self.out.piece(at, self.width) };
            let sums = &sums[..self.width];
            if self.accumulate {
                let (full, tail) = S::as_mut_simd_f32s(row);
                let (sums, rest) = S::as_simd_f32s(sums);
                for (row, sums) in full.iter_mut().zip(sums) {
                    *row = simd.add_f32s(*row, *sums);
                }
                tail.iter_mut().zip(rest).for_each(|(row, sum)| *row += sum);
            } else {
                row.copy_from_slice(sums);
            }
            if let Some(epilogue) = self.epilogue {
                epilogue.apply_at(simd, row, self.column, at);
            }
        }
    }
}
