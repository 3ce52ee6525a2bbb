//! The right-hand side of a product, split and laid out once.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use super::split::{self, Place};
use super::{BLOCK, Engine, Line, STEP, TILE, Terms};
use crate::backend::tiles;
use crate::cpu::storage::TensorInput;
use crate::cpu::view::View;

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

    /// Fills panel `p` from N rows of K at `stride` elements from row to row.
    pub(crate) fn pack_transposed(&self, p: usize, panel: &mut [Line], src: View<'_>, stride: usize) {
        let place = Place {
            tiles: self.tiles(p),
            terms: self.terms,
        };
        let first = p * BLOCK;
        let columns = (self.n - first).min(BLOCK);
        for j in 0..place.tiles * TILE {
            match j < columns {
                true => {
                    let begin = (first + j) * stride;
                    split::row(place, j, src.part(begin..begin + self.k), panel);
                }
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

    /// Fills panel `p` from K rows of N at `stride` elements from row to row.
    pub(crate) fn pack_rows(&self, p: usize, panel: &mut [Line], src: View<'_>, stride: usize) {
        let tiles = self.tiles(p);
        for (step, lines) in panel.chunks_exact_mut(self.terms.lines(tiles)).enumerate() {
            for tile in 0..tiles {
                let first = p * BLOCK + tile * TILE;
                let columns = (self.n - first).min(TILE);
                for r in 0..TILE {
                    let row = |k: usize| match k < self.k {
                        true => src.part(k * stride + first..k * stride + first + columns),
                        false => src.part(0..0),
                    };
                    let k = step * STEP + 2 * r;
                    let lines = &mut lines[tile * TILE + r..];
                    split::pair(self.terms, [row(k), row(k + 1)], lines, tiles * TILE);
                }
            }
        }
    }
}

/// Whether a right-hand side fills its tiles.
fn worth_it(n: usize, k: usize) -> bool {
    n >= TILE && k >= STEP
}

/// How a weight (N, ..) of this element type that lies as it was stored is laid out for one call; none where it is multiplied
/// otherwise.
pub(crate) fn layout_for(dtype: DType, dims: &[usize]) -> Option<(Engine, Layout)> {
    let (n, k) = (dims[0], dims[1..].iter().product());
    let (engine, terms) = tiles(&Device::Cpu, dtype).filter(|_| worth_it(n, k))?;
    Some((engine, Layout { k, n, terms }))
}

/// A weight (N, K) of a linear layer as the right-hand side of `x W^T`.
pub(crate) struct TiledWeight {
    /// That multiplies it.
    pub engine: Engine,
    pub layout: Layout,
    pub lines: Vec<Line>,
}

impl TiledWeight {
    /// `weight` (N, K), row-major, of any rank whose last dimensions multiply to K. None where tiles would be mostly empty, are not
    /// multiplied, or take more bytes than the weight.
    ///
    /// # Errors
    /// A weight that cannot be read.
    pub(crate) fn of(weight: &Tensor) -> Result<Option<Self>> {
        let n = weight.dim(0)?;
        let k = weight.elem_count() / n.max(1);
        let Some((engine, terms)) = tiles(weight.device(), weight.dtype()).filter(|_| worth_it(n, k)) else {
            return Ok(None);
        };
        if terms == Terms::Three {
            return Ok(None);
        }
        let weight = weight.contiguous()?;
        let input = TensorInput::new(&weight);
        Ok(Some(Self::new(engine, input.view()?, (n, k), terms)))
    }

    /// `w` N x K, row-major; on all cores.
    fn new(engine: Engine, w: View<'_>, (n, k): (usize, usize), terms: Terms) -> Self {
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
