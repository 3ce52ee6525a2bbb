use candle_core::{D, DType, Result, Tensor};

#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, Layout, Shape};

use super::Norm;
#[cfg(feature = "cuda")]
use crate::cuda::launch::{Argument, Held, NORM, Queue, row_sums};

/// Out of candle's own ops, statistics in f32.
pub(super) fn composed(op: &Norm, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let wide = x.to_dtype(DType::F32)?;
    match op {
        Norm::Layer { bias, eps } => {
            let centred = wide.broadcast_sub(&wide.mean_keepdim(D::Minus1)?)?;
            let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
            let unit = centred.broadcast_div(&(variance + *eps)?.sqrt()?)?;
            unit.broadcast_mul(&weight.to_dtype(DType::F32)?)?
                .broadcast_add(&bias.to_dtype(DType::F32)?)?
                .to_dtype(x.dtype())
        }
        Norm::Rms { eps } => {
            let mean_square = wide.sqr()?.mean_keepdim(D::Minus1)?;
            let unit = wide.broadcast_div(&(mean_square + *eps)?.sqrt()?)?;
            unit.to_dtype(x.dtype())?.broadcast_mul(weight)
        }
    }
}

/// By `cu/norm.cu`.
#[cfg(feature = "cuda")]
pub(super) fn forward(
    op: &Norm,
    (x, xl): (&CudaStorage, &Layout),
    (w, wl): (&CudaStorage, &Layout),
) -> Result<(CudaStorage, Shape)> {
    let queue = Queue::of(x);
    let n = wl.shape().elem_count();
    let rows = xl.shape().elem_count() / n;
    let mut out = queue.output(rows * n)?;
    {
        let (x, w, y) = (queue.reads(x, xl)?, queue.reads(w, wl)?, queue.writes(&mut out)?);
        let sizes = [Argument::size(rows)?, Argument::size(n)?];
        match op {
            Norm::Layer { bias, eps } => {
                let bias = Held::new(bias);
                let bias = bias.operand(&queue)?;
                let mut arguments = vec![x.at(), w.at(), bias.at(), y.at()];
                arguments.extend(sizes);
                arguments.push(Argument::Float(*eps as f32));
                queue.launch(&NORM, "layer_norm", row_sums(rows, n), &arguments)?;
            }
            Norm::Rms { eps } => {
                let mut arguments = vec![x.at(), w.at(), y.at()];
                arguments.extend(sizes);
                arguments.push(Argument::Float(*eps as f32));
                queue.launch(&NORM, "rms_norm", row_sums(rows, n), &arguments)?;
            }
        }
    }
    Ok((out, xl.shape().clone()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{close, random};
    use crate::{layer_norm, rms_norm};

    #[test]
    fn agrees_with_the_cpu_kernel() {
        let (x, w, bias) = (random((2, 33, 48)), random(48), random(48));
        let fused = layer_norm(&x, &w, &bias, 1e-5).unwrap();
        let op = Norm::Layer {
            bias: bias.clone(),
            eps: 1e-5,
        };
        close(&fused, &composed(&op, &x, &w).unwrap(), 2e-6);
        let candle = candle_nn::LayerNorm::new(w.clone(), bias, 1e-5);
        close(&fused, &candle_nn::Module::forward(&candle, &x).unwrap(), 2e-6);
        let fused = rms_norm(&x, &w, 1e-6).unwrap();
        close(&fused, &composed(&Norm::Rms { eps: 1e-6 }, &x, &w).unwrap(), 2e-6);
    }
}
