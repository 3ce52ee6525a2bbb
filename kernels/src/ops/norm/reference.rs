//! Plain loops in f64.

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
