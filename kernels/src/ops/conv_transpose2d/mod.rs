//! Transposed convolution whose stride equals its kernel: every input pixel owns a kh x kw patch of the output.

mod cpu;
mod cuda;
pub(crate) mod reference;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::activation::Activation;
use super::channels_last;
use crate::backend::Backend;

#[derive(Debug, Clone)]
pub(crate) struct ConvTranspose2d {
    bias: Option<Tensor>,
    activation: Activation,
}

/// `f(conv(x) + bias)`: `x` (B, H, W, in), in any memory order, `weight` (kh, kw, out, in) and `bias` (out) to
/// (B, H kh, W kw, out).
///
/// # Errors
/// Shapes that do not fit, another element type than f32, bf16 or f16.
pub fn conv_transpose2d(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
) -> Result<Tensor> {
    let (_, _, _, k) = x.dims4()?;
    let (_, _, n, wk) = weight.dims4()?;
    if wk != k || bias.is_some_and(|b| b.dims() != [n]) {
        candle_core::bail!(
            "conv_transpose2d: input {:?}, weight {:?}, bias {:?}",
            x.shape(),
            weight.shape(),
            bias.map(Tensor::shape)
        )
    }
    let op = ConvTranspose2d {
        bias: bias.map(Tensor::contiguous).transpose()?,
        activation,
    };
    let alike = [Some(weight), op.bias.as_ref()]
        .into_iter()
        .flatten()
        .all(|t| t.dtype() == x.dtype());
    let empty = x.elem_count() == 0 || weight.elem_count() == 0;
    match Backend::of(x.device(), alike && !empty) {
        Backend::Kernel => channels_last::dense(x)?.apply_op2_no_bwd(&weight.contiguous()?, &op),
        Backend::Composed => cuda::composed(op, x, weight),
    }
}

impl CustomOp2 for ConvTranspose2d {
    fn name(&self) -> &'static str {
        "conv_transpose2d"
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
