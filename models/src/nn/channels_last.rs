//! Image features that are (B, C, H, W) by their dimensions and (B, H, W, C) in memory.
//!
//! Convolutions, norms over channels and tokens all want the channels of a pixel side by side; keeping them so by
//! strides saves the transposes, as PyTorch's `memory_format=channels_last` does.

use candle_core::{Result, Tensor};

/// The contiguous (B, H, W, C) tensor behind a (B, C, H, W) view, if that is how it lies in memory.
pub(super) fn view(x: &Tensor) -> Result<Option<Tensor>> {
    if x.rank() != 4 || x.is_contiguous() {
        return Ok(None);
    }
    let nhwc = x.permute((0, 2, 3, 1))?;
    Ok(nhwc.is_contiguous().then_some(nhwc))
}

/// The (B, C, H, W) view of a (B, H, W, C) tensor.
pub(super) fn restore(nhwc: &Tensor) -> Result<Tensor> {
    nhwc.permute((0, 3, 1, 2))
}

/// Applies an element-wise function without changing how the tensor lies in memory.
pub(super) fn keeping(x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    match view(x)? {
        Some(nhwc) => restore(&f(&nhwc)?),
        None => f(x),
    }
}

/// A contiguous (B, H, W, C) tensor of a (B, C, H, W) one, whichever way it lies in memory; on the CPU.
pub(super) fn convert(x: &Tensor) -> Result<Tensor> {
    let nhwc = x.permute((0, 2, 3, 1))?;
    if nhwc.is_contiguous() {
        return Ok(nhwc);
    }
    if x.is_contiguous() {
        return dragunov_kernels::to_channels_last(x);
    }
    nhwc.contiguous()
}
