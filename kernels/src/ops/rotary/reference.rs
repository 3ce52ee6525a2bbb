//! Plain loops in f64.

/// Rows of `d` elements by angles of d/2: `x` (rows, d), `angles` (rows, d/2) in radians.
pub fn rotary(x: &[f32], angles: &[f64], d: usize) -> Vec<f64> {
    let half = d / 2;
    let mut out = vec![0.; x.len()];
    for row in 0..x.len() / d {
        for i in 0..half {
            let (a, b) = (f64::from(x[row * d + i]), f64::from(x[row * d + half + i]));
            let (sin, cos) = angles[row * half + i].sin_cos();
            out[row * d + i] = a * cos - b * sin;
            out[row * d + half + i] = b * cos + a * sin;
        }
    }
    out
}
