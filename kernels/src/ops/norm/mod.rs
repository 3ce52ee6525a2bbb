//! Layer norm and RMS norm over the last dimension, statistics in f32.

mod cpu;
mod cuda;
pub(crate) mod reference;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use crate::backend::Backend;

#[derive(Debug, Clone)]
pub(crate) enum Norm {
    /// `(x - mean) / sqrt(var + eps) * weight + bias`
    Layer { bias: Tensor, eps: f64 },
    /// `x / sqrt(mean(x^2) + eps) * weight`
    Rms { eps: f64 },
}

/// `x` (..., n), `weight` and `bias` (n): zero mean and unit (biased) variance per row, then scaled and shifted.
///
/// # Errors
/// Shapes that do not fit, another element type than f32, bf16 or f16.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    if bias.dims() != weight.dims() {
        candle_core::bail!(
            "layer_norm: a bias of {:?} for a weight of {:?}",
            bias.shape(),
            weight.shape()
        )
    }
    let bias = bias.contiguous()?;
    Norm::Layer { bias, eps }.apply(x, weight)
}

/// `x` (..., n), `weight` (n): unit mean square per row, then scaled. In bf16 and f16 the normalised value is rounded
/// to the element type before it meets the weight, as Qwen2 does.
///
/// # Errors
/// As [`layer_norm`].
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    Norm::Rms { eps }.apply(x, weight)
}

impl Norm {
    fn apply(&self, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
        let n = weight.dims1()?;
        if x.dims().last() != Some(&n) {
            candle_core::bail!("{}: input {:?} against a weight of {n}", self.name(), x.shape())
        }
        let bias = match self {
            Self::Layer { bias, .. } => bias,
            Self::Rms { .. } => weight,
        };
        let alike = weight.dtype() == x.dtype() && bias.dtype() == x.dtype();
        match Backend::of(x.device(), alike && x.elem_count() > 0) {
            Backend::Kernel => x.contiguous()?.apply_op2_no_bwd(&weight.contiguous()?, self),
            Backend::Composed => cuda::composed(self, x, weight),
        }
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        match self {
            Self::Layer { .. } => "layer_norm",
            Self::Rms { .. } => "rms_norm",
        }
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
