//! The right-hand side of a product, split and laid out once.

use rayon::prelude::*;

use super::split::{self, Place};
use super::{BLOCK, Engine, Line, STEP, TILE, Terms};

/// Sizes of a K x N right-hand side in panels of 32 columns; the last panel has one tile of columns where that is enough.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    pub k: usize,
    pub n: usize,
    pub terms: Terms,
}

impl Layout {
    /// Of the sum, the last one filled up with zeros.
    pub(crate) fn steps(&self) -> usize {
        self.k.div_ceil(STEP)
    }

    pub(crate) fn panels(&self) -> usize {
        self.n.div_ceil(BLOCK)
    }

    /// Tiles of columns in panel `p`.
    pub(crate) fn tiles(&self, p: usize) -> usize {
        (self.n - p * BLOCK).div_ceil(TILE).min(2)
    }

    /// Lines of a full panel.
    pub(crate) fn stride(&self) -> usize {
        self.steps() * self.terms.lines(2)
    }

    pub(crate) fn lines(&self) -> usize {
        self.steps() * self.terms.lines(self.n.div_ceil(TILE))
    }

    /// `steps` of panel `p` in the packed whole.
    pub(crate) fn part<'a>(&self, packed: &'a [Line], p: usize, steps: std::ops::Range<usize>) -> &'a [Line] {
        let lines = self.terms.lines(self.tiles(p));
        let panel = &packed[p * self.stride()..];
        &panel[steps.start * lines..steps.end * lines]
    }

    /// Fills panel `p` from N rows of K at `stride` floats from row to row.
    pub(crate) fn pack_transposed(&self, p: usize, panel: &mut [Line], src: &[f32], stride: usize) {
        let place = Place {
            tiles: self.tiles(p),
            terms: self.terms,
        };
        let first = p * BLOCK;
        let columns = (self.n - first).min(BLOCK);
        for j in 0..place.tiles * TILE {
            match j < columns {
                true => split::row(place, j, &src[(first + j) * stride..][..self.k], panel),
                // Its products are not stored, but they should not be slow or trap.
                false => panel[j..]
                    .iter_mut()
                    .step_by(place.tiles * TILE)
                    .for_each(|line| *line = Line::ZERO),
            }
        }
        let (tiles, _) = panel.as_chunks_mut::<TILE>();
        tiles.iter_mut().for_each(split::transpose);
    }

    /// Fills panel `p` from K rows of N at `stride` floats from row to row.
    pub(crate) fn pack_rows(&self, p: usize, panel: &mut [Line], src: &[f32], stride: usize) {
        let tiles = self.tiles(p);
        for (step, lines) in panel.chunks_exact_mut(self.terms.lines(tiles)).enumerate() {
            let (hi, lo) = lines.split_at_mut(tiles * TILE);
            for tile in 0..tiles {
                let first = p * BLOCK + tile * TILE;
                let columns = (self.n - first).min(TILE);
                for r in 0..TILE {
                    let row = |k: usize| match k < self.k {
                        true => &src[k * stride + first..][..columns],
                        false => &[],
                    };
                    let k = step * STEP + 2 * r;
                    let at = tile * TILE + r;
                    split::pair(row(k), row(k + 1), &mut hi[at], lo.get_mut(at));
                }
            }
        }
    }
}

/// A weight (N, K) of a linear layer as the right-hand side of `x W^T`.
pub(crate) struct TiledWeight {
    /// That multiplies it.
    pub engine: Engine,
    pub layout: Layout,
    pub lines: Vec<Line>,
}

impl TiledWeight {
    /// `w` N x K, row-major; on all cores.
    pub(crate) fn new(engine: Engine, w: &[f32], (n, k): (usize, usize), terms: Terms) -> Self {
        let layout = Layout { k, n, terms };
        let mut lines = vec![Line::ZERO; layout.lines()];
        lines
            .par_chunks_mut(layout.stride().max(1))
            .enumerate()
            .for_each(|(p, panel)| layout.pack_transposed(p, panel, w, k));
        Self {
            engine,
            layout,
            lines,
        }
    }
}

impl std::fmt::Debug for TiledWeight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("TiledWeight").field(&self.layout).finish()
    }
}
