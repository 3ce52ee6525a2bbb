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

/// Sizes of [`conv2d`].
#[derive(Debug, Clone, Copy)]
pub struct ConvDims {
    pub batch: usize,
    pub height: usize,
    pub width: usize,
    pub input: usize,
    pub output: usize,
    pub kernel: (usize, usize),
    pub stride: usize,
    pub padding: usize,
    pub groups: usize,
}

/// Cross-correlation: `x` (B, H, W, in), `w` (out, in / groups, kh, kw) as PyTorch has it; gives (B, H', W', out).
pub fn conv2d(dims: ConvDims, x: &[f32], w: &[f32]) -> Vec<f64> {
    let ConvDims {
        batch,
        height,
        width,
        input,
        output,
        kernel: (kh, kw),
        stride,
        padding,
        groups,
    } = dims;
    let (out_h, out_w) = (
        (height + 2 * padding - kh) / stride + 1,
        (width + 2 * padding - kw) / stride + 1,
    );
    let per_group = input / groups;
    let mut out = Vec::new();
    for b in 0..batch {
        for (y, x0, o) in
            (0..out_h).flat_map(|y| (0..out_w).flat_map(move |x| (0..output).map(move |o| (y, x, o))))
        {
            let mut sum = 0f64;
            for (c, ky, kx) in
                (0..per_group).flat_map(|c| (0..kh).flat_map(move |y| (0..kw).map(move |x| (c, y, x))))
            {
                let (iy, ix) = (y * stride + ky, x0 * stride + kx);
                if (padding..height + padding).contains(&iy) && (padding..width + padding).contains(&ix) {
                    let channel = o / (output / groups) * per_group + c;
                    let at = ((b * height + iy - padding) * width + ix - padding) * input + channel;
                    sum += f64::from(x[at]) * f64::from(w[((o * per_group + c) * kh + ky) * kw + kx]);
                }
            }
            out.push(sum);
        }
    }
    out
}

/// Transposed convolution with stride = kernel: `x` (B H W, in), `w` (in, out, kh, kw); gives (B, H kh, W kw, out).
pub fn conv_transpose2d(
    x: &[f32],
    [b, h, w]: [usize; 3],
    weight: &[f32],
    [input, output, kh, kw]: [usize; 4],
) -> Vec<f64> {
    let mut out = Vec::new();
    for b in 0..b {
        for (y, x0) in (0..h * kh).flat_map(|y| (0..w * kw).map(move |x| (y, x))) {
            let pixel = &x[((b * h + y / kh) * w + x0 / kw) * input..][..input];
            for o in 0..output {
                let at = |c: usize| ((c * output + o) * kh + y % kh) * kw + x0 % kw;
                out.push(
                    pixel
                        .iter()
                        .enumerate()
                        .map(|(c, v)| f64::from(*v) * f64::from(weight[at(c)]))
                        .sum(),
                );
            }
        }
    }
    out
}

/// Bilinear resampling of one (H, W) plane.
pub fn upsample_bilinear(
    plane: &[f32],
    from: (usize, usize),
    to: (usize, usize),
    align_corners: bool,
) -> Vec<f64> {
    let source = |i: usize, from: usize, to: usize| match align_corners {
        true if to > 1 => i as f64 * (from - 1) as f64 / (to - 1) as f64,
        true => 0.,
        false => ((i as f64 + 0.5) * from as f64 / to as f64 - 0.5).max(0.),
    };
    let mut out = Vec::new();
    for (y, x0) in (0..to.0).flat_map(|y| (0..to.1).map(move |x| (y, x))) {
        let (sy, sx) = (source(y, from.0, to.0), source(x0, from.1, to.1));
        let (y0, x0) = ((sy as usize).min(from.0 - 1), (sx as usize).min(from.1 - 1));
        let (y1, x1) = ((y0 + 1).min(from.0 - 1), (x0 + 1).min(from.1 - 1));
        let (fy, fx) = (sy - y0 as f64, sx - x0 as f64);
        let at = |y: usize, x: usize| f64::from(plane[y * from.1 + x]);
        let (top, bottom) = (
            at(y0, x0) * (1. - fx) + at(y0, x1) * fx,
            at(y1, x0) * (1. - fx) + at(y1, x1) * fx,
        );
        out.push(top * (1. - fy) + bottom * fy);
    }
    out
}
