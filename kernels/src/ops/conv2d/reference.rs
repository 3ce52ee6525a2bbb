//! Plain loops in f64.

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
