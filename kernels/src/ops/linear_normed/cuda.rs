use candle_core::{CpuStorage, CudaStorage, CustomOp2, Layout, Result, Shape, Tensor};

use crate::backend::Backend;
use crate::cuda::launch::{self, Argument, Held, NORM, Queue, row_sums};

pub(super) fn takes(x: &Tensor, bias: Option<&Tensor>, residual: &Tensor, norm: &Tensor) -> bool {
    let alike = [Some(residual), Some(norm), bias].into_iter().flatten();
    let alike = alike.fold(true, |alike, t| alike && t.dtype() == x.dtype());
    Backend::has_cuda_kernels(x.device()) && alike && x.elem_count() > 0 && residual.elem_count() > 0
}

/// By `cu/norm.cu`.
pub(super) fn forward(
    product: &Tensor,
    bias: Option<&Tensor>,
    residual: &Tensor,
    (norm, eps): (&Tensor, f64),
) -> Result<(Tensor, Tensor)> {
    let n = product.dims().last().copied().unwrap_or(0);
    let narrow = norm.dims() != [n] || bias.is_some_and(|bias| bias.dims() != [n]);
    if narrow || residual.dims() != product.dims() {
        let (product, residual, norm) = (product.shape(), residual.shape(), norm.shape());
        candle_core::bail!("linear_normed: {product:?} onto {residual:?}, normed by {norm:?}")
    }
    let op = Normed {
        bias: bias.map(Tensor::contiguous).transpose()?,
        norm: norm.contiguous()?,
        eps: eps as f32,
    };
    let both = product.apply_op2_no_bwd(&residual.contiguous()?, &op)?;
    Ok((both.get(0)?, both.get(1)?))
}

struct Normed {
    bias: Option<Tensor>,
    norm: Tensor,
    eps: f32,
}

impl CustomOp2 for Normed {
    fn name(&self) -> &'static str {
        "linear_normed"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("the CPU's products have residuals inside")
    }

    /// The sum and its norm, one behind the other: (2, ...).
    fn cuda_fwd(
        &self,
        product: &CudaStorage,
        layout: &Layout,
        residual: &CudaStorage,
        of_residual: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let n = self.norm.elem_count();
        let rows = layout.shape().elem_count() / n;
        let queue = Queue::of(product);
        let mut out = queue.output(2 * rows * n)?;
        {
            let (from, onto) = (queue.reads(product, layout)?, queue.reads(residual, of_residual)?);
            let (bias, norm) = (self.bias.as_ref().map(Held::new), Held::new(&self.norm));
            let (bias, norm) = (launch::optional(bias.as_ref(), &queue)?, norm.operand(&queue)?);
            let to = queue.writes(&mut out)?;
            let arguments = [
                from.at(),
                launch::at(bias.as_ref()),
                onto.at(),
                norm.at(),
                to.at(),
                Argument::size(rows)?,
                Argument::size(n)?,
                Argument::Float(self.eps),
            ];
            queue.launch(&NORM, "onto_rms_norm", row_sums(rows, n), &arguments)?;
        }
        Ok((out, Shape::from([&[2], layout.dims()].concat())))
    }
}
