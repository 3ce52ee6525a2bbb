//! Element-wise activations in one pass: exact GELU, SiLU, ReLU.

mod cpu;
pub(crate) mod cuda;
pub(crate) mod reference;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::channels_last;
use crate::backend::Backend;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    #[default]
    Identity,
    /// `x Phi(x)` with the exact normal distribution (erf, not tanh); error below 1.6e-7 max(1, |x|).
    Gelu,
    /// `x / (1 + e^-x)`.
    Silu,
    Relu,
}

/// Applies `f` to every element of a tensor of any shape. The result lies in memory as `x` does, where that is dense.
///
/// # Errors
/// An element type other than f32, bf16 and f16.
pub fn activation(x: &Tensor, f: Activation) -> Result<Tensor> {
    match Backend::of(x.device(), false) {
        Backend::Kernel => channels_last::in_memory_order(x, |x| x.contiguous()?.apply_op1_no_bwd(&f)),
        Backend::Composed => cuda::composed(x, f),
    }
}

#[cfg(feature = "cuda")]
impl Activation {
    /// Its number in `cu/element.cuh`.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Identity => 0,
            Self::Gelu => 1,
            Self::Silu => 2,
            Self::Relu => 3,
        }
    }
}

impl CustomOp1 for Activation {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        cpu::forward(*self, x, layout)
    }
}
