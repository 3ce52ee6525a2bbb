#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, Layout, Shape};
use candle_core::{Result, Tensor};

use super::ConvTranspose2d;
use crate::Epilogue;
use crate::cuda::compose;
#[cfg(feature = "cuda")]
use crate::cuda::implicit::Implicit;
#[cfg(feature = "cuda")]
use crate::ops::conv2d::geometry::Geometry;

/// One product and a reordering, both candle's.
pub(super) fn composed(op: ConvTranspose2d, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (b, h, w, k) = x.dims4()?;
    let (kh, kw, n, _) = weight.dims4()?;
    let weight = weight.reshape((kh * kw * n, k))?;
    let y = x.reshape((b * h * w, k))?.matmul(&weight.t()?)?;
    let y = y.reshape((b, h, w, kh, kw, n))?;
    let y = y.permute((0, 5, 1, 3, 2, 4))?.reshape((b, n, h * kh, w * kw))?;
    let epilogue = Epilogue {
        bias: op.bias.map(|bias| bias.to_dtype(x.dtype())).transpose()?,
        activation: op.activation,
        residual: None,
    };
    compose::planes(y, &epilogue)?.permute((0, 2, 3, 1))
}

/// By `cu/convolution.cu`: windows of one pixel, whose outputs are a cell of kernel.
#[cfg(feature = "cuda")]
pub(super) fn forward(
    op: &ConvTranspose2d,
    x: (&CudaStorage, &Layout),
    weight: (&CudaStorage, &Layout),
) -> Result<(CudaStorage, Shape)> {
    let (kh, kw, outputs, _) = weight.1.shape().dims4()?;
    let epilogue = Epilogue {
        bias: op.bias.clone(),
        activation: op.activation,
        residual: None,
    };
    let product = Implicit {
        geometry: &Geometry::of_pixels(x.1.shape().dims4()?),
        outputs,
        cell: (kh, kw),
        epilogue: &epilogue,
    };
    product.forward(x, weight)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{channels_last, close, random};
    use crate::{Activation, conv_transpose2d};

    #[test]
    fn agrees_with_candle_and_the_cpu_kernel_in_either_memory_order() {
        let (x, w, bias) = (random((2, 5, 4, 7)), random((5, 6, 2, 2)), random(6));
        let plain = x.conv_transpose2d(&w, 0, 0, 2, 1).unwrap();
        let plain = plain.broadcast_add(&bias.reshape((1, 6, 1, 1)).unwrap()).unwrap();
        let plain = plain.relu().unwrap().permute((0, 2, 3, 1)).unwrap();
        let w = w.permute((2, 3, 1, 0)).unwrap().contiguous().unwrap();
        for x in [&x, &channels_last(&x)] {
            let x = x.permute((0, 2, 3, 1)).unwrap();
            let fused = conv_transpose2d(&x, &w, Some(&bias), Activation::Relu).unwrap();
            close(&fused, &plain, 2e-6);
            let op = ConvTranspose2d {
                bias: Some(bias.clone()),
                activation: Activation::Relu,
            };
            close(&composed(op, &x, &w).unwrap(), &plain, 2e-6);
        }
    }
}
