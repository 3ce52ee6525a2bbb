//! Masks drawn from their logits at a picture's size: what decides on each, and its pixels as bits.

mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod grid;
pub(crate) mod reference;

use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

pub use self::grid::MaskGrid;
use crate::MaskFacts;
#[cfg(feature = "cuda")]
use crate::backend::Backend;

/// Pixels of a word.
const WORD: usize = 32;

/// Above what a pixel is the mask, and above what pixels are counted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MaskThresholds {
    pub mask: f32,
    pub high: f32,
    pub low: f32,
}

impl MaskThresholds {
    /// Where no cell lies above it, no pixel lies above a threshold: a mix of cells is no larger than the largest of them, but
    /// for rounding.
    fn floor(&self) -> f32 {
        self.mask.min(self.high).min(self.low) - 1e-3
    }
}

/// The pixels of a mask in the box around them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MaskBits {
    /// First column of the box.
    pub left: usize,
    /// First row that the words begin with, a multiple of 32.
    pub top: usize,
    pub columns: usize,
    /// (rows / 32, columns): bit i of a word is the pixel i rows below its first one.
    pub words: Vec<u32>,
}

impl MaskBits {
    /// For what lies within first and last column, first and last row: a box without words yet, and how many rows of them it gets.
    fn around([x0, x1, y0, y1]: [u32; 4]) -> (Self, usize) {
        let lines = y1 as usize / WORD - y0 as usize / WORD + 1;
        let bits = Self {
            left: x0 as usize,
            top: y0 as usize / WORD * WORD,
            columns: (x1 - x0 + 1) as usize,
            words: Vec::new(),
        };
        (bits, lines)
    }

    /// The words of a column, from the top; columns count from `left`.
    pub fn column(&self, column: usize) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().skip(column).step_by(self.columns).copied()
    }
}

/// A mask where its logits lie: one of (N, side, side), dense.
#[derive(Debug, Clone)]
pub struct MaskAt {
    pub logits: Tensor,
    pub index: usize,
}

impl MaskGrid {
    /// What [`draw_masks`] finds, of logits (side, side) in host memory.
    ///
    /// # Panics
    /// If `logits` is not (side, side).
    pub fn draw(&self, logits: &[f32], thresholds: &MaskThresholds) -> (MaskFacts, MaskBits) {
        cpu::draw(self, logits, thresholds)
    }
}

/// Draws masks at the size of `grid`: facts of each in its pixels, and the bits of those that `keep(which, facts)` wants. From a
/// GPU 24 bytes a mask come back, then those bits, in two launches.
///
/// # Errors
/// Masks that are not there or have another side than the grid.
pub fn draw_masks(
    masks: &[MaskAt],
    grid: &MaskGrid,
    thresholds: &MaskThresholds,
    mut keep: impl FnMut(usize, &MaskFacts) -> bool,
) -> Result<Vec<(MaskFacts, Option<MaskBits>)>> {
    for mask in masks {
        let (n, height, width) = mask.logits.dims3()?;
        if mask.index >= n || (height, width) != (grid.side, grid.side) {
            let shape = mask.logits.shape();
            candle_core::bail!("mask {} of {shape:?} on a grid of side {}", mask.index, grid.side)
        }
    }
    #[cfg(feature = "cuda")]
    if let Some(first) = masks.first()
        && Backend::has_cuda_kernels(first.logits.device())
        && cuda::takes(masks, grid)
    {
        return cuda::draw_masks(masks, grid, thresholds, keep);
    }
    let values = |mask: &MaskAt| {
        let own = mask.logits.narrow(0, mask.index, 1)?.to_dtype(DType::F32)?;
        own.flatten_all()?.to_vec1::<f32>()
    };
    let logits = masks.iter().map(values).collect::<Result<Vec<_>>>()?;
    let drawn: Vec<_> = logits.par_iter().map(|l| grid.draw(l, thresholds)).collect();
    let kept = drawn.into_iter().enumerate().map(|(i, (facts, bits))| {
        let bits = keep(i, &facts).then_some(bits);
        (facts, bits)
    });
    Ok(kept.collect())
}
