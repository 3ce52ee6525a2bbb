//! Small linear systems.

/// Gaussian elimination with pivoting of an augmented matrix. `None` where it is singular or not finite.
pub(crate) fn solve<const N: usize, const M: usize>(mut m: [[f64; M]; N]) -> Option<[f64; N]> {
    for k in 0..N {
        let pivot = (k..N).max_by(|&a, &b| m[a][k].abs().total_cmp(&m[b][k].abs()))?;
        m.swap(k, pivot);
        let row = m[k];
        if row[k].abs() < 1e-300 || !row[k].is_finite() {
            return None;
        }
        for (i, other) in m.iter_mut().enumerate() {
            if i != k {
                let factor = other[k] / row[k];
                for (x, y) in other.iter_mut().zip(&row).skip(k) {
                    *x -= factor * y;
                }
            }
        }
    }
    Some(std::array::from_fn(|i| m[i][N] / m[i][i]))
}
