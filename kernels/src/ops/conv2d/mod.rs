//! 2-D convolutions on (B, H, W, C): the channels of a pixel, and of a row of neighbours, lie side by side.

mod cpu;
mod cuda;
pub(crate) mod geometry;
pub(crate) mod reference;
mod weight;
mod windows;

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use super::{channels_last, depthwise};
use crate::Epilogue;
#[cfg(feature = "cuda")]
use crate::backend::Backend;
use crate::cpu::packed::PackedWeight;
use crate::cpu::tiles::weight::TiledWeight;
use geometry::Geometry;
use weight::Arranged;
pub use weight::ConvWeight;

#[derive(Debug, Clone)]
pub(crate) struct Conv2d {
    geometry: Geometry,
    epilogue: Epilogue,
}

/// The same with a weight that was laid out when it was loaded.
#[derive(Debug, Clone)]
pub(crate) struct ArrangedConv2d<W> {
    op: Conv2d,
    weight: Arc<W>,
}

/// Cross-correlation with zero padding on all sides: `x` (B, H, W, in), in any memory order, to (B, H', W', out); bias
/// (out) and a residual of the result's shape through `epilogue`.
///
/// # Errors
/// Shapes that do not fit, another element type than f32, bf16 or f16.
pub fn conv2d(
    x: &Tensor,
    weight: &ConvWeight,
    stride: usize,
    padding: usize,
    epilogue: Epilogue,
) -> Result<Tensor> {
    let geometry = Geometry::new(x, weight.kernel(), stride, padding)?;
    if geometry.channels != weight.in_channels() {
        candle_core::bail!("conv2d: input {:?} against a weight {weight:?}", x.shape())
    }
    let out = geometry.out_shape(weight.out_channels());
    epilogue.check("conv2d", out.dims(), false)?;
    let op = Conv2d { geometry, epilogue };
    match weight.arranged() {
        #[cfg(feature = "cuda")]
        Arranged::ChannelsLast(w) if Backend::has_cuda_kernels(x.device()) => cuda::convolved(op, x, w),
        Arranged::ChannelsLast(w) => channels_last::dense(x)?.apply_op2_no_bwd(w, &op.dense()?),
        Arranged::Tiled(w) => channels_last::dense(x)?.apply_op1_no_bwd(&ArrangedConv2d {
            op: op.dense()?,
            weight: w.clone(),
        }),
        Arranged::Packed(w) => channels_last::dense(x)?.apply_op1_no_bwd(&ArrangedConv2d {
            op: op.dense()?,
            weight: w.clone(),
        }),
        Arranged::Depthwise(w) => depthwise::depthwise(x, w, op.geometry, op.epilogue),
        Arranged::Planes(w) => cuda::composed(&op, x, w, weight.groups()),
    }
}

impl Conv2d {
    /// With operands that kernels can read as slices.
    fn dense(self) -> Result<Self> {
        Ok(Self {
            epilogue: self.epilogue.dense(channels_last::dense)?,
            ..self
        })
    }
}

impl CustomOp2 for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        cpu::forward(self, (x, xl), (w, wl))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        xl: &Layout,
        w: &candle_core::CudaStorage,
        wl: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        cuda::forward(self, (x, xl), (w, wl))
    }
}

impl CustomOp1 for ArrangedConv2d<TiledWeight> {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        cpu::forward_tiled(&self.op, (x, xl), &self.weight)
    }
}

impl CustomOp1 for ArrangedConv2d<PackedWeight> {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        cpu::forward_packed(&self.op, (x, xl), &self.weight)
    }
}
