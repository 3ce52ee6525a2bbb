#[cfg(feature = "cuda")]
use candle_core::{CpuStorage, CudaStorage, CustomOp1, Layout, Shape};
use candle_core::{Result, Tensor};

use super::Conv2d;
#[cfg(feature = "cuda")]
use super::{Geometry, channels_last};
use crate::cuda::compose;
#[cfg(feature = "cuda")]
use crate::cuda::launch::{CONVOLUTION, Queue, tiles};

/// By candle's own convolution, on planes; `weight` (out, in / groups, kh, kw). Also what convolutions of several
/// groups run on the CPU.
pub(super) fn composed(op: &Conv2d, x: &Tensor, weight: &Tensor, groups: usize) -> Result<Tensor> {
    let planes = x.permute((0, 3, 1, 2))?.contiguous()?;
    let y = planes.conv2d(weight, op.geometry.padding, op.geometry.stride, 1, groups)?;
    compose::planes(y, &op.epilogue)?.permute((0, 2, 3, 1))
}

/// The windows of all output pixels as rows (`cu/convolution.cu`), one product and its epilogue; `weight` (out, kh, kw, in).
#[cfg(feature = "cuda")]
pub(super) fn by_patches(op: &Conv2d, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let g = &op.geometry;
    let (out, length) = (weight.dim(0)?, g.kh * g.kw * g.channels);
    let rows = g.batch * g.out_height * g.out_width;
    let x = channels_last::dense(x)?;
    let pixel_wise = (g.kh, g.kw, g.stride, g.padding) == (1, 1, 1, 0);
    let patches = match pixel_wise {
        true => x.reshape((rows, length))?,
        false => x.apply_op1_no_bwd(&Patches(*g))?,
    };
    let y = patches.matmul(&weight.reshape((out, length))?.t()?)?;
    compose::rows(y.reshape(g.out_shape(out))?, &op.epilogue)
}

#[cfg(feature = "cuda")]
struct Patches(Geometry);

#[cfg(feature = "cuda")]
impl CustomOp1 for Patches {
    fn name(&self) -> &'static str {
        "patches"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("the CPU's convolution reads its windows where they lie")
    }

    fn cuda_fwd(&self, x: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let g = &self.0;
        let queue = Queue::of(x);
        let (rows, length) = (g.batch * g.out_height * g.out_width, g.kh * g.kw * g.channels);
        let mut out = queue.output(rows * length)?;
        {
            let (x, patches) = (queue.reads(x, layout)?, queue.writes(&mut out)?);
            let mut arguments = vec![x.at(), patches.at()];
            arguments.extend(g.arguments()?);
            queue.launch(&CONVOLUTION, "patches", tiles(length, rows), &arguments)?;
        }
        Ok((out, Shape::from((rows, length))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{channels_last, products_close, random};
    use crate::{Activation, ConvWeight, Epilogue, conv2d};

    #[test]
    fn agrees_with_the_cpu_kernel_in_either_memory_order() {
        let planes = random((2, 12, 9, 11));
        for (groups, stride, padding, kernel) in [
            (1, 1, 1, 3),
            (1, 2, 1, 3),
            (1, 1, 0, 1),
            (3, 1, 1, 3),
            (1, 3, 0, 3),
        ] {
            let weight = random((24, 12 / groups, kernel, kernel));
            let arranged = ConvWeight::new(&weight, groups).unwrap();
            for x in [&planes, &channels_last(&planes)] {
                let x = x.permute((0, 2, 3, 1)).unwrap();
                let plain = conv2d(&x, &arranged, stride, padding, Epilogue::default()).unwrap();
                let epilogue = Epilogue {
                    bias: Some(random(24)),
                    activation: Activation::Relu,
                    residual: Some(random(plain.shape())),
                };
                let fused = conv2d(&x, &arranged, stride, padding, epilogue.clone()).unwrap();
                let kernel = (kernel, kernel);
                let geometry = super::super::Geometry::new(&x, kernel, stride, padding).unwrap();
                let op = Conv2d { geometry, epilogue };
                products_close(&fused, &composed(&op, &x, &weight, groups).unwrap());
            }
        }
    }
}
