use candle_core::{Result, Tensor};

use super::Linear;
use crate::cuda::compose;

/// Out of candle's own ops.
pub(super) fn composed(op: &Linear, x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let rows = x.elem_count() / op.k.max(1);
    let y = x.reshape((rows, op.k))?.matmul(&weight.t()?)?;
    compose::rows(y.reshape(&op.shape)?, &op.epilogue)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{products_close, random};
    use crate::{Activation, Epilogue, LinearWeight, linear};

    #[test]
    fn agrees_with_the_cpu_kernel() {
        let (x, w) = (random((2, 33, 48)), random((20, 48)));
        let weight = LinearWeight::new(&w);
        for residual in [None, Some(random((2, 33, 20))), Some(random((1, 33, 20)))] {
            for (bias, activation) in [(None, Activation::Identity), (Some(random(20)), Activation::Gelu)] {
                let epilogue = Epilogue {
                    bias,
                    activation,
                    residual: residual.clone(),
                };
                let op = Linear::new(&x, &weight, epilogue.clone()).unwrap();
                let fused = linear(&x, &weight, epilogue).unwrap();
                products_close(&fused, &composed(&op, &x, &w).unwrap());
            }
        }
    }
}
