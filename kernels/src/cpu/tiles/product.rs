//! A whole product `epilogue(A W^T)` in tasks for rayon's threads.

use std::ops::Range;

use rayon::prelude::*;

use super::sweep::{Rows, Sweep};
use super::weight::TiledWeight;
use super::{BLOCK, TILE};
use crate::cpu::block::EpilogueSlices;
use crate::cpu::disjoint::DisjointOutput;
use crate::cpu::parallel::even_cuts;

/// Multiply-adds below which a product stays on the calling thread: some microseconds.
const SERIAL_WORK: usize = 1 << 19;
/// Rows of a task, at most. The right-hand side is read once a task, so that with fewer its bandwidth would be the limit; with more
/// the left-hand side would leave the second-level cache.
const ROWS: usize = 256;

/// `out = epilogue(a w^T)`, `out` M x N.
pub(crate) fn product<A: Rows + Sync>(
    a: &A,
    m: usize,
    w: &TiledWeight,
    epilogue: EpilogueSlices<'_>,
    out: &mut [f32],
) {
    let n = w.layout.n;
    let panels = w.layout.panels();
    if m == 0 || n == 0 {
        return;
    }
    let out = DisjointOutput::new(&mut out[..m * n]);
    let run = |(rows, panels): (Range<usize>, Range<usize>)| {
        let sweep = Sweep {
            engine: w.engine,
            a,
            rows,
            layout: w.layout,
            packed: &w.lines,
            panels,
            out: &out,
            stride: n,
            column: 0,
            accumulate: false,
            epilogue,
        };
        // SAFETY: no row of a panel is in two tasks.
        #[allow(unsafe_code)]
        unsafe {
            sweep.run();
        }
    };
    if m * n * w.layout.k < SERIAL_WORK {
        for begin in (0..m).step_by(ROWS) {
            run((begin..(begin + ROWS).min(m), 0..panels));
        }
        return;
    }
    let tasks = cut(m, panels);
    tasks.into_par_iter().for_each(run);
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
