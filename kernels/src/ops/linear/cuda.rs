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
    use crate::testing::{close, random};
    use crate::{Activation, Epilogue, linear};

    #[test]
    fn agrees_with_the_cpu_kernel() {
        let (x, w) = (random((2, 33, 48)), random((20, 48)));
        for residual in [None, Some(random((2, 33, 20))), Some(random((1, 33, 20)))] {
            for (bias, activation) in [(None, Activation::Identity), (Some(random(20)), Activation::Gelu)] {
                let epilogue = Epilogue {
                    bias,
                    activation,
                    residual: residual.clone(),
                };
                let op = Linear::new(&x, &w, epilogue.clone()).unwrap();
                let fused = linear(&x, &w, epilogue).unwrap();
                close(&fused, &composed(&op, &x, &w).unwrap(), 2e-6);
            }
        }
    }
}
