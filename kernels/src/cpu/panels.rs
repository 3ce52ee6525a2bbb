//! The right-hand side of a matrix product, laid out for the inner loop.

use pulp::{Simd, WithSimd};

use super::simd;
use super::transpose::{BlockTranspose, block_transpose};

/// How a K x N matrix is cut: panel `p` holds `width` columns (the last one fewer, in whole vectors) as K rows,
/// zero-padded beyond N.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panels {
    pub k: usize,
    pub n: usize,
    lanes: usize,
    /// Vectors per full panel.
    vectors: usize,
    /// Rows that the inner loop takes at a time against a full panel.
    rows: usize,
}

/// Vector width and register count of this machine.
#[derive(Clone, Copy)]
struct Machine {
    lanes: usize,
    registers: usize,
}

struct MachineOf;

impl WithSimd for MachineOf {
    type Output = Machine;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Machine {
        Machine {
            lanes: S::F32_LANES,
            registers: S::REGISTER_COUNT,
        }
    }
}

impl Panels {
    pub(crate) fn new(k: usize, n: usize) -> Self {
        let Machine { lanes, registers } = simd::dispatch(MachineOf);
        let total = n.div_ceil(lanes);
        let widest = if registers >= 32 { 4 } else { 3 };
        let vectors = match total {
            _ if total <= widest => total,
            _ if total.is_multiple_of(3) => 3,
            _ if widest == 4 && total.is_multiple_of(4) => 4,
            _ => 3,
        };
        Self {
            k,
            n,
            lanes,
            vectors: vectors.max(1),
            rows: match (vectors, widest) {
                (4, _) => 6,
                (_, 4) => 8,
                _ => 4,
            },
        }
    }

    /// `n` of the columns, cut into panels as wide as the whole's.
    pub(crate) fn part(self, n: usize) -> Self {
        Self { n, ..self }
    }

    /// Rows that the inner loop takes at a time against a full panel.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Columns of a full panel.
    pub(crate) fn width(&self) -> usize {
        self.lanes * self.vectors
    }

    pub(crate) fn count(&self) -> usize {
        self.n.div_ceil(self.width())
    }

    /// Vectors of panel `p`.
    pub(crate) fn vectors(&self, p: usize) -> usize {
        (self.n - p * self.width()).div_ceil(self.lanes).min(self.vectors)
    }

    /// Floats of one full panel: the chunk size by which packing is shared out.
    pub(crate) fn stride(&self) -> usize {
        self.k * self.width()
    }

    pub(crate) fn len(&self) -> usize {
        self.n.div_ceil(self.lanes) * self.lanes * self.k
    }

    /// The floats of panel `p` in the packed whole.
    pub(crate) fn panel<'a>(&self, p: usize, packed: &'a [f32]) -> &'a [f32] {
        let begin = p * self.stride();
        &packed[begin..begin + self.vectors(p) * self.lanes * self.k]
    }

    /// Fills panel `p` from a matrix stored as N rows of K at `stride` floats from row to row.
    pub(crate) fn pack_transposed(&self, p: usize, panel: &mut [f32], src: &[f32], stride: usize) {
        let width = self.vectors(p) * self.lanes;
        let first = p * self.width();
        let columns = (self.n - first).min(width);
        if columns < width {
            for row in panel.chunks_exact_mut(width) {
                row[columns..].fill(0.);
            }
        }
        block_transpose(BlockTranspose {
            src: &src[first * stride..],
            stride,
            rows: columns,
            k: self.k,
            dst: panel,
            width,
        });
    }

    /// Fills panel `p` from a matrix stored as K rows of N at `stride` floats from row to row.
    pub(crate) fn pack_rows(&self, p: usize, panel: &mut [f32], src: &[f32], stride: usize) {
        let width = self.vectors(p) * self.lanes;
        let first = p * self.width();
        let columns = (self.n - first).min(width);
        for (k, row) in panel.chunks_exact_mut(width).enumerate() {
            let start = k * stride + first;
            row[..columns].copy_from_slice(&src[start..start + columns]);
            row[columns..].fill(0.);
        }
    }

    /// Packs everything on this thread.
    pub(crate) fn pack_all(&self, packed: &mut [f32], pack: impl Fn(usize, &mut [f32])) {
        if self.stride() > 0 {
            packed
                .chunks_mut(self.stride())
                .enumerate()
                .for_each(|(p, panel)| pack(p, panel));
        }
    }
}
