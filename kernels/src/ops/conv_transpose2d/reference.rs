//! Plain loops in f64.

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
