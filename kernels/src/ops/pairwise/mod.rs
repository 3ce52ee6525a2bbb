//! Element-wise functions of two tensors of one shape: residual sums and the inside of a SwiGLU.

mod cpu;
mod cuda;

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::channels_last;
use crate::backend::Backend;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Pairwise {
    Add,
    SiluMul,
}

/// `a + b`. Where both lie in memory alike, the result does too.
///
/// # Errors
/// Shapes that differ, and an element type other than f32, bf16 and f16.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    Pairwise::Add.apply(a, b)
}

/// `silu(gate) * up`, the inside of a SwiGLU.
///
/// # Errors
/// As [`add`].
pub fn silu_mul(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    Pairwise::SiluMul.apply(gate, up)
}

impl Pairwise {
    fn apply(self, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        if a.dims() != b.dims() {
            candle_core::bail!("{}: {:?} and {:?}", self.name(), a.shape(), b.shape())
        }
        if Backend::of(a.device(), false) == Backend::Composed {
            return cuda::composed(self, a, b);
        }
        match (channels_last::view(a)?, channels_last::view(b)?) {
            (Some(a), Some(b)) => channels_last::restore(&a.apply_op2_no_bwd(&b, &self)?),
            _ => a.contiguous()?.apply_op2_no_bwd(&b.contiguous()?, &self),
        }
    }
}

impl CustomOp2 for Pairwise {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::SiluMul => "silu_mul",
        }
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        cpu::forward(*self, (a, a_layout), (b, b_layout))
    }
}
