use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use crate::cuda::launch::{Argument, Held, Queue, ROTARY, tiles};

pub(super) fn takes(x: &Tensor) -> bool {
    matches!(x.dtype(), DType::F32 | DType::BF16 | DType::F16) && x.elem_count() > 0
}

/// By `cu/rotary.cu`, in one launch.
pub(super) fn rotary(x: &Tensor, cos: &Tensor, sin: &Tensor) -> Result<Tensor> {
    let x = match x.stride().last() {
        Some(1) => x.clone(),
        _ => x.contiguous()?,
    };
    x.apply_op1_no_bwd(&Rotary {
        cos: cos.contiguous()?,
        sin: sin.contiguous()?,
    })
}

struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

impl CustomOp1 for Rotary {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("the CPU has a kernel of its own")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (b, h, n, d) = layout.shape().dims4()?;
        let (queue, tables) = (Queue::of(x), Queue::of(x).with_type(self.cos.dtype()));
        let mut out = queue.output(b * h * n * d)?;
        let (cos, sin) = (Held::new(&self.cos), Held::new(&self.sin));
        {
            let (cos, sin) = (cos.operand(&tables)?, sin.operand(&tables)?);
            let from = queue.reads_from(x, layout.start_offset())?;
            let to = queue.writes(&mut out)?;
            let stride = |i: usize| Argument::Long(layout.stride()[i] as i64);
            let of_batch = if self.cos.rank() == 3 { n * d / 2 } else { 0 };
            let kernel = match self.cos.dtype() {
                DType::F32 => "rotate_wide",
                _ => "rotate",
            };
            let arguments = [
                from.at(),
                to.at(),
                cos.at(),
                sin.at(),
                stride(0),
                stride(1),
                stride(2),
                Argument::Long(of_batch as i64),
                Argument::size(b * h * n)?,
                Argument::size(h)?,
                Argument::size(n)?,
                Argument::size(d / 2)?,
            ];
            queue.launch(&ROTARY, kernel, tiles(d / 2, b * h * n), &arguments)?;
        }
        Ok((out, layout.shape().clone()))
    }
}
