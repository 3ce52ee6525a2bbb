use candle_core::{Result, Tensor};

use super::Conv2d;
use crate::cuda::compose;

/// By candle's own convolution, on planes; `weight` (out, in / groups, kh, kw). Also what convolutions of several
/// groups run on the CPU.
pub(super) fn composed(op: &Conv2d, x: &Tensor, weight: &Tensor, groups: usize) -> Result<Tensor> {
    let planes = x.permute((0, 3, 1, 2))?.contiguous()?;
    let y = planes.conv2d(weight, op.geometry.padding, op.geometry.stride, 1, groups)?;
    compose::planes(y, &op.epilogue)?.permute((0, 2, 3, 1))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{channels_last, close, random};
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
                close(&fused, &composed(&op, &x, &weight, groups).unwrap(), 2e-6);
            }
        }
    }
}
