use candle_core::{DType, Result, Tensor};

#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, Layout, Shape};

use super::Bilinear;
#[cfg(feature = "cuda")]
use crate::cuda::launch::{Argument, Queue, UPSAMPLE, tiles};

/// Out of candle's own ops, on planes and in f32.
pub(super) fn composed(op: Bilinear, x: &Tensor) -> Result<Tensor> {
    let planes = x.permute((0, 3, 1, 2))?.to_dtype(DType::F32)?.contiguous()?;
    planes
        .upsample_bilinear2d(op.height, op.width, op.align_corners)?
        .to_dtype(x.dtype())?
        .permute((0, 2, 3, 1))
}

/// By `cu/upsample.cu`.
#[cfg(feature = "cuda")]
pub(super) fn forward(op: Bilinear, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
    let queue = Queue::of(x);
    let (b, h, w, c) = layout.shape().dims4()?;
    let shape = Shape::from((b, op.height, op.width, c));
    let mut out = queue.output(shape.elem_count())?;
    {
        let (x, y) = (queue.reads(x, layout)?, queue.writes(&mut out)?);
        let pixels = b * op.height * op.width;
        Argument::size(pixels)?;
        let mut arguments = vec![x.at(), y.at()];
        for n in [b, h, w, c, op.height, op.width, usize::from(op.align_corners)] {
            arguments.push(Argument::size(n)?);
        }
        queue.launch(&UPSAMPLE, "upsample", tiles(c, pixels), &arguments)?;
    }
    Ok((out, shape))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{channels_last, close, random};
    use crate::upsample_bilinear;

    #[test]
    fn agrees_with_the_cpu_kernel_in_either_memory_order() {
        let planes = random((2, 3, 7, 5));
        for align_corners in [false, true] {
            let op = Bilinear {
                height: 13,
                width: 21,
                align_corners,
            };
            for x in [&planes, &channels_last(&planes)] {
                let x = x.permute((0, 2, 3, 1)).unwrap();
                let y = upsample_bilinear(&x, 13, 21, align_corners).unwrap();
                close(&y, &composed(op, &x).unwrap(), 2e-6);
            }
        }
    }
}
