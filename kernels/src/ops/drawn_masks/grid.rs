use std::ops::Range;

use candle_core::Result;

use crate::ops::mix::Mix;

/// How logits (side, side) are mixed to the pixels of a picture: first along columns of cells, then along rows.
#[derive(Debug, Clone)]
pub struct MaskGrid {
    pub(super) side: usize,
    pub(super) columns: Mix,
    pub(super) rows: Mix,
}

impl MaskGrid {
    /// # Errors
    /// An axis without pixels, cells that are not there, cells that go back from a pixel to the next.
    pub fn new(side: usize, columns: Mix, rows: Mix) -> Result<Self> {
        for axis in [&columns, &rows] {
            let mut before = 0..0;
            for own in axis.cells() {
                let falls = own.start < before.start || own.end < before.end;
                if falls || own.is_empty() || own.end > side {
                    candle_core::bail!("a pixel of cells {own:?} of {side}, after one of {before:?}")
                }
                before = own;
            }
        }
        if columns.is_empty() || rows.is_empty() {
            candle_core::bail!("a picture of {} x {} pixels", columns.len(), rows.len())
        }
        Ok(Self { side, columns, rows })
    }

    pub fn side(&self) -> usize {
        self.side
    }

    pub fn width(&self) -> usize {
        self.columns.len()
    }

    pub fn height(&self) -> usize {
        self.rows.len()
    }

    /// Columns and rows of the cells that any pixel is mixed of.
    pub fn cells(&self) -> (Range<usize>, Range<usize>) {
        (
            self.columns.cells_of(&(0..self.width())),
            self.rows.cells_of(&(0..self.height())),
        )
    }

    /// Columns and rows of the pixels outside of which no value lies above `floor`: most masks are small beside the photo.
    pub(super) fn window(&self, logits: &[f32], floor: f32) -> (Range<usize>, Range<usize>) {
        let (mut x0, mut x1, mut y0, mut y1) = (usize::MAX, 0, usize::MAX, 0);
        for (row, cells) in logits.chunks_exact(self.side).enumerate() {
            let Some(first) = cells.iter().position(|v| *v > floor) else {
                continue;
            };
            let last = cells.iter().rposition(|v| *v > floor).unwrap_or(first);
            (x0, x1) = (x0.min(first), x1.max(last + 1));
            (y0, y1) = (y0.min(row), row + 1);
        }
        if x1 == 0 {
            return (0..0, 0..0);
        }
        let (x, y) = (self.columns.pixels_of(&(x0..x1)), self.rows.pixels_of(&(y0..y1)));
        // Cells of the padding have a part in no pixel.
        if x.is_empty() || y.is_empty() {
            return (0..0, 0..0);
        }
        (x, y)
    }

    /// Calls `f(x, values)` for each column of pixels of `xs`, left to right, with its values at `ys`.
    ///
    /// # Panics
    /// If `logits` is not (side, side).
    pub fn each_column(
        &self,
        logits: &[f32],
        (xs, ys): (&Range<usize>, &Range<usize>),
        mut f: impl FnMut(usize, &[f32]),
    ) {
        assert_eq!(logits.len(), self.side * self.side, "logits");
        let height = ys.len();
        if height == 0 || xs.is_empty() {
            return;
        }
        let cells = self.columns.cells_of(xs);
        // stretched vertically: one column of the height of `ys` for each column of cells
        let mut tall = vec![0f32; cells.len() * height];
        let mut row = vec![0f32; cells.len()];
        for (i, y) in ys.clone().enumerate() {
            let (first, weights) = self.rows.of(y);
            row.fill(0.0);
            for (line, weight) in logits[first * self.side..].chunks_exact(self.side).zip(weights) {
                for (sum, value) in row.iter_mut().zip(&line[cells.clone()]) {
                    *sum += weight * value;
                }
            }
            for (x, value) in row.iter().enumerate() {
                tall[x * height + i] = *value;
            }
        }
        let mut column = vec![0f32; height];
        for x in xs.clone() {
            let (first, weights) = self.columns.of(x);
            column.fill(0.0);
            for (line, weight) in tall[(first - cells.start) * height..]
                .chunks_exact(height)
                .zip(weights)
            {
                for (sum, value) in column.iter_mut().zip(line) {
                    *sum += weight * value;
                }
            }
            f(x, &column);
        }
    }
}
