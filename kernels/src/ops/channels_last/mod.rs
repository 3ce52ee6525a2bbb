//! Image features that are (B, C, H, W) by their dimensions and (B, H, W, C) in memory, or the other way round.
//!
//! Convolutions, norms over channels and tokens all want the channels of a pixel side by side; keeping them so by
//! strides saves the transposes, as PyTorch's `memory_format=channels_last` does.

mod cpu;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::backend::Backend;

#[derive(Debug, Clone, Copy)]
struct ToChannelsLast;

/// (B, C, H, W) to a contiguous (B, H, W, C).
///
/// # Errors
/// An element type other than f32, bf16 and f16.
pub fn to_channels_last(x: &Tensor) -> Result<Tensor> {
    match Backend::of(x.device(), false) {
        Backend::Kernel => x.contiguous()?.apply_op1_no_bwd(&ToChannelsLast),
        Backend::Composed => x.permute((0, 2, 3, 1))?.contiguous(),
    }
}

impl CustomOp1 for ToChannelsLast {
    fn name(&self) -> &'static str {
        "to_channels_last"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        cpu::forward(x, layout)
    }
}

/// A contiguous form of (B, H, W, C), whichever way it lies in memory.
pub(super) fn dense(x: &Tensor) -> Result<Tensor> {
    if x.is_contiguous() {
        return Ok(x.clone());
    }
    let planes = x.permute((0, 3, 1, 2))?;
    match planes.is_contiguous() {
        true => to_channels_last(&planes),
        false => x.contiguous(),
    }
}

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
pub(super) fn in_memory_order(x: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    match view(x)? {
        Some(nhwc) => restore(&f(&nhwc)?),
        None => f(x),
    }
}
