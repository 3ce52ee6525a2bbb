//! `residual + f(x W^T + b)` in one pass over the output.

mod cpu;
mod cuda;
pub(crate) mod reference;
mod weight;

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};

use crate::Epilogue;
use crate::backend::Backend;
use crate::cpu::packed::PackedWeight;
use crate::cpu::tiles::weight::TiledWeight;
use weight::Form;
pub use weight::LinearWeight;

#[derive(Debug, Clone)]
pub(crate) struct Linear {
    /// Of the result.
    shape: Shape,
    /// in
    k: usize,
    epilogue: Epilogue,
}

/// The same with a weight that was laid out when it was loaded.
#[derive(Debug, Clone)]
pub(crate) struct ArrangedLinear<W> {
    op: Linear,
    weight: Arc<W>,
}

/// `x` (..., in) and `weight` (out, in) to (..., out); sums in f32 (on CUDA as cuBLAS does).
///
/// A residual with 1 as its first dimension is added to every entry of the batch.
///
/// # Errors
/// Shapes that do not fit, another element type than f32, bf16 or f16.
pub fn linear(x: &Tensor, weight: &LinearWeight, epilogue: Epilogue) -> Result<Tensor> {
    let op = Linear::new(x, weight, epilogue)?;
    match Backend::of(x.device(), false) {
        Backend::Kernel => {
            let op = Linear {
                epilogue: op.epilogue.dense(Tensor::contiguous)?,
                ..op
            };
            let x = x.contiguous()?;
            match &weight.form {
                Form::Plain(weight) => x.apply_op2_no_bwd(&weight.contiguous()?, &op),
                Form::Tiled(weight) => x.apply_op1_no_bwd(&ArrangedLinear {
                    op,
                    weight: weight.clone(),
                }),
                Form::Packed(weight) => x.apply_op1_no_bwd(&ArrangedLinear {
                    op,
                    weight: weight.clone(),
                }),
            }
        }
        Backend::Composed => match &weight.form {
            Form::Plain(weight) => cuda::composed(&op, x, weight),
            Form::Tiled(_) | Form::Packed(_) => {
                candle_core::bail!("linear: an input on a GPU against a weight on the CPU")
            }
        },
    }
}

impl Linear {
    fn new(x: &Tensor, weight: &LinearWeight, epilogue: Epilogue) -> Result<Self> {
        let (n, k) = weight.dims()?;
        let mut out = x.dims().to_vec();
        match out.last_mut() {
            Some(last) if *last == k => *last = n,
            _ => candle_core::bail!("linear: input {:?} against a weight of {n} x {k}", x.shape()),
        }
        epilogue.check("linear", &out, true)?;
        Ok(Self {
            shape: Shape::from(out),
            k,
            epilogue,
        })
    }
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
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
}

impl CustomOp1 for ArrangedLinear<TiledWeight> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        cpu::forward_tiled(&self.op, (x, xl), &self.weight)
    }
}

impl CustomOp1 for ArrangedLinear<PackedWeight> {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout) -> Result<(CpuStorage, Shape)> {
        cpu::forward_packed(&self.op, (x, xl), &self.weight)
    }
}
