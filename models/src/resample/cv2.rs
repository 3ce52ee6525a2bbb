//! `cv2.resize` with `INTER_CUBIC` on float64 pictures.

use dragunov_kernels::resize_floats;

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
    check_target(to.1, to.0)?;
    let ((from_h, from_w), (to_h, to_w)) = (from, to);
    if data.is_empty() || data.len() != from_h * from_w * 3 {
        let reason = format!("{} values do not make that many RGB pixels", data.len());
        return Err(ModelError::Image {
            width: from_w,
            height: from_h,
            reason,
        });
    }
    let (across, down) = (cubic_cv2(from_w, to_w), cubic_cv2(from_h, to_h));
    Ok(resize_floats(data, (from_w, from_h), (&across, &down))?)
}
