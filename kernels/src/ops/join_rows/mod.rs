//! Tensors one after the other, on all cores.

mod cpu;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::activation::{Activation, activation};
use crate::backend::Backend;

/// The parts, one after the other along the first dimension, each element after `f`: what a chain of layers that was computed in pieces
/// gives as a whole.
///
/// # Errors
/// No parts, parts whose other dimensions or element types differ, another element type than f32, bf16 or f16.
pub fn join_rows(parts: &[Tensor], f: Activation) -> Result<Tensor> {
    let Some(first) = parts.first() else {
        candle_core::bail!("join_rows: no parts")
    };
    let alike = |t: &&Tensor| t.dims().get(1..) == first.dims().get(1..) && t.dtype() == first.dtype();
    if first.rank() == 0 || !parts.iter().all(|t| alike(&t)) {
        candle_core::bail!("join_rows: {:?} and others that do not fit", first.shape())
    }
    if Backend::of(first.device(), false) == Backend::Composed {
        return activation(&Tensor::cat(parts, 0)?, f);
    }
    let parts = parts.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
    parts[0].apply_op1_no_bwd(&JoinRows { parts: &parts, f })
}

/// Of contiguous parts, of which the first is the op's operand.
struct JoinRows<'a> {
    parts: &'a [Tensor],
    f: Activation,
}

impl CustomOp1 for JoinRows<'_> {
    fn name(&self) -> &'static str {
        "join_rows"
    }

    fn cpu_fwd(&self, x: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        cpu::forward(self, x)
    }
}
