//! The inner loop of every matrix product: a block of output rows against packed panels, accumulated in registers.

use std::ops::Range;

use candle_core::Result;
use pulp::{Simd, WithSimd};

use super::panels::Panels;
use super::simd::Map;
use super::storage::TensorInput;
use super::view::View;
use crate::Epilogue;
use crate::ops::activation::Activation;

/// The left-hand side: rows made of one or more segments that need not lie together in memory.
pub(crate) trait RowSource {
    /// Segments per row.
    fn segments(&self) -> usize;
    /// Where segment `s` starts along K.
    fn start(&self, s: usize) -> usize;
    /// Segment `s` of row `i`; all rows have it in one length.
    fn segment(&self, i: usize, s: usize) -> &[f32];
}

/// Rows of `k` floats, `stride` floats apart.
#[derive(Clone, Copy)]
pub(crate) struct Dense<'a> {
    pub data: &'a [f32],
    pub stride: usize,
    /// The range of K that takes part.
    pub begin: usize,
    pub end: usize,
}

impl<'a> Dense<'a> {
    pub(crate) fn new(data: &'a [f32], k: usize) -> Self {
        Self {
            data,
            stride: k,
            begin: 0,
            end: k,
        }
    }

    /// The same with `stride` floats from row to row.
    pub(crate) fn every(self, stride: usize) -> Self {
        Self { stride, ..self }
    }
}

impl RowSource for Dense<'_> {
    #[inline(always)]
    fn segments(&self) -> usize {
        1
    }
    #[inline(always)]
    fn start(&self, _: usize) -> usize {
        self.begin
    }
    #[inline(always)]
    fn segment(&self, i: usize, _: usize) -> &[f32] {
        &self.data[i * self.stride + self.begin..i * self.stride + self.end]
    }
}

/// [`Epilogue`] with its operands as slices.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct EpilogueSlices<'a> {
    pub bias: Option<&'a [f32]>,
    pub activation: Activation,
    /// Laid out like the output block.
    pub residual: Option<View<'a>>,
}

impl EpilogueSlices<'_> {
    /// Gives `f` the operands of a checked `epilogue`, which must be contiguous.
    ///
    /// # Errors
    /// Another element type or device than the kernels take.
    pub(crate) fn read<R>(epilogue: &Epilogue, f: impl FnOnce(EpilogueSlices<'_>) -> R) -> Result<R> {
        let bias = epilogue.bias.as_ref().map(TensorInput::new);
        let residual = epilogue.residual.as_ref().map(TensorInput::new);
        let bias = bias.as_ref().map(TensorInput::floats).transpose()?;
        let residual = residual.as_ref().map(TensorInput::view).transpose()?;
        Ok(f(EpilogueSlices {
            bias: bias.as_deref(),
            activation: epilogue.activation,
            residual,
        }))
    }

    /// For the part of the output that `range` is, counted in elements.
    pub(crate) fn rows(self, range: Range<usize>) -> Self {
        Self {
            residual: self.residual.map(|r| r.part(range)),
            ..self
        }
    }

    fn is_empty(&self) -> bool {
        self.bias.is_none() && self.activation == Activation::Identity && self.residual.is_none()
    }

    /// Applies to `row`, which starts at column `column` of the output and at `offset` of the block.
    #[inline(always)]
    pub(crate) fn apply_at<S: Simd>(&self, simd: S, row: &mut [f32], column: usize, offset: usize) {
        if self.is_empty() {
            return;
        }
        let width = row.len();
        let part = Self {
            bias: self.bias.map(|b| &b[column..column + width]),
            activation: self.activation,
            residual: self.residual.map(|r| r.part(offset..offset + width)),
        };
        for i in (0..width).step_by(S::F32_LANES) {
            let end = (i + S::F32_LANES).min(width);
            let v = part.of(simd, load(simd, &row[i..end]), i..end, i);
            store(simd, &mut row[i..end], v);
        }
    }

    /// Of one vector of sums: those of `channels`, with the residual from `offset` on.
    #[inline(always)]
    pub(crate) fn of<S: Simd>(
        &self,
        simd: S,
        mut v: S::f32s,
        channels: Range<usize>,
        offset: usize,
    ) -> S::f32s {
        let width = channels.len();
        if let Some(b) = self.bias {
            v = simd.add_f32s(v, load(simd, &b[channels]));
        }
        v = self.activation.apply(simd, v);
        if let Some(r) = self.residual {
            v = simd.add_f32s(r.load(simd, offset..offset + width), v);
        }
        v
    }
}

#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, src: &[f32]) -> S::f32s {
    match S::as_simd_f32s(src).0 {
        [v, ..] => *v,
        [] => simd.partial_load_f32s(src),
    }
}

#[inline(always)]
pub(crate) fn store<S: Simd>(simd: S, dst: &mut [f32], v: S::f32s) {
    if dst.len() >= S::F32_LANES {
        S::as_mut_simd_f32s(dst).0[0] = v;
    } else {
        simd.partial_store_f32s(dst, v);
    }
}

/// `out[i, :] = epilogue(a[i, :] B)` for a block of rows.
pub(crate) struct Block<'a, A> {
    pub a: A,
    pub rows: usize,
    pub shape: Panels,
    pub packed: &'a [f32],
    pub out: &'a mut [f32],
    /// Floats from row to row of `out`.
    pub stride: usize,
    /// Column of `out` at which the product starts.
    pub column: usize,
    /// Add to what `out` holds.
    pub accumulate: bool,
    pub epilogue: EpilogueSlices<'a>,
}

impl<A: RowSource> WithSimd for Block<'_, A> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let wide = S::REGISTER_COUNT >= 32;
        for p in 0..self.shape.count() {
            match (self.shape.vectors(p), wide) {
                (1, true) => self.panel::<S, 8, 1>(simd, p),
                (2, true) => self.panel::<S, 8, 2>(simd, p),
                (3, true) => self.panel::<S, 8, 3>(simd, p),
                (4, true) => self.panel::<S, 6, 4>(simd, p),
                (1, false) => self.panel::<S, 4, 1>(simd, p),
                (2, false) => self.panel::<S, 4, 2>(simd, p),
                (3, false) => self.panel::<S, 4, 3>(simd, p),
                (v, _) => unreachable!("panels are cut into at most 4 vectors, not {v}"),
            }
        }
    }
}

impl<A: RowSource> Block<'_, A> {
    #[inline(always)]
    fn panel<S: Simd, const MR: usize, const NV: usize>(&mut self, simd: S, p: usize) {
        let mut i = 0;
        while i < self.rows {
            match self.rows - i {
                1 => self.rows_of_panel::<S, 1, NV>(simd, p, i),
                2 => self.rows_of_panel::<S, 2, NV>(simd, p, i),
                3 | 4 => self.rows_of_panel::<S, 4, NV>(simd, p, i),
                _ => self.rows_of_panel::<S, MR, NV>(simd, p, i),
            }
            i += MR;
        }
    }

    /// Up to `MR` rows from `i0` on against panel `p`.
    #[inline(always)]
    fn rows_of_panel<S: Simd, const MR: usize, const NV: usize>(&mut self, simd: S, p: usize, i0: usize) {
        let panel = self.shape.panel(p, self.packed);
        let first = p * self.shape.width();
        let width = (self.shape.n - first).min(NV * S::F32_LANES);
        let valid = (self.rows - i0).min(MR);
        let mut acc = [[simd.splat_f32s(0.); NV]; MR];
        for s in 0..self.a.segments() {
            // Rows past the end repeat the last one; what they sum up is not stored.
            let mut rows: [&[f32]; MR] = [&[]; MR];
            for (r, row) in rows.iter_mut().enumerate() {
                *row = self.a.segment(i0 + r.min(valid - 1), s);
            }
            let b = &panel[self.a.start(s) * NV * S::F32_LANES..];
            accumulate::<S, MR, NV>(simd, rows, b, &mut acc);
        }
        // Added last: partial sums of long rows start from zero, which keeps their rounding errors small.
        if self.accumulate {
            for (r, acc) in acc.iter_mut().enumerate() {
                if r < valid {
                    let at = (i0 + r) * self.stride + self.column + first;
                    let (full, tail) = S::as_simd_f32s(&self.out[at..at + width]);
                    for (j, acc) in acc.iter_mut().enumerate() {
                        if j < full.len() {
                            *acc = simd.add_f32s(full[j], *acc);
                        } else if j == full.len() {
                            *acc = simd.add_f32s(simd.partial_load_f32s(tail), *acc);
                        }
                    }
                }
            }
        }
        for (r, acc) in acc.iter().enumerate() {
            if r < valid {
                let at = (i0 + r) * self.stride + self.column + first;
                let (full, tail) = S::as_mut_simd_f32s(&mut self.out[at..at + width]);
                for (j, &acc) in acc.iter().enumerate() {
                    if j < full.len() {
                        full[j] = acc;
                    } else if j == full.len() && !tail.is_empty() {
                        simd.partial_store_f32s(tail, acc);
                    }
                }
            }
        }
        for r in 0..valid {
            let at = (i0 + r) * self.stride + self.column + first;
            self.epilogue
                .apply_at(simd, &mut self.out[at..at + width], first, at);
        }
    }
}

/// `acc[r] += rows[r][k] * b[k, :]` over k.
#[inline(always)]
fn accumulate<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    mut rows: [&[f32]; MR],
    b: &[f32],
    acc: &mut [[S::f32s; NV]; MR],
) {
    let k = rows[0].len();
    for row in &mut rows {
        *row = &row[..k];
    }
    let (b, _) = S::as_simd_f32s(&b[..k * NV * S::F32_LANES]).0.as_chunks::<NV>();
    let b = &b[..k];
    let mut sum = *acc;
    for i in 0..k {
        let b = b[i];
        for (sum, row) in sum.iter_mut().zip(&rows) {
            let a = simd.splat_f32s(row[i]);
            for (sum, b) in sum.iter_mut().zip(b) {
                *sum = simd.mul_add_e_f32s(a, b, *sum);
            }
        }
    }
    *acc = sum;
}
