use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, Layout, Shape};

use super::Depthwise;
use crate::cuda::compose;
#[cfg(feature = "cuda")]
use crate::cuda::launch::{self, Argument, CONVOLUTION, Held, Queue};

/// Out of element-wise ops, one tap of the kernel after the other: candle's own convolution runs one product per
/// channel.
pub(super) fn composed(op: &Depthwise, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let g = &op.geometry;
    // Zeros behind the last window too, so that every tap's rows and columns are whole strides.
    let after = |out: usize, kernel: usize, size: usize| {
        (out * g.stride + kernel - 1).saturating_sub(size + g.padding)
    };
    let x = x
        .permute((0, 3, 1, 2))?
        .contiguous()?
        .pad_with_zeros(2, g.padding, after(g.out_height, g.kh, g.height))?
        .pad_with_zeros(3, g.padding, after(g.out_width, g.kw, g.width))?;
    let mut sum: Option<Tensor> = None;
    for i in 0..g.kh {
        let rows = every(&x.narrow(2, i, g.out_height * g.stride)?, 2, g.stride)?;
        for j in 0..g.kw {
            let seen = every(&rows.narrow(3, j, g.out_width * g.stride)?, 3, g.stride)?;
            let tap = weight.narrow(0, i, 1)?.narrow(1, j, 1)?;
            let term = seen.broadcast_mul(&tap.reshape((1, g.channels, 1, 1))?)?;
            sum = Some(match sum {
                Some(sum) => (sum + term)?,
                None => term,
            });
        }
    }
    match sum {
        Some(sum) => compose::planes(sum, &op.epilogue)?.permute((0, 2, 3, 1)),
        None => candle_core::bail!("conv2d: an empty kernel"),
    }
}

/// By `cu/convolution.cu`.
#[cfg(feature = "cuda")]
pub(super) fn forward(
    op: &Depthwise,
    (x, xl): (&CudaStorage, &Layout),
    (w, wl): (&CudaStorage, &Layout),
) -> Result<(CudaStorage, Shape)> {
    let queue = Queue::of(x);
    let g = &op.geometry;
    let shape = g.out_shape(g.channels);
    let mut out = queue.output(shape.elem_count())?;
    {
        let held = [&op.epilogue.bias, &op.epilogue.residual].map(|t| t.as_ref().map(Held::new));
        let [bias, residual] = held.each_ref().map(Option::as_ref);
        let (bias, residual) = (
            launch::optional(bias, &queue)?,
            launch::optional(residual, &queue)?,
        );
        let (x, w, y) = (queue.reads(x, xl)?, queue.reads(w, wl)?, queue.writes(&mut out)?);
        let mut arguments = vec![
            x.at(),
            w.at(),
            launch::at(bias.as_ref()),
            launch::at(residual.as_ref()),
            y.at(),
            Argument::Int(op.epilogue.activation.code()),
        ];
        arguments.extend(g.arguments()?);
        let pixels = g.batch * g.out_height * g.out_width;
        queue.launch(
            &CONVOLUTION,
            "depthwise",
            launch::tiles(g.channels, pixels),
            &arguments,
        )?;
    }
    Ok((out, shape))
}

/// Every `stride`-th element along `dim`, whose length is a multiple of it.
fn every(x: &Tensor, dim: usize, stride: usize) -> Result<Tensor> {
    if stride == 1 {
        return Ok(x.clone());
    }
    let mut shape = x.dims().to_vec();
    shape[dim] /= stride;
    shape.insert(dim + 1, stride);
    x.reshape(shape)?.narrow(dim + 1, 0, 1)?.squeeze(dim + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ops::conv2d::geometry::Geometry;
    use crate::testing::{channels_last, close, random};
    use crate::{Activation, ConvWeight, Epilogue, conv2d};

    #[test]
    fn agrees_with_candle_and_the_cpu_kernel_in_either_memory_order() {
        let planes = random((2, 6, 9, 11));
        for (stride, padding, kernel) in [(1, 1, 3), (2, 1, 3), (1, 0, 1), (3, 2, 5), (4, 0, 2), (2, 0, 9)] {
            let weight = random((6, 1, kernel, kernel));
            let plain = planes.conv2d(&weight, padding, stride, 1, 6).unwrap();
            let plain = plain.permute((0, 2, 3, 1)).unwrap();
            let arranged = ConvWeight::new(&weight, 6).unwrap();
            let taps = weight.squeeze(1).unwrap().permute((1, 2, 0)).unwrap();
            for x in [&planes, &channels_last(&planes)] {
                let x = x.permute((0, 2, 3, 1)).unwrap();
                let geometry = Geometry::new(&x, (kernel, kernel), stride, padding).unwrap();
                let run = |epilogue: Epilogue| {
                    let op = Depthwise {
                        geometry,
                        epilogue: epilogue.clone(),
                    };
                    let fused = conv2d(&x, &arranged, stride, padding, epilogue).unwrap();
                    (fused, composed(&op, &x, &taps).unwrap())
                };
                let (fused, by_taps) = run(Epilogue::default());
                close(&fused, &plain, 2e-6);
                close(&by_taps, &plain, 2e-6);
                let (fused, by_taps) = run(Epilogue {
                    bias: Some(random(6)),
                    activation: Activation::Gelu,
                    residual: Some(random(plain.shape())),
                });
                close(&fused, &by_taps, 2e-6);
            }
        }
    }

    #[test]
    fn kernels_that_do_not_fit_are_refused() {
        let x = random((2, 9, 11, 6));
        let run = |w: Tensor| conv2d(&x, &ConvWeight::new(&w, 6).unwrap(), 1, 1, Epilogue::default());
        assert!(run(random((6, 1, 12, 12))).is_err());
        assert!(run(random((6, 2, 3, 3))).is_err());
        assert!(ConvWeight::new(&random((5, 1, 3, 3)), 6).is_err());
    }
}
