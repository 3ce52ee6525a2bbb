use candle_core::{CudaStorage, DType, Layout, Result, Shape};

use super::Rotary;
use crate::cuda::launch::{Argument, Held, Queue, ROTARY, tiles};

/// By `cu/rotary.cu`, in one launch.
pub(super) fn forward(op: &Rotary, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let (b, h, n, d) = layout.shape().dims4()?;
    let (queue, tables) = (Queue::of(x), Queue::of(x).with_type(op.cos.dtype()));
    let mut out = queue.output(b * h * n * d)?;
    let (cos, sin) = (Held::new(&op.cos), Held::new(&op.sin));
    {
        let (cos, sin) = (cos.operand(&tables)?, sin.operand(&tables)?);
        let from = queue.reads_from(x, layout.start_offset())?;
        let to = queue.writes(&mut out)?;
        let stride = |i: usize| Argument::Long(layout.stride()[i] as i64);
        let of_batch = if op.cos.rank() == 3 { n * d / 2 } else { 0 };
        let kernel = match op.cos.dtype() {
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
