//! `A W^T` for row-major A (M x K) and W (N x K), the layout of a PyTorch linear layer.
//!
//! Many rows: W is copied once into panels, then blocks of rows are independent tasks. Few rows (a token, the queries
//! of a decoder): W is read once, as it lies, in dot products.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::block::{Block, Dense, EpilogueSlices};
use super::packed::{K_BLOCK, ROWS};
use super::panels::Panels;
use super::parallel::{SERIAL_WORK, even_cuts, grain, pieces};
use super::{scratch, simd};

/// Rows up to which the dot products win: packing costs about as much as multiplying 60 rows.
pub(crate) const FEW_ROWS: usize = 48;
/// Shorter sums spend their time in adding up lanes.
const LONG_SUM: usize = 128;
/// Floats of packed panels at a time (8 MiB).
const PACKED: usize = 2 << 20;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Dims {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

/// `out = epilogue(a w^T)`, `out` M x N.
pub(crate) fn matmul_nt(dims: Dims, a: &[f32], w: &[f32], epilogue: EpilogueSlices<'_>, out: &mut [f32]) {
    let Dims { m, n, k } = dims;
    if m == 0 || n == 0 {
        return;
    }
    if m <= FEW_ROWS && k >= LONG_SUM {
        few_rows(dims, a, w, epilogue, out);
    } else {
        many_rows(dims, a, w, epilogue, out);
    }
}

fn many_rows(dims: Dims, a: &[f32], w: &[f32], epilogue: EpilogueSlices<'_>, out: &mut [f32]) {
    let Dims { m, n, k } = dims;
    let serial = m * n * k < SERIAL_WORK;
    let whole = Panels::new(k, n);
    let slices = (n * k).div_ceil(PACKED).max(1);
    let slice = whole.count().div_ceil(slices) * whole.width();
    let cuts = match serial {
        true => vec![0, m],
        false => even_cuts(m, whole.rows(), ROWS),
    };
    for n0 in (0..n).step_by(slice.max(1)) {
        let n1 = (n0 + slice).min(n);
        let shape = whole.part(n1 - n0);
        let w = &w[n0 * k..n1 * k];
        scratch::with(shape.len(), |packed| {
            let pack = |(p, panel): (usize, &mut [f32])| shape.pack_transposed(p, panel, w, k);
            let chunk = shape.stride().max(1);
            if serial {
                packed.chunks_mut(chunk).enumerate().for_each(pack);
            } else {
                packed.par_chunks_mut(chunk).enumerate().for_each(pack);
            }
            let packed = &*packed;
            let block = |(first, out): (usize, &mut [f32])| {
                let count = out.len() / n;
                for begin in (0..k.max(1)).step_by(K_BLOCK) {
                    let end = (begin + K_BLOCK).min(k);
                    simd::dispatch(Block {
                        a: Dense {
                            data: &a[first * k..(first + count) * k],
                            stride: k,
                            begin,
                            end,
                        },
                        rows: count,
                        shape,
                        packed,
                        out: &mut *out,
                        stride: n,
                        column: n0,
                        accumulate: begin > 0,
                        epilogue: if end == k {
                            EpilogueSlices {
                                bias: epilogue.bias.map(|b| &b[n0..n1]),
                                ..epilogue.rows(first * n..(first + count) * n)
                            }
                        } else {
                            EpilogueSlices::default()
                        },
                    });
                }
            };
            let pieces = pieces(out, &cuts, n);
            match serial {
                true => pieces.into_iter().for_each(block),
                false => pieces.into_par_iter().for_each(block),
            }
        });
    }
}

fn few_rows(dims: Dims, x: &[f32], w: &[f32], epilogue: EpilogueSlices<'_>, out: &mut [f32]) {
    let Dims { m, n, k } = dims;
    // Transposed, N x M, so that every task owns whole rows of W.
    scratch::with(n * m, |sums| {
        let rows = if m * n * k < SERIAL_WORK {
            n
        } else {
            grain(n, 4, 4, usize::MAX)
        };
        let dots = |(index, sums): (usize, &mut [f32])| {
            let count = sums.len() / m;
            let w = &w[index * rows * k..(index * rows + count) * k];
            simd::dispatch(Dots { x, w, k, m, sums });
        };
        if rows >= n {
            dots((0, sums));
        } else {
            sums.par_chunks_mut(rows * m).enumerate().for_each(dots);
        }
        for (i, out) in out.chunks_exact_mut(n).enumerate() {
            for (out, sums) in out.iter_mut().zip(sums.chunks_exact(m)) {
                *out = sums[i];
            }
        }
        simd::dispatch(Finish { n, out, epilogue });
    });
}

/// `sums[j, i] = w[j, :] . x[i, :]`.
struct Dots<'a> {
    x: &'a [f32],
    w: &'a [f32],
    k: usize,
    m: usize,
    sums: &'a mut [f32],
}

impl WithSimd for Dots<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let n = self.sums.len() / self.m;
        for j in (0..n).step_by(4) {
            let mut i = 0;
            while self.m - i >= 3 && S::REGISTER_COUNT >= 32 {
                self.tile::<S, 4>(simd, j, n, i);
                i = (i + 4).min(self.m);
            }
            while i < self.m {
                if self.m - i >= 2 {
                    self.tile::<S, 2>(simd, j, n, i);
                    i += 2;
                } else {
                    self.tile::<S, 1>(simd, j, n, i);
                    i += 1;
                }
            }
        }
    }
}

impl Dots<'_> {
    /// Four rows of W against `XR` rows of x.
    #[inline(always)]
    fn tile<S: Simd, const XR: usize>(&mut self, simd: S, j: usize, n: usize, i: usize) {
        let k = self.k;
        // Plain loops over arrays: closures (`map`, `from_fn`) may stay calls, which would spill every vector.
        let empty: (&[S::f32s], &[f32]) = (&[], &[]);
        let (mut w, mut x) = ([empty; 4], [empty; XR]);
        for (r, w) in w.iter_mut().enumerate() {
            let at = (j + r).min(n - 1) * k;
            *w = S::as_simd_f32s(&self.w[at..at + k]);
        }
        for (r, x) in x.iter_mut().enumerate() {
            let at = (i + r).min(self.m - 1) * k;
            *x = S::as_simd_f32s(&self.x[at..at + k]);
        }
        let len = w[0].0.len();
        for row in w.iter_mut().chain(&mut x) {
            row.0 = &row.0[..len];
        }
        let mut acc = [[simd.splat_f32s(0.); XR]; 4];
        for p in 0..len {
            for (acc, w) in acc.iter_mut().zip(&w) {
                for (acc, x) in acc.iter_mut().zip(&x) {
                    *acc = simd.mul_add_e_f32s(w.0[p], x.0[p], *acc);
                }
            }
        }
        if !w[0].1.is_empty() {
            for (acc, w) in acc.iter_mut().zip(&w) {
                let w = simd.partial_load_f32s(w.1);
                for (acc, x) in acc.iter_mut().zip(&x) {
                    *acc = simd.mul_add_e_f32s(w, simd.partial_load_f32s(x.1), *acc);
                }
            }
        }
        for (r, acc) in acc.into_iter().enumerate() {
            for (c, acc) in acc.into_iter().enumerate() {
                if j + r < n && i + c < self.m {
                    self.sums[(j + r) * self.m + i + c] = simd.reduce_sum_f32s(acc);
                }
            }
        }
    }
}

/// The epilogue alone, over a finished M x N matrix.
pub(super) struct Finish<'a> {
    pub n: usize,
    pub out: &'a mut [f32],
    pub epilogue: EpilogueSlices<'a>,
}

impl WithSimd for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for (i, row) in self.out.chunks_exact_mut(self.n).enumerate() {
            self.epilogue.apply_at(simd, row, 0, i * self.n);
        }
    }
}
