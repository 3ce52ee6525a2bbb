use candle_core::{Result, Tensor};

use super::Activation;

/// Out of candle's own ops.
pub(crate) fn composed(x: &Tensor, f: Activation) -> Result<Tensor> {
    match f {
        Activation::Identity => Ok(x.clone()),
        Activation::Gelu => x.gelu_erf(),
        Activation::Silu => x.silu(),
        Activation::Relu => x.relu(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{channels_last, close, random};

    #[test]
    fn agrees_with_the_cpu_kernel_in_either_memory_order() {
        let x = random((2, 3, 4, 5));
        for f in [
            Activation::Identity,
            Activation::Gelu,
            Activation::Silu,
            Activation::Relu,
        ] {
            for x in [&x, &channels_last(&x)] {
                let y = super::super::activation(x, f).unwrap();
                assert_eq!(y.stride(), x.stride());
                close(&y, &composed(x, f).unwrap(), 2e-6);
            }
        }
    }
}
