//! `cv2.resize` with `INTER_CUBIC` on float64 pictures.

use rayon::prelude::*;

use super::check_target;
use super::taps::cubic_cv2;
use crate::{ModelError, Result};

/// Resizes interleaved RGB in f64 as `cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)`.
///
/// Four taps with a = -0.75 in f32, borders replicated, no antialias: values may leave the range of the input, and
/// shrinking skips samples, as the reference does. `from` and `to` are (height, width).
///
/// # Errors
/// [`ModelError::Image`] if a side is zero or `data` does not hold `from` pixels.
pub fn cv2_cubic(data: &[f64], from: (usize, usize), to: (usize, usize)) -> Result<Vec<f64>> {
    const CHANNELS: usize = 3;
    check_target(to.1, to.0)?;
    let ((from_h, from_w), (to_h, to_w)) = (from, to);
    if data.is_empty() || data.len() != from_h * from_w * CHANNELS {
        let reason = format!("{} values do not make that many RGB pixels", data.len());
        return Err(ModelError::Image {
            width: from_w,
            height: from_h,
            reason,
        });
    }
    let (across, down) = (cubic_cv2(from_w, to_w), cubic_cv2(from_h, to_h));
    let row = to_w * CHANNELS;
    let mut wide = vec![0.0; from_h * row];
    let rows = wide
        .par_chunks_exact_mut(row)
        .zip(data.par_chunks_exact(from_w * CHANNELS));
    rows.for_each(|(out, line)| {
        for (pixel, (start, weights)) in out.chunks_exact_mut(CHANNELS).zip(across.iter()) {
            for (rgb, &w) in line[start * CHANNELS..].chunks_exact(CHANNELS).zip(weights) {
                for (sum, v) in pixel.iter_mut().zip(rgb) {
                    *sum += v * w;
                }
            }
        }
    });
    let mut out = vec![0.0; to_h * row];
    out.par_chunks_exact_mut(row).enumerate().for_each(|(y, line)| {
        let (start, weights) = down.get(y);
        for (values, &w) in wide[start * row..].chunks_exact(row).zip(weights) {
            for (sum, v) in line.iter_mut().zip(values) {
                *sum += v * w;
            }
        }
    });
    Ok(out)
}
