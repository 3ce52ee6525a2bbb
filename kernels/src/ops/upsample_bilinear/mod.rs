//! Bilinear resampling without antialiasing.

mod cpu;
pub(crate) mod cuda;
pub(crate) mod reference;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::backend::Backend;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Bilinear {
    height: usize,
    width: usize,
    align_corners: bool,
}

/// PyTorch's `interpolate(mode="bilinear")` without antialiasing: (B, H, W, C) to (B, height, width, C). The result
/// lies in memory as `x` does, channels or planes together.
///
/// # Errors
/// Sizes of 0, an element type other than f32, bf16 and f16.
pub fn upsample_bilinear(x: &Tensor, height: usize, width: usize, align_corners: bool) -> Result<Tensor> {
    let (b, h, w, c) = x.dims4()?;
    if h == 0 || w == 0 || height == 0 || width == 0 {
        candle_core::bail!("upsample_bilinear: {h} x {w} to {height} x {width} pixels")
    }
    let op = Bilinear {
        height,
        width,
        align_corners,
    };
    match Backend::of(x.device(), x.elem_count() > 0) {
        Backend::Kernel if x.is_contiguous() => x.apply_op1_no_bwd(&op),
        Backend::Kernel => {
            // Planes are images of one channel.
            let planes = x.permute((0, 3, 1, 2))?.reshape((b * c, h, w, 1))?;
            let planes = planes.apply_op1_no_bwd(&op)?;
            planes.reshape((b, c, height, width))?.permute((0, 2, 3, 1))
        }
        Backend::Composed => cuda::composed(op, x),
    }
}

impl CustomOp1 for Bilinear {
    fn name(&self) -> &'static str {
        "upsample_bilinear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        cpu::forward(*self, x, layout)
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &candle_core::CudaStorage,
        layout: &Layout,
    ) -> Result<(candle_core::CudaStorage, Shape)> {
        cuda::forward(*self, x, layout)
    }
}
