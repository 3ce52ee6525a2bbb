//! What rises above the table, by the depth raster alone: enough to tell food from a stain, not to measure it.
//!
//! A plane's inverse depth is linear in the pixel's coordinates, whatever its tilt, and a network's disparity is linear in inverse
//! depth. So the table is a plane of the raster, too, and what rises is what lies above that plane by more than the raster's noise.

use dragunov_models::Mask;
use dragunov_models::depth_anything::Depth;

/// Table pixels that are fitted, and draws of three of them.
const SAMPLES: usize = 1500;
const DRAWS: usize = 120;
/// A pixel within so many standard deviations of the plane is table.
const INLIER_SIGMAS: f64 = 3.0;
const MAD_TO_SD: f64 = 1.4826;
/// Least rise of a thing's middle over the plane, in standard deviations of the table, and as a share of the disparity there: 0.3 % of
/// the camera's height is a millimetre from 35 cm.
const MIN_RISE_SIGMAS: f64 = 0.5;
const MIN_RISE_SHARE: f64 = 0.003;

/// Inverse depth over the table's plane.
#[derive(Debug)]
pub(super) struct Relief {
    width: usize,
    height: usize,
    /// Nearness of each cell, and the table's there: `plane[0] x + plane[1] y + plane[2]`, in cells.
    near: Vec<f64>,
    plane: [f64; 3],
    /// Of the table about its plane.
    sd: f64,
}

impl Relief {
    /// `covered`: the masks of what was found, which is not table. `None` where no plane can be seen.
    pub(super) fn of(depth: &Depth, covered: &[&Mask]) -> Option<Self> {
        let (width, height) = depth.size();
        let metric = matches!(depth, Depth::Metric(_));
        let near: Vec<f64> = depth
            .values()
            .iter()
            .map(|v| match f64::from(*v) {
                z if metric && z > 0.0 => 1.0 / z,
                _ if metric => f64::NAN,
                d => d,
            })
            .collect();
        let mut free = vec![true; width * height];
        for mask in covered {
            let (mw, mh) = (mask.width().max(1), mask.height().max(1));
            let bits = mask.to_bits();
            for (i, cell) in free.iter_mut().enumerate() {
                let (x, y) = ((i % width) * mw / width, (i / width) * mh / height);
                *cell &= !bits.get(y * mw + x).copied().unwrap_or(false);
            }
        }
        let table: Vec<[f64; 3]> = (0..width * height)
            .filter(|&i| free[i] && near[i].is_finite())
            .map(|i| [(i % width) as f64, (i / width) as f64, near[i]])
            .collect();
        let step = (table.len() / SAMPLES).max(1);
        let table: Vec<[f64; 3]> = table.into_iter().step_by(step).collect();
        let (plane, sd) = fit(&table)?;
        Some(Self {
            width,
            height,
            near,
            plane,
            sd,
        })
    }

    /// Whether most of what a mask shows lies over the table.
    pub(super) fn rises(&self, mask: &Mask) -> bool {
        let mut over = Vec::new();
        let (kx, ky) = (
            self.width as f64 / mask.width().max(1) as f64,
            self.height as f64 / mask.height().max(1) as f64,
        );
        let mut level = 0.0;
        mask.for_each_run(|x, top, bottom| {
            for y in top..bottom {
                let (i, j) = (((x as f64 + 0.5) * kx) as usize, ((y as f64 + 0.5) * ky) as usize);
                let at = j.min(self.height - 1) * self.width + i.min(self.width - 1);
                let table = value(self.plane, i as f64, j as f64);
                if self.near[at].is_finite() {
                    over.push(self.near[at] - table);
                    level += table.abs();
                }
            }
        });
        let n = over.len();
        let Some(middle) = median(&mut over) else {
            return false;
        };
        middle > (MIN_RISE_SIGMAS * self.sd).max(MIN_RISE_SHARE * level / n as f64)
    }
}

fn value(plane: [f64; 3], x: f64, y: f64) -> f64 {
    plane[0] * x + plane[1] * y + plane[2]
}

fn median(values: &mut [f64]) -> Option<f64> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// The plane that half of the points lie nearest to (least median of squares, Rousseeuw 1984), then least squares over those within
/// [`INLIER_SIGMAS`] of it; and their standard deviation.
fn fit(points: &[[f64; 3]]) -> Option<([f64; 3], f64)> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut pick = || {
        // xorshift64 (Marsaglia 2003): the same photo always gives the same plane.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        points[(random % points.len().max(1) as u64) as usize]
    };
    if points.len() < 12 {
        return None;
    }
    let spread = |plane: [f64; 3]| {
        let mut off: Vec<f64> = points
            .iter()
            .map(|p| (p[2] - value(plane, p[0], p[1])).abs())
            .collect();
        median(&mut off).map(|mad| MAD_TO_SD * mad)
    };
    let mut best: Option<([f64; 3], f64)> = None;
    for _ in 0..DRAWS {
        let three = [pick(), pick(), pick()];
        let Some(plane) = least_squares(three.iter()) else {
            continue;
        };
        let sd = spread(plane)?;
        if best.is_none_or(|(_, least)| sd < least) {
            best = Some((plane, sd));
        }
    }
    let (mut plane, mut sd) = best?;
    for _ in 0..3 {
        let near = points
            .iter()
            .filter(|p| (p[2] - value(plane, p[0], p[1])).abs() <= INLIER_SIGMAS * sd);
        plane = least_squares(near).unwrap_or(plane);
        sd = spread(plane)?;
    }
    Some((plane, sd))
}

/// Normal equations of three unknowns, solved by Cramer's rule about the points' middle.
fn least_squares<'a>(points: impl Iterator<Item = &'a [f64; 3]> + Clone) -> Option<[f64; 3]> {
    let (mut n, mut mean) = (0.0, [0.0; 3]);
    for p in points.clone() {
        n += 1.0;
        (0..3).for_each(|i| mean[i] += p[i]);
    }
    if n < 3.0 {
        return None;
    }
    mean.iter_mut().for_each(|m| *m /= n);
    let (mut xx, mut xy, mut yy, mut xd, mut yd) = (0.0, 0.0, 0.0, 0.0, 0.0);
    for p in points {
        let [x, y, d]: [f64; 3] = std::array::from_fn(|i| p[i] - mean[i]);
        xx += x * x;
        xy += x * y;
        yy += y * y;
        xd += x * d;
        yd += y * d;
    }
    let determinant = xx * yy - xy * xy;
    if determinant <= 1e-9 * xx * yy {
        return None;
    }
    let a = (xd * yy - yd * xy) / determinant;
    let b = (yd * xx - xd * xy) / determinant;
    Some([a, b, mean[2] - a * mean[0] - b * mean[1]])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use dragunov_models::{MetricDepth, RelativeDisparity};

    use super::*;

    const W: usize = 80;
    const H: usize = 60;

    fn rect(x0: usize, y0: usize, x1: usize, y1: usize) -> Mask {
        Mask::from_fn(2 * W, 2 * H, |x, y| {
            (x0..x1).contains(&x) && (y0..y1).contains(&y)
        })
    }

    /// A table seen at a tilt, with a heap of a tenth of the distance left and a floor far below at the top.
    fn nearness(x: usize, y: usize) -> f64 {
        let table = 1.0 + 0.004 * x as f64 + 0.01 * y as f64;
        let grain = 1e-3 * (((x * 7 + y * 13) % 11) as f64 / 5.0 - 1.0);
        match (x, y) {
            (10..25, 20..40) => table * 1.1 + grain,
            (_, 0..6) => 0.4 + grain,
            _ => table + grain,
        }
    }

    #[test]
    fn a_heap_rises_and_a_stain_does_not_whatever_the_raster_counts() {
        let cells = || (0..W * H).map(|i| (i % W, i / W));
        let relative = cells()
            .map(|(x, y)| (3.0 * nearness(x, y) - 1.0) as f32)
            .collect();
        let metric = cells().map(|(x, y)| (0.5 / nearness(x, y)) as f32).collect();
        for depth in [
            Depth::Relative(RelativeDisparity::new(W, H, relative).unwrap()),
            Depth::Metric(MetricDepth::new(W, H, metric).unwrap()),
        ] {
            let found = rect(60, 60, 120, 100);
            let relief = Relief::of(&depth, &[&found]).unwrap();
            assert!(relief.rises(&rect(22, 44, 48, 78)), "the heap");
            assert!(!relief.rises(&rect(100, 40, 140, 80)), "the table");
            assert!(!relief.rises(&rect(20, 0, 60, 10)), "the floor");
            assert!(!relief.rises(&rect(0, 0, 0, 0)));
        }
    }

    #[test]
    fn without_a_table_nothing_is_said() {
        let flat = RelativeDisparity::new(W, H, vec![1.0; W * H]).unwrap();
        let everything = rect(0, 0, 2 * W, 2 * H);
        assert!(Relief::of(&Depth::Relative(flat), &[&everything]).is_none());
    }
}
