//! A part of a photo seen in square cells, numbered row by row.

use dragunov_models::Mask;

#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    /// Pixels to a cell's side.
    pub(super) step: usize,
    /// First pixel.
    pub(super) from: [usize; 2],
    /// Columns and rows.
    pub(super) size: [usize; 2],
}

impl Grid {
    pub(super) fn len(&self) -> usize {
        self.size[0] * self.size[1]
    }

    pub(super) fn pixels(&self, cell: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (step, [x0, y0]) = (self.step, self.from);
        let (i, j) = (cell % self.size[0], cell / self.size[0]);
        (0..step * step).map(move |k| (x0 + i * step + k % step, y0 + j * step + k / step))
    }

    /// Those of the four cells beside it that are in the grid.
    pub(super) fn neighbours(&self, cell: usize) -> impl Iterator<Item = usize> + use<> {
        let ([w, h], i, j) = (self.size, cell % self.size[0], cell / self.size[0]);
        [
            (i > 0).then(|| cell - 1),
            (i + 1 < w).then_some(cell + 1),
            (j > 0).then(|| cell - w),
            (j + 1 < h).then_some(cell + w),
        ]
        .into_iter()
        .flatten()
    }

    /// The pixels of some cells as a mask of a photo of this width and height.
    pub(super) fn mask(&self, photo: (usize, usize), cells: impl IntoIterator<Item = usize>) -> Mask {
        let mut bits = vec![false; photo.0 * photo.1];
        for (x, y) in cells.into_iter().flat_map(|cell| self.pixels(cell)) {
            bits[y * photo.0 + x] = true;
        }
        Mask::from_bits(photo.0, photo.1, &bits)
    }
}
