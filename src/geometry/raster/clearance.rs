//! How far each pixel of the photo is from the nearest of some masks.

use std::f32::consts::SQRT_2;

use dragunov_models::Mask;

/// Cells over the whole photo, about.
const CELLS: f64 = 40_000.0;

/// Distances on a lattice of the photo, from each cell's middle to the nearest covered one's.
#[derive(Debug, Clone)]
pub(crate) struct Clearance {
    /// Pixels between the middles of two cells.
    step: usize,
    size: [usize; 2],
    /// Column by column, in cells; infinite where nothing is covered.
    cells: Vec<f32>,
}

impl Clearance {
    pub(crate) fn of<'m>(masks: impl Iterator<Item = &'m Mask>, width: usize, height: usize) -> Self {
        let step = (((width * height) as f64 / CELLS).sqrt().ceil() as usize).max(1);
        let size = [width.div_ceil(step), height.div_ceil(step)];
        let mut cells = vec![f32::INFINITY; size[0] * size[1]];
        let middle = step / 2;
        for mask in masks {
            mask.for_each_run(|x, a, b| {
                if x % step == middle {
                    let first = a.saturating_sub(middle).div_ceil(step);
                    for j in (first..size[1]).take_while(|j| j * step + middle < b) {
                        cells[x / step * size[1] + j] = 0.0;
                    }
                }
            });
        }
        let mut this = Self { step, size, cells };
        this.spread();
        this
    }

    /// Chamfer distances of 1 and the root of 2 in two passes, at most 8 % too long.
    fn spread(&mut self) {
        let [nx, ny] = self.size;
        let near = |cells: &[f32], i: usize, j: usize, step: f32| cells[i * ny + j] + step;
        for i in 0..nx {
            for j in 0..ny {
                let mut best = self.cells[i * ny + j];
                if j > 0 {
                    best = best.min(near(&self.cells, i, j - 1, 1.0));
                }
                if i > 0 {
                    best = best.min(near(&self.cells, i - 1, j, 1.0));
                    if j > 0 {
                        best = best.min(near(&self.cells, i - 1, j - 1, SQRT_2));
                    }
                    if j + 1 < ny {
                        best = best.min(near(&self.cells, i - 1, j + 1, SQRT_2));
                    }
                }
                self.cells[i * ny + j] = best;
            }
        }
        for i in (0..nx).rev() {
            for j in (0..ny).rev() {
                let mut best = self.cells[i * ny + j];
                if j + 1 < ny {
                    best = best.min(near(&self.cells, i, j + 1, 1.0));
                }
                if i + 1 < nx {
                    best = best.min(near(&self.cells, i + 1, j, 1.0));
                    if j > 0 {
                        best = best.min(near(&self.cells, i + 1, j - 1, SQRT_2));
                    }
                    if j + 1 < ny {
                        best = best.min(near(&self.cells, i + 1, j + 1, SQRT_2));
                    }
                }
                self.cells[i * ny + j] = best;
            }
        }
    }

    /// Pixels from here to the nearest of the masks, to a cell's size; 0 inside, infinite where there is none.
    pub(crate) fn px(&self, x: usize, y: usize) -> f64 {
        let [nx, ny] = self.size;
        let (i, j) = ((x / self.step).min(nx - 1), (y / self.step).min(ny - 1));
        f64::from(self.cells[i * ny + j]) * self.step as f64
    }

    /// Middles of all cells.
    pub(crate) fn middles(&self, width: usize, height: usize) -> impl Iterator<Item = [usize; 2]> + use<> {
        let ([nx, ny], step) = (self.size, self.step);
        (0..nx).flat_map(move |i| {
            (0..ny).map(move |j| {
                [
                    (i * step + step / 2).min(width - 1),
                    (j * step + step / 2).min(height - 1),
                ]
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_to_the_nearest_mask() {
        let (w, h) = (640, 480);
        let disc = Mask::from_fn(w, h, |x, y| (x as f64 - 200.0).hypot(y as f64 - 240.0) < 60.0);
        let bar = Mask::from_fn(w, h, |x, _| x >= 600);
        let clearance = Clearance::of([&disc, &bar].into_iter(), w, h);
        for [x, y] in [
            [200, 240],
            [330, 240],
            [200, 400],
            [300, 340],
            [560, 20],
            [620, 470],
        ] {
            let by_disc = ((x as f64 - 200.0).hypot(y as f64 - 240.0) - 60.0).max(0.0);
            let truth = by_disc.min(600.0_f64 - x as f64).max(0.0);
            let found = clearance.px(x, y);
            assert!(
                (found - truth).abs() < 6.0 + 0.08 * truth,
                "{x} {y}: {found} {truth}"
            );
        }
        assert!(Clearance::of(std::iter::empty(), w, h).px(3, 3).is_infinite());
    }
}
