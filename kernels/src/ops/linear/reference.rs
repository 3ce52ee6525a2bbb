//! Plain loops in f64.

/// `a w^T`: `a` m x k, `w` n x k.
pub fn matmul_nt(a: &[f32], w: &[f32], m: usize, n: usize, k: usize) -> Vec<f64> {
    let dot = |i: usize, j: usize| {
        (0..k)
            .map(|p| f64::from(a[i * k + p]) * f64::from(w[j * k + p]))
            .sum()
    };
    (0..m).flat_map(|i| (0..n).map(move |j| dot(i, j))).collect()
}
