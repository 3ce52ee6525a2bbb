//! Resampling of feature maps.

use candle_core::{DType, Result, Tensor};

/// `torch.nn.functional.interpolate(x, (h, w), mode="bilinear")` without antialiasing: (B, C, H, W) to (B, C, h, w).
pub fn upsample_bilinear(x: &Tensor, h: usize, w: usize, align_corners: bool) -> Result<Tensor> {
    if h == 0 || w == 0 {
        candle_core::bail!("upsample_bilinear: target of {h} x {w} pixels")
    }
    let y = x.to_dtype(DType::F32)?.contiguous()?;
    y.upsample_bilinear2d(h, w, align_corners)?.to_dtype(x.dtype())
}
