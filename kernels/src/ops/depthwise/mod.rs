//! Depthwise convolution on (B, H, W, C): every channel with its own kernel.

mod cpu;
mod cuda;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::channels_last;
use super::conv2d::geometry::Geometry;
use crate::Epilogue;
use crate::backend::Backend;

#[derive(Debug, Clone)]
pub(super) struct Depthwise {
    geometry: Geometry,
    epilogue: Epilogue,
}

/// The part of [`super::conv2d::conv2d`] with as many groups as channels, which has checked its operands: `x` (B, H, W,
/// C) and `weight` (kh, kw, C).
///
/// # Errors
/// Another element type than f32, bf16 or f16.
pub(super) fn depthwise(
    x: &Tensor,
    weight: &Tensor,
    geometry: Geometry,
    epilogue: Epilogue,
) -> Result<Tensor> {
    let op = Depthwise { geometry, epilogue };
    let alike = [
        Some(weight),
        op.epilogue.bias.as_ref(),
        op.epilogue.residual.as_ref(),
    ]
    .iter()
    .flatten()
    .all(|t| t.dtype() == x.dtype());
    match Backend::of(x.device(), alike && x.elem_count() > 0) {
        Backend::Kernel => {
            let op = Depthwise {
                epilogue: op.epilogue.dense(channels_last::dense)?,
                ..op
            };
            channels_last::dense(x)?.apply_op2_no_bwd(weight, &op)
        }
        Backend::Composed => cuda::composed(&op, x, weight),
    }
}

impl CustomOp2 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise"
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
