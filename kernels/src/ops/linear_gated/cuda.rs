use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Result, Shape, Tensor};

use crate::cuda::launch::{self, Argument, ELEMENTWISE, Held, Queue, tiles};
use crate::ops::pairwise::silu_mul;

/// Of what the joined weight made, (..., 2 inner), by `cu/elementwise.cu`.
pub(super) fn forward(product: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    if product.elem_count() == 0 || bias.is_some_and(|bias| bias.dtype() != product.dtype()) {
        let product = match bias {
            Some(bias) => product.broadcast_add(bias)?,
            None => product.clone(),
        };
        let parts = product.chunk(2, product.rank() - 1)?;
        return silu_mul(&parts[0], &parts[1]);
    }
    product.apply_op1_no_bwd(&Gated(bias.cloned()))
}

struct Gated(Option<Tensor>);

impl CustomOp1 for Gated {
    fn name(&self) -> &'static str {
        "linear_gated"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("the CPU keeps gate and up apart")
    }

    fn cuda_fwd(&self, product: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let mut shape = layout.dims().to_vec();
        let inner = shape.last().map_or(0, |both| both / 2);
        if let Some(last) = shape.last_mut() {
            *last = inner;
        }
        let rows = layout.shape().elem_count() / (2 * inner);
        let queue = Queue::of(product);
        let mut out = queue.output(rows * inner)?;
        {
            let (from, to) = (queue.reads(product, layout)?, queue.writes(&mut out)?);
            let bias = self.0.as_ref().map(Held::new);
            let bias = launch::optional(bias.as_ref(), &queue)?;
            let arguments = [
                from.at(),
                launch::at(bias.as_ref()),
                to.at(),
                Argument::size(rows)?,
                Argument::size(inner)?,
            ];
            queue.launch(&ELEMENTWISE, "gated", tiles(inner, rows), &arguments)?;
        }
        Ok((out, Shape::from(shape)))
    }
}
