//! Weights in the inner loop's layout from the day they are loaded, and products with them.

use std::ops::Range;

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::block::{Block, Dense, EpilogueSlices};
use super::matmul::Finish;
use super::memory::zeros;
use super::panels::Panels;
use super::parallel::{SERIAL_WORK, even_cuts, pieces};
use super::storage::TensorInput;
use super::{scratch, simd};
use crate::backend::multiplies_f32;

/// Length of a sum in one go: keeps a panel of it in the second-level cache, and rounding errors of long sums small.
pub(super) const K_BLOCK: usize = 1024;
/// Rows of a task, at most: as many as stay in the second-level cache beside a panel.
pub(super) const ROWS: usize = 128;
/// Rows per thread below which tasks are cut by columns: blocks of eight would not come out even.
const ROWS_A_THREAD: usize = 64;
/// Floats of panels that a task passes at a time (8 MiB): the sums of their columns stay in the last cache from one stretch of K to
/// the next.
const PART: usize = 2 << 20;
/// Floats in a cache line.
const LINE: usize = 16;

/// A weight (N, K) of f32 as the right-hand side of `x W^T`.
pub(crate) struct PackedWeight {
    shape: Panels,
    /// With room to begin at a cache line.
    floats: Vec<f32>,
    begin: usize,
}

impl PackedWeight {
    /// `weight` (N, ..), row-major, of any rank whose last dimensions multiply to K. None where another product than f32's own is
    /// computed with it, or where panels would be mostly empty.
    ///
    /// # Errors
    /// A weight that cannot be read.
    pub(crate) fn of(weight: &Tensor) -> Result<Option<Self>> {
        let n = weight.dim(0)?;
        let k = weight.elem_count() / n.max(1);
        if !multiplies_f32(weight.device(), weight.dtype()) || n < LINE || k == 0 {
            return Ok(None);
        }
        let weight = weight.contiguous()?;
        let input = TensorInput::new(&weight);
        Ok(Some(Self::new(&input.floats()?, n, k)))
    }

    /// `w` N x K, row-major; on all cores.
    fn new(w: &[f32], n: usize, k: usize) -> Self {
        let shape = Panels::new(k, n);
        let mut floats: Vec<f32> = zeros(shape.len() + LINE);
        let begin = floats.as_ptr().align_offset(64).min(LINE);
        floats[begin..begin + shape.len()]
            .par_chunks_mut(shape.stride())
            .enumerate()
            .for_each(|(p, panel)| shape.pack_transposed(p, panel, w, k));
        Self { shape, floats, begin }
    }

    pub(crate) fn shape(&self) -> Panels {
        self.shape
    }

    pub(crate) fn panels(&self) -> &[f32] {
        &self.floats[self.begin..self.begin + self.shape.len()]
    }

    /// The columns of panels `range`.
    fn part(&self, range: Range<usize>) -> (Panels, &[f32]) {
        let width = self.shape.width();
        let n = (range.end * width).min(self.shape.n) - range.start * width;
        let shape = self.shape.part(n);
        (
            shape,
            &self.panels()[range.start * self.shape.stride()..][..shape.len()],
        )
    }

    /// `out = epilogue(a w^T)` of `m` rows.
    pub(crate) fn multiply(&self, m: usize, a: &[f32], epilogue: EpilogueSlices<'_>, out: &mut [f32]) {
        let Panels { k, n, .. } = self.shape;
        let out = &mut out[..m * n];
        if m * n * k < SERIAL_WORK {
            self.rows((0, out), a, epilogue);
        } else if m < ROWS_A_THREAD * rayon::current_num_threads() {
            self.by_columns(m, a, epilogue, out);
        } else {
            pieces(out, &even_cuts(m, self.shape.rows(), ROWS), n)
                .into_par_iter()
                .for_each(|piece| self.rows(piece, a, epilogue));
        }
    }

    /// Rows `first ..` of the product, as many as `out` has. Tasks pass the columns in one order, so that what one of them reads is
    /// in the last cache for the others.
    fn rows(&self, (first, out): (usize, &mut [f32]), a: &[f32], epilogue: EpilogueSlices<'_>) {
        let Panels { k, n, .. } = self.shape;
        let count = out.len() / n;
        let a = &a[first * k..(first + count) * k];
        let epilogue = epilogue.rows(first * n..(first + count) * n);
        let panels = (PART / self.shape.stride()).max(1);
        for begin in (0..self.shape.count()).step_by(panels) {
            let end = (begin + panels).min(self.shape.count());
            let column = begin * self.shape.width();
            in_parts(self.part(begin..end), a, (&mut *out, n, column), epilogue);
        }
    }

    /// Few rows: every task has some of the columns, in memory of its own, and reads its panels once.
    fn by_columns(&self, m: usize, a: &[f32], epilogue: EpilogueSlices<'_>, out: &mut [f32]) {
        let (n, width) = (self.shape.n, self.shape.width());
        let most = self.shape.count().div_ceil(4 * rayon::current_num_threads());
        let cuts = even_cuts(self.shape.count(), 1, most);
        let columns: Vec<usize> = cuts.iter().map(|&panel| (panel * width).min(n)).collect();
        scratch::with(m * n, |sums| {
            pieces(sums, &columns, m)
                .into_par_iter()
                .for_each(|(first, out)| {
                    let (begin, count) = (first / width, out.len() / m.max(1));
                    let part = self.part(begin..begin + count.div_ceil(width));
                    in_parts(part, a, (out, count, 0), EpilogueSlices::default());
                });
            let sums = &*sums;
            let gather = |(i, out): (usize, &mut [f32])| {
                for cut in columns.windows(2) {
                    let width = cut[1] - cut[0];
                    out[cut[0]..cut[1]].copy_from_slice(&sums[cut[0] * m + i * width..][..width]);
                }
                let epilogue = epilogue.rows(i * n..(i + 1) * n);
                simd::dispatch(Finish { n, out, epilogue });
            };
            match m * n < SERIAL_WORK {
                true => out.chunks_exact_mut(n).enumerate().for_each(gather),
                false => out.par_chunks_exact_mut(n).enumerate().for_each(gather),
            }
        });
    }
}

/// `out[:, column ..] = epilogue(a B)` on this thread, in parts of the sum; `out` with the floats from row to row. Bias and residual
/// as of the whole of `out`.
fn in_parts(
    (shape, packed): (Panels, &[f32]),
    a: &[f32],
    (out, stride, column): (&mut [f32], usize, usize),
    epilogue: EpilogueSlices<'_>,
) {
    let k = shape.k;
    let epilogue = EpilogueSlices {
        bias: epilogue.bias.map(|b| &b[column..column + shape.n]),
        ..epilogue
    };
    for begin in (0..k).step_by(K_BLOCK) {
        let end = (begin + K_BLOCK).min(k);
        simd::dispatch(Block {
            a: Dense {
                data: a,
                stride: k,
                begin,
                end,
            },
            rows: a.len() / k,
            shape,
            packed,
            out: &mut *out,
            stride,
            column,
            accumulate: begin > 0,
            epilogue: match end == k {
                true => epilogue,
                false => EpilogueSlices::default(),
            },
        });
    }
}

impl std::fmt::Debug for PackedWeight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("PackedWeight").field(&self.shape).finish()
    }
}
