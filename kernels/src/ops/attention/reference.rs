//! Plain loops in f64.

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
