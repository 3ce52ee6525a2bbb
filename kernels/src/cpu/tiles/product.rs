//! A whole product `epilogue(A W^T)` in tasks for rayon's threads.

use std::ops::Range;

use rayon::prelude::*;

use super::sweep::{Rows, Sweep};
use super::weight::{Layout, TiledWeight};
use super::{BLOCK, Engine, Line, TILE};
use crate::cpu::block::EpilogueSlices;
use crate::cpu::parallel::even_cuts;
use crate::cpu::scratch;
use crate::cpu::view::{Output, View};

/// Multiply-adds below which a product stays on the calling thread: some microseconds.
const SERIAL_WORK: usize = 1 << 19;
/// Rows of a task, at most. The right-hand side is read once a task, so that with fewer its bandwidth would be the limit; with more
/// the left-hand side would leave the second-level cache.
const ROWS: usize = 256;
/// Lines of a right-hand side that is laid out for one call, at a time (8 MiB).
const PACKED: usize = 1 << 17;

/// `out = epilogue(a w^T)`, `out` M x N.
pub(crate) fn product<A: Rows + Sync>(
    a: &A,
    m: usize,
    w: &TiledWeight,
    epilogue: EpilogueSlices<'_>,
    out: &Output<'_>,
) {
    let n = w.layout.n;
    let right = Right {
        engine: w.engine,
        layout: w.layout,
        packed: &w.lines,
        column: 0,
        width: n,
    };
    right.multiply(a, m, epilogue, out);
}

/// The same of `w` as it lies, N x K, laid out for this call.
pub(crate) fn product_laid_out<A: Rows + Sync>(
    (engine, layout): (Engine, Layout),
    a: &A,
    m: usize,
    w: View<'_>,
    epilogue: EpilogueSlices<'_>,
    out: &Output<'_>,
) {
    let Layout { k, n, terms } = layout;
    let slices = layout.lines().div_ceil(PACKED).max(1);
    let slice = layout.panels().div_ceil(slices).max(1) * BLOCK;
    for first in (0..n).step_by(slice) {
        let end = (first + slice).min(n);
        let layout = Layout {
            k,
            n: end - first,
            terms,
        };
        let w = w.part(first * k..end * k);
        scratch::lines(layout.lines(), |packed| {
            let pack = |(p, panel): (usize, &mut [Line])| layout.pack_transposed(p, panel, w, k);
            let panels = layout.stride().max(1);
            match m * layout.n * k < SERIAL_WORK {
                true => packed.chunks_mut(panels).enumerate().for_each(pack),
                false => packed.par_chunks_mut(panels).enumerate().for_each(pack),
            }
            let right = Right {
                engine,
                layout,
                packed,
                column: first,
                width: n,
            };
            let epilogue = EpilogueSlices {
                bias: epilogue.bias.map(|b| &b[first..end]),
                ..epilogue
            };
            right.multiply(a, m, epilogue, out);
        });
    }
}

/// A right-hand side that is laid out: columns `column ..` of a result `width` wide.
struct Right<'a> {
    engine: Engine,
    layout: Layout,
    packed: &'a [Line],
    column: usize,
    width: usize,
}

impl Right<'_> {
    /// `epilogue`: the bias of these columns, the residual of the whole result.
    fn multiply<A: Rows + Sync>(&self, a: &A, m: usize, epilogue: EpilogueSlices<'_>, out: &Output<'_>) {
        let panels = self.layout.panels();
        let run = |(rows, panels): (Range<usize>, Range<usize>)| {
            let sweep = Sweep {
                engine: self.engine,
                a,
                rows,
                layout: self.layout,
                packed: self.packed,
                panels,
                out,
                stride: self.width,
                column: self.column,
                accumulate: false,
                epilogue,
            };
            // SAFETY: no row of a panel is in two tasks.
            #[allow(unsafe_code)]
            unsafe {
                sweep.run();
            }
        };
        if m * self.layout.n * self.layout.k < SERIAL_WORK {
            for begin in (0..m).step_by(ROWS) {
                run((begin..(begin + ROWS).min(m), 0..panels));
            }
        } else {
            cut(m, panels).into_par_iter().for_each(run);
        }
    }
}

/// Rows and panels of each task: rows alone where there are enough for every thread, else panels as well.
fn cut(m: usize, panels: usize) -> Vec<(Range<usize>, Range<usize>)> {
    let ranges = |cuts: Vec<usize>| cuts.windows(2).map(|w| w[0]..w[1]).collect::<Vec<_>>();
    let threads = rayon::current_num_threads();
    if m >= threads * 2 * BLOCK {
        let rows = ranges(even_cuts(m, TILE, ROWS));
        return rows.into_iter().map(|rows| (rows, 0..panels)).collect();
    }
    let rows = (0..m).step_by(ROWS).map(|begin| begin..(begin + ROWS).min(m));
    let columns = ranges(even_cuts(panels, 1, panels.div_ceil(4 * threads)));
    rows.flat_map(|rows| {
        columns
            .iter()
            .map(move |panels| (rows.clone(), panels.clone()))
            .collect::<Vec<_>>()
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_cover_every_block_once() {
        for m in [1, 16, 48, 127, 128, 129, 1000, 4096] {
            for panels in [1, 2, 7, 24, 344] {
                let mut seen = vec![0u8; m * panels];
                for (rows, columns) in cut(m, panels) {
                    assert!(rows.len() <= ROWS + TILE, "{rows:?}");
                    for i in rows {
                        columns.clone().for_each(|p| seen[i * panels + p] += 1);
                    }
                }
                assert!(seen.iter().all(|&n| n == 1), "{m} rows, {panels} panels");
            }
        }
    }
}
