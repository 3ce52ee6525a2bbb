//! `residual + f(x W^T + b)` in one pass over the output.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use crate::activation::Activation;
use crate::block::Epilogue;
use crate::matmul::{Dims, matmul_nt};
use crate::storage::{F32Input, TensorInput, same_type};

/// What follows the product.
#[derive(Debug, Clone, Default)]
pub struct After {
    /// (out)
    pub bias: Option<Tensor>,
    pub activation: Activation,
    /// Added last; the shape of the result.
    pub residual: Option<Tensor>,
}

/// `x` (..., in) and `weight` (out, in) to (..., out), all contiguous and of one element type; sums in f32.
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
        let bias = self
            .bias
            .as_ref()
            .map(|b| TensorInput::new(b, &[n]))
            .transpose()?;
        let residual = self.residual.as_ref();
        let residual = residual.map(|r| TensorInput::new(r, shape.dims())).transpose()?;
        let (a, w) = (F32Input::contiguous(x, xl)?, F32Input::contiguous(w, wl)?);
        let mut out = vec![0f32; m * n];
        let bias = bias.as_ref().map(TensorInput::view).transpose()?;
        let residual = residual.as_ref().map(TensorInput::view).transpose()?;
        let epilogue = Epilogue {
            bias: bias.as_deref(),
            activation: self.activation,
            residual: residual.as_deref(),
        };
        matmul_nt(Dims { m, n, k }, &a, &w, epilogue, &mut out);
        Ok((same_type(x, out)?, shape))
    }
}
