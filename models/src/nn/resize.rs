//! Resampling of feature maps.

use candle_core::{DType, Result, Tensor};
use dragunov_kernels as kernels;

use super::channels_last;

/// `torch.nn.functional.interpolate(x, (h, w), mode="bilinear")` without antialiasing: (B, C, H, W) to (B, C, h, w).
pub fn upsample_bilinear(x: &Tensor, h: usize, w: usize, align_corners: bool) -> Result<Tensor> {
    if h == 0 || w == 0 {
        candle_core::bail!("upsample_bilinear: target of {h} x {w} pixels")
    }
    if !x.device().is_cpu() {
        let y = x.to_dtype(DType::F32)?.contiguous()?;
        return y.upsample_bilinear2d(h, w, align_corners)?.to_dtype(x.dtype());
    }
    match channels_last::view(x)? {
        Some(nhwc) => channels_last::restore(&kernels::upsample_bilinear(&nhwc, h, w, align_corners)?),
        None => {
            // Planes are images of one channel.
            let (b, c, height, width) = x.dims4()?;
            let planes = x.reshape((b * c, height, width, 1))?;
            kernels::upsample_bilinear(&planes, h, w, align_corners)?.reshape((b, c, h, w))
        }
    }
}
