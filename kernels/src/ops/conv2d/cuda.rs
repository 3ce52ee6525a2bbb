#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, DType, Layout, Shape};
use candle_core::{Result, Tensor};

use super::Conv2d;
#[cfg(feature = "cuda")]
use super::channels_last;
use crate::cuda::compose;
#[cfg(feature = "cuda")]
use crate::cuda::implicit::Implicit;
#[cfg(feature = "cuda")]
use crate::tf32;

/// By candle's own convolution, on planes; `weight` (out, in / groups, kh, kw). Also what convolutions of several
/// groups run on the CPU.
pub(super) fn composed(op: &Conv2d, x: &Tensor, weight: &Tensor, groups: usize) -> Result<Tensor> {
    let planes = x.permute((0, 3, 1, 2))?.contiguous()?;
    let y = planes.conv2d(weight, op.geometry.padding, op.geometry.stride, 1, groups)?;
    compose::planes(y, &op.epilogue)?.permute((0, 2, 3, 1))
}

/// Bytes of a pixel up to which a convolution of single pixels with something behind it is a kernel of ours. To read and write the
/// result once more costs more than what cuBLAS is better at: if it reaches 85 % of the peak and ours 60, by the roofline of an A100
/// up to 620 channels of 16 bits and 80 of f32, of other GPUs two to ten times as many.
#[cfg(feature = "cuda")]
const FEW_BYTES: usize = 1024;

/// By one launch of ours, or by cuBLAS and the epilogue of all products; `weight` (out, kh, kw, in).
///
/// # Errors
/// No element in or out, operands of several element types or devices.
#[cfg(feature = "cuda")]
pub(super) fn convolved(op: Conv2d, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let g = op.geometry;
    let (x, outputs) = (channels_last::dense(x)?, weight.dim(0)?);
    let shape = g.out_shape(outputs);
    if shape.elem_count() == 0 || x.elem_count() == 0 {
        candle_core::bail!(
            "conv2d: {:?} to {shape:?}: a GPU holds no tensor without elements",
            x.shape()
        )
    }
    let pixel_wise = (g.kh, g.kw, g.stride, g.padding) == (1, 1, 1, 0);
    // cuBLAS multiplies f32 as f32.
    let quicker = !(x.dtype() == DType::F32 && tf32::is_allowed());
    let by_cublas = outputs < 16
        || quicker && (op.epilogue.is_empty() || g.channels * x.dtype().size_in_bytes() > FEW_BYTES);
    if pixel_wise && by_cublas {
        let weight = weight.reshape((outputs, g.channels))?;
        let y = x.reshape(((), g.channels))?.matmul(&weight.t()?)?;
        return compose::rows(y.reshape(shape)?, &op.epilogue);
    }
    let epilogue = op.epilogue.fitting(x.dtype())?;
    x.apply_op2_no_bwd(weight, &Conv2d { epilogue, ..op })
}

/// By `cu/convolution.cu`.
#[cfg(feature = "cuda")]
pub(super) fn forward(
    op: &Conv2d,
    x: (&CudaStorage, &Layout),
    weight: (&CudaStorage, &Layout),
) -> Result<(CudaStorage, Shape)> {
    let product = Implicit {
        geometry: &op.geometry,
        outputs: weight.1.shape().dims4()?.0,
        cell: (1, 1),
        epilogue: &op.epilogue,
    };
    product.forward(x, weight)
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
