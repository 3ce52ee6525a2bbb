//! Plain loops in f64.

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
