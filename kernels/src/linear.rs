//! `residual + f(x W^T + b)` in one pass over the output.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use crate::after::After;
use crate::matmul::{Dims, matmul_nt};
use crate::storage::{F32Input, same_type};

/// `x` (..., in) and `weight` (out, in) to (..., out), all contiguous and of one element type; sums in f32.
///
/// A residual with 1 as its first dimension is added to every entry of the batch.
///
/// # Errors
/// Shapes that do not fit, another device than the CPU, another element type than f32, bf16 or f16.
pub fn linear(x: &Tensor, weight: &Tensor, after: &After) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(&weight.contiguous()?, after)
}

impl CustomOp2 for After {
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
        let (n, k) = wl.shape().dims2()?;
        let mut shape = xl.dims().to_vec();
        match shape.last_mut() {
            Some(last) if *last == k => *last = n,
            _ => candle_core::bail!("linear: input {:?} against a weight of {n} x {k}", xl.shape()),
        }
        let shape = Shape::from(shape);
        let m: usize = shape.dims()[..shape.rank() - 1].iter().product();
        let (a, w) = (F32Input::contiguous(x, xl)?, F32Input::contiguous(w, wl)?);
        let mut out = vec![0f32; m * n];
        let part = self.one_for_all(&shape);
        self.read(&part, |epilogue| {
            let rows = part.elem_count() / n.max(1);
            for (i, out) in out.chunks_mut((rows * n).max(1)).enumerate() {
                let a = &a[i * rows * k..(i + 1) * rows * k];
                matmul_nt(Dims { m: rows, n, k }, a, &w, epilogue, out);
            }
        })?;
        Ok((same_type(x, out)?, shape))
    }
}
