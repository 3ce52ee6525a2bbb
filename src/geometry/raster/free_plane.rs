//! The table as a plane of any direction, `d = n . r` (geometry.md 3.5).

use super::table::TableSamples;
use super::table_fit::{INDEPENDENT_SAMPLES, NOISE_FLOOR};
use crate::geometry::math::linear::solve;
use crate::geometry::math::vector::dot;
use crate::geometry::view::camera::View;

/// Least squares over the samples that are kept, with the covariance of `n`. `None` for under 12 samples.
pub(crate) fn free_plane(
    samples: &TableSamples,
    keep: &[bool],
    view: &View,
) -> Option<([f64; 3], [[f64; 3]; 3])> {
    let mut m = [[0.0; 4]; 3];
    let mut n = 0.0;
    for (p, _) in samples.points.iter().zip(keep).filter(|(_, k)| **k) {
        let r = view.camera.ray(p[0], p[1]);
        let row = [r[0], r[1], 1.0, p[2]];
        for i in 0..3 {
            for j in 0..4 {
                m[i][j] += row[i] * row[j];
            }
        }
        n += 1.0;
    }
    if n < 12.0 {
        return None;
    }
    let x = solve(m)?;
    let (mut square, mut level) = (0.0, 0.0);
    for (p, _) in samples.points.iter().zip(keep).filter(|(_, k)| **k) {
        square += (p[2] - dot(x, view.camera.ray(p[0], p[1]))).powi(2);
        level += p[2].abs();
    }
    let noise = (square / n).sqrt().max(NOISE_FLOOR * level / n);
    let mut inverse = [[0.0; 3]; 3];
    for k in 0..3 {
        let mut right: [[f64; 4]; 3] =
            std::array::from_fn(|i| std::array::from_fn(|j| if j < 3 { m[i][j] } else { 0.0 }));
        right[k][3] = 1.0;
        let column = solve(right)?;
        for i in 0..3 {
            inverse[i][k] = column[i] * noise * noise * n / INDEPENDENT_SAMPLES;
        }
    }
    Some((x, inverse))
}
