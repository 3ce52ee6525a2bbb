//! Windows as row gathers: pad to whole windows, regroup tokens window by window, and back.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{Device, Result, Tensor};

use crate::nn;

/// Row numbers that cut a `grid` x `grid` map of tokens into `side` x `side` windows and put it together again.
///
/// Padding tokens all read one extra row that stands behind the tokens of the whole batch.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    grid: usize,
    pub(super) side: usize,
    /// Of the last batch: batches are nearly always of one size, and the numbers would go to the device every time.
    rows: Arc<Mutex<Option<Rows>>>,
}

/// Row numbers for a batch of one size.
#[derive(Debug, Clone)]
struct Rows {
    batch: usize,
    split: Tensor,
    join: Tensor,
}

impl Windows {
    pub(super) fn new(grid: usize, side: usize) -> Self {
        Self {
            grid,
            side,
            rows: Arc::default(),
        }
    }

    fn along(&self) -> usize {
        self.grid.div_ceil(self.side)
    }

    /// `rows` (B * grid * grid + 1, C), the last row being the padding, to (B * windows, side * side, C).
    pub(super) fn split(&self, rows: &Tensor) -> Result<Tensor> {
        let (n, c) = rows.dims2()?;
        let area = self.side * self.side;
        let index = self.rows((n - 1) / (self.grid * self.grid), rows.device())?.split;
        nn::take_rows(rows, &index)?.reshape((index.dim(0)? / area, area, c))
    }

    /// (B * windows, side * side, C) to (B, grid * grid, C), padding dropped.
    pub(super) fn join(&self, windows: &Tensor) -> Result<Tensor> {
        let (count, area, c) = windows.dims3()?;
        let batch = count / self.along().pow(2);
        let index = self.rows(batch, windows.device())?.join;
        nn::take_rows(&windows.reshape((count * area, c))?, &index)?.reshape((
            batch,
            self.grid * self.grid,
            c,
        ))
    }

    fn rows(&self, batch: usize, device: &Device) -> Result<Rows> {
        let mut last = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(rows) = last
            .as_ref()
            .filter(|r| r.batch == batch && r.split.device().same_device(device))
        {
            return Ok(rows.clone());
        }
        let tensor = |index: Vec<u32>| {
            let len = index.len();
            Tensor::from_vec(index, len, device)
        };
        let rows = Rows {
            batch,
            split: tensor(self.split_rows(batch))?,
            join: tensor(self.join_rows(batch))?,
        };
        *last = Some(rows.clone());
        Ok(rows)
    }

    fn split_rows(&self, batch: usize) -> Vec<u32> {
        let (grid, side) = (self.grid, self.side);
        let padding = batch * grid * grid;
        let mut index = Vec::with_capacity(batch * self.along().pow(2) * side * side);
        for b in 0..batch {
            self.each(|y, x| {
                let inside = y < grid && x < grid;
                index.push(if inside {
                    (b * grid + y) * grid + x
                } else {
                    padding
                } as u32);
            });
        }
        index
    }

    fn join_rows(&self, batch: usize) -> Vec<u32> {
        let (grid, side, along) = (self.grid, self.side, self.along());
        let mut index = Vec::with_capacity(batch * grid * grid);
        for b in 0..batch {
            for y in 0..grid {
                for x in 0..grid {
                    let window = (b * along + y / side) * along + x / side;
                    index.push((window * side * side + y % side * side + x % side) as u32);
                }
            }
        }
        index
    }

    /// Calls `f(y, x)` for every token of every window, in order.
    fn each(&self, mut f: impl FnMut(usize, usize)) {
        let (side, along) = (self.side, self.along());
        for wy in 0..along {
            for wx in 0..along {
                for y in 0..side {
                    for x in 0..side {
                        f(wy * side + y, wx * side + x);
                    }
                }
            }
        }
    }
}

/// (B, N, C) as (B * N + 1, C) with a last row of zeros.
pub(super) fn with_zero_row(x: &Tensor) -> Result<Tensor> {
    let (b, n, c) = x.dims3()?;
    let zero = Tensor::zeros((1, c), x.dtype(), x.device())?;
    nn::join_rows(&[x.reshape((b * n, c))?, zero], nn::Activation::Identity)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn joining_undoes_splitting() {
        for (batch, grid, side) in [(1, 5, 2), (2, 6, 3), (2, 4, 7), (1, 1, 1)] {
            let n = batch * grid * grid;
            let x = Tensor::arange(0f32, (n * 3) as f32, &Device::Cpu).unwrap();
            let x = x.reshape((batch, grid * grid, 3)).unwrap();
            let windows = Windows::new(grid, side);
            let cut = windows.split(&with_zero_row(&x).unwrap()).unwrap();
            assert_eq!(cut.dim(0).unwrap(), batch * grid.div_ceil(side).pow(2));
            let back = windows.join(&cut).unwrap();
            assert_eq!(
                back.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                x.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            );
        }
    }
}
