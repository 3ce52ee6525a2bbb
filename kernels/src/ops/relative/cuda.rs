use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use crate::cuda::launch::{Argument, Held, Queue, RELATIVE};

/// Of `cu/relative.cu`: a line of the grid and its table lie in shared memory.
const MOST_SIDE: usize = 64;
const MOST_WIDTH: usize = 80;

pub(super) fn takes(q: &Tensor, down: &Tensor, along: &Tensor) -> bool {
    let fits = down.dims()[0] <= MOST_SIDE && down.dims()[1] <= MOST_WIDTH && q.elem_count() > 0;
    let typed = matches!(q.dtype(), DType::F32 | DType::BF16 | DType::F16);
    fits && typed && down.dtype() == q.dtype() && along.dtype() == q.dtype()
}

/// Both directions in one launch.
pub(super) fn relative(q: &Tensor, down: &Tensor, along: &Tensor) -> Result<(Tensor, Tensor)> {
    let q = match q.stride().last() {
        Some(1) => q.clone(),
        _ => q.contiguous()?,
    };
    let both = q.apply_op1_no_bwd(&Relative {
        down: down.contiguous()?,
        along: along.contiguous()?,
    })?;
    Ok((both.get(0)?, both.get(1)?))
}

struct Relative {
    down: Tensor,
    along: Tensor,
}

impl CustomOp1 for Relative {
    fn name(&self) -> &'static str {
        "relative_positions"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("on the CPU these are candle's products")
    }

    fn cuda_fwd(&self, q: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (b, h, n, d) = layout.shape().dims4()?;
        let side = self.down.dims()[0];
        let queue = Queue::of(q);
        let mut out = queue.output(2 * b * h * n * side)?;
        let (down, along) = (Held::new(&self.down), Held::new(&self.along));
        {
            let (down, along) = (down.operand(&queue)?, along.operand(&queue)?);
            let from = queue.reads_from(q, layout.start_offset())?;
            let to = queue.writes(&mut out)?;
            let stride = |i: usize| Argument::Long(layout.stride()[i] as i64);
            let arguments = [
                from.at(),
                down.at(),
                along.at(),
                to.at(),
                stride(0),
                stride(1),
                stride(2),
                Argument::size(b * h)?,
                Argument::size(h)?,
                Argument::size(side)?,
                Argument::size(d)?,
            ];
            let lines = u32::try_from(b * h * side).map_err(candle_core::Error::wrap)?;
            queue.launch(&RELATIVE, "relative", ((lines, 2), (256, 1)), &arguments)?;
        }
        Ok((out, Shape::from((2, b, h, n, side))))
    }
}
