//! The same ops as plain loops in f64: slow, obviously right, what the kernels are tested against.
//!
//! Tensors are slices in row-major order with their sizes beside them.

/// `x Phi(x)`.
pub fn gelu(x: f64) -> f64 {
    x * 0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// `x / (1 + e^-x)`.
pub fn silu(x: f64) -> f64 {
    x / (1. + (-x).exp())
}

/// `a w^T`: `a` m x k, `w` n x k.
pub fn matmul_nt(a: &[f32], w: &[f32], m: usize, n: usize, k: usize) -> Vec<f64> {
    let dot = |i: usize, j: usize| {
        (0..k)
            .map(|p| f64::from(a[i * k + p]) * f64::from(w[j * k + p]))
            .sum()
    };
    (0..m).flat_map(|i| (0..n).map(move |j| dot(i, j))).collect()
}

/// Sizes of [`attention`].
#[derive(Debug, Clone, Copy)]
pub struct AttentionDims {
    pub batch: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub nq: usize,
    pub nk: usize,
    pub d: usize,
    pub dv: usize,
}

/// `softmax(scale q k^T + added(b, h, i, j)) v` as (B, Nq, H, Dv); `q` (B, H, Nq, D), `k` (B, Hkv, Nk, D), `v` (B, Hkv,
/// Nk, Dv). An added minus infinity hides a key.
pub fn attention(
    dims: AttentionDims,
    [q, k, v]: [&[f32]; 3],
    scale: f32,
    added: impl Fn(usize, usize, usize, usize) -> f64,
) -> Vec<f64> {
    let AttentionDims {
        batch,
        heads,
        kv_heads,
        nq,
        nk,
        d,
        dv,
    } = dims;
    let mut out = vec![0f64; batch * nq * heads * dv];
    for b in 0..batch {
        for h in 0..heads {
            let kv = b * kv_heads + h / (heads / kv_heads);
            for i in 0..nq {
                let query = &q[((b * heads + h) * nq + i) * d..][..d];
                let score = |j: usize| {
                    let key = &k[(kv * nk + j) * d..][..d];
                    let dot: f64 = query
                        .iter()
                        .zip(key)
                        .map(|(a, b)| f64::from(*a) * f64::from(*b))
                        .sum();
                    dot * f64::from(scale) + added(b, h, i, j)
                };
                let scores: Vec<f64> = (0..nk).map(score).collect();
                let peak = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let weights: Vec<f64> = scores.iter().map(|s| (s - peak).exp()).collect();
                let sum: f64 = weights.iter().sum();
                let row = &mut out[((b * nq + i) * heads + h) * dv..][..dv];
                for (j, w) in weights.iter().enumerate() {
                    for (o, v) in row.iter_mut().zip(&v[(kv * nk + j) * dv..]) {
                        *o += w / sum * f64::from(*v);
                    }
                }
            }
        }
    }
    out
}

/// Layer norm of each row of `weight.len()` floats.
pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f64) -> Vec<f64> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(weight.len()) {
        let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / row.len() as f64;
        let var = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / row.len() as f64;
        let unit = row.iter().map(|&v| (f64::from(v) - mean) / (var + eps).sqrt());
        out.extend(
            unit.zip(weight.iter().zip(bias))
                .map(|(u, (&w, &b))| u * f64::from(w) + f64::from(b)),
        );
    }
    out
}

/// RMS norm of each row of `weight.len()` floats.
pub fn rms_norm(x: &[f32], weight: &[f32], eps: f64) -> Vec<f64> {
    let mut out = Vec::with_capacity(x.len());
    for row in x.chunks_exact(weight.len()) {
        let mean_sq = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / row.len() as f64;
        out.extend(
            row.iter()
                .zip(weight)
                .map(|(&v, &w)| f64::from(v) / (mean_sq + eps).sqrt() * f64::from(w)),
        );
    }
    out
}
