//! A small product for each line of the grid: its queries by the table of that line.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use crate::cpu::block::{Block, Dense, EpilogueSlices};
use crate::cpu::panels::Panels;
use crate::cpu::storage::F32Input;
use crate::cpu::strided::Strided;
use crate::cpu::view::{Elements, View};
use crate::cpu::{scratch, simd};

/// `q` (B, H, side side, d) by the table (side, d, side) of each query's row of the grid.
pub(super) fn by_rows(q: &Tensor, table: &Tensor) -> Result<Tensor> {
    of(q, table, Lines::Rows)
}

/// The same by the table of its column.
pub(super) fn by_columns(q: &Tensor, table: &Tensor) -> Result<Tensor> {
    of(q, table, Lines::Columns)
}

fn of(q: &Tensor, table: &Tensor, lines: Lines) -> Result<Tensor> {
    let q = match q.stride().last() {
        Some(1) => q.clone(),
        _ => q.contiguous()?,
    };
    q.apply_op2_no_bwd(&table.contiguous()?, &lines)
}

/// Which lines of the grid have a table of their own.
#[derive(Debug, Clone, Copy)]
enum Lines {
    Rows,
    Columns,
}

impl CustomOp2 for Lines {
    fn name(&self) -> &'static str {
        "relative_positions"
    }

    fn cpu_fwd(
        &self,
        q: &CpuStorage,
        ql: &Layout,
        table: &CpuStorage,
        tl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (b, h, n, d) = ql.shape().dims4()?;
        let side = tl.dims()[0];
        let table = F32Input::contiguous(table, tl)?;
        let queries = Strided::new(View::strided(q, ql)?, ql);
        let mut out = Elements::unwritten(q, b * h * n * side)?;
        let shape = Panels::new(d, side);
        // Queries from one of a line to its next, and from line to line.
        let (next, line) = match self {
            Self::Rows => (1, side),
            Self::Columns => (side, 1),
        };
        if b * h * n * d > 0 {
            scratch::with(side * shape.len(), |packed| {
                packed
                    .par_chunks_mut(shape.len())
                    .zip(table.par_chunks(d * side))
                    .for_each(|(packed, table)| {
                        shape.pack_all(packed, |p, panel| shape.pack_rows(p, panel, table, side));
                    });
                let packed = &*packed;
                out.fill(n * side, |head, out| {
                    queries.floats([head / h, head % h, 0], (n, d), |q, stride| {
                        for (i, packed) in packed.chunks_exact(shape.len()).enumerate() {
                            simd::dispatch(Block {
                                a: Dense::new(&q[i * line * stride..], d).every(next * stride),
                                rows: side,
                                shape,
                                packed,
                                out: &mut out[i * line * side..],
                                stride: next * side,
                                column: 0,
                                accumulate: false,
                                epilogue: EpilogueSlices::default(),
                            });
                        }
                    });
                });
            });
        } else {
            out = Elements::zeros(q, b * h * n * side)?;
        }
        Ok((out.storage(), Shape::from((b, h, n, side))))
    }
}
