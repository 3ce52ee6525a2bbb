//! What the pixels along one axis of a picture are mixed of.

use std::ops::Range;

/// For each pixel along an axis of a picture, the cells that it is mixed of: neighbours, with their weights.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mix<W = f32> {
    firsts: Vec<u32>,
    /// Where the weights of a pixel end, and those of the next begin.
    ends: Vec<u32>,
    weights: Vec<W>,
}

impl<W> Mix<W> {
    /// The next pixel: its first cell, and the weights of that one and those after it.
    pub fn push(&mut self, first: usize, weights: &[W])
    where
        W: Copy,
    {
        self.firsts.push(first as u32);
        self.weights.extend_from_slice(weights);
        self.ends.push(self.weights.len() as u32);
    }

    /// Pixels.
    pub fn len(&self) -> usize {
        self.firsts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.firsts.is_empty()
    }

    /// First cell and weights of a pixel.
    pub fn of(&self, pixel: usize) -> (usize, &[W]) {
        let begin = if pixel == 0 {
            0
        } else {
            self.ends[pixel - 1] as usize
        };
        let weights = &self.weights[begin..self.ends[pixel] as usize];
        (self.firsts[pixel] as usize, weights)
    }

    /// First cell and weights of every pixel.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (usize, &[W])> + ExactSizeIterator {
        (0..self.len()).map(|pixel| self.of(pixel))
    }

    /// Weights of all pixels, one after the other.
    pub fn weights(&self) -> &[W] {
        &self.weights
    }

    /// The same cells with other weights.
    pub fn map<V>(&self, f: impl FnMut(&W) -> V) -> Mix<V> {
        Mix {
            firsts: self.firsts.clone(),
            ends: self.ends.clone(),
            weights: self.weights.iter().map(f).collect(),
        }
    }

    /// The cells of every pixel.
    pub(super) fn cells(&self) -> impl DoubleEndedIterator<Item = Range<usize>> + ExactSizeIterator + '_ {
        self.iter().map(|(first, weights)| first..first + weights.len())
    }

    /// The pixels that any of these cells has a part in.
    pub(super) fn pixels_of(&self, cells: &Range<usize>) -> Range<usize> {
        let has = |own: Range<usize>| own.start < cells.end && own.end > cells.start;
        let first = self.cells().position(has).unwrap_or(0);
        let last = self.cells().rposition(has).map_or(first, |i| i + 1);
        first..last
    }

    /// The cells that have a part in any of these pixels, which are not none.
    pub(super) fn cells_of(&self, pixels: &Range<usize>) -> Range<usize> {
        self.of(pixels.start).0..self.cells().nth(pixels.end - 1).map_or(0, |last| last.end)
    }

    /// As kernels read it: first cells, then where the weights of each pixel begin, with `before` weights of other axes before
    /// them, and where the last ones end.
    #[cfg(feature = "cuda")]
    pub(super) fn table(&self, before: usize) -> (impl Iterator<Item = u32> + '_, &[W]) {
        let starts = [0].into_iter().chain(self.ends.iter().copied());
        let table = self
            .firsts
            .iter()
            .copied()
            .chain(starts.map(move |at| at + before as u32));
        (table, &self.weights)
    }
}
