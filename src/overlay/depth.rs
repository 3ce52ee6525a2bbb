//! Depth in colour: near is bright, far is dark.

use dragunov_models::RgbImage;

/// Stops of a perceptually even dark-to-bright ramp (after matplotlib's inferno).
const RAMP: [[f32; 3]; 6] = [
    [0.0, 0.0, 4.0],
    [66.0, 10.0, 104.0],
    [147.0, 38.0, 103.0],
    [221.0, 81.0, 58.0],
    [252.0, 165.0, 10.0],
    [252.0, 255.0, 164.0],
];

/// `nearness` is row-major, larger is nearer (disparity); values that are not finite come out black.
///
/// The 1st and 99th percentile are the ends of the ramp. `None` if the size does not fit or nothing is finite.
pub fn depth_picture(width: usize, height: usize, nearness: &[f32]) -> Option<RgbImage> {
    let mut sorted: Vec<f32> = nearness.iter().copied().filter(|v| v.is_finite()).collect();
    if sorted.is_empty() || nearness.len() != width * height {
        return None;
    }
    sorted.sort_by(f32::total_cmp);
    let at = |q: f64| sorted[((sorted.len() - 1) as f64 * q).round() as usize];
    let (low, high) = (at(0.01), at(0.99));
    let span = (high - low).max(f32::MIN_POSITIVE);
    let data = nearness.iter().flat_map(|&v| {
        if v.is_finite() {
            colour((v - low) / span)
        } else {
            [0; 3]
        }
    });
    RgbImage::new(width, height, data.collect()).ok()
}

fn colour(t: f32) -> [u8; 3] {
    let x = t.clamp(0.0, 1.0) * (RAMP.len() - 1) as f32;
    let i = (x as usize).min(RAMP.len() - 2);
    let f = x - i as f32;
    std::array::from_fn(|c| (RAMP[i][c] + (RAMP[i + 1][c] - RAMP[i][c]) * f).round() as u8)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn nearer_is_brighter_and_nan_is_black() {
        let picture = depth_picture(4, 1, &[1.0, 2.0, 3.0, f32::NAN]).unwrap();
        let light = |x| picture.pixel(x, 0).iter().map(|&v| u32::from(v)).sum::<u32>();
        assert!(light(0) < light(1) && light(1) < light(2));
        assert_eq!(picture.pixel(3, 0), [0; 3]);
        assert!(depth_picture(2, 1, &[f32::NAN; 2]).is_none());
    }
}
