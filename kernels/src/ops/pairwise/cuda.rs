use candle_core::{Result, Tensor};

use super::Pairwise;

/// Out of candle's own ops.
pub(super) fn composed(f: Pairwise, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match f {
        Pairwise::Add => a + b,
        Pairwise::SiluMul => a.silu()? * b,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::ops::pairwise::{add, silu_mul};
    use crate::testing::{channels_last, close, random};

    #[test]
    fn agrees_with_the_cpu_kernel_in_either_memory_order() {
        let (a, b) = (random((2, 3, 4, 5)), random((2, 3, 4, 5)));
        let (a_last, b_last) = (channels_last(&a), channels_last(&b));
        for (a, b) in [(&a, &b), (&a_last, &b_last), (&a_last, &b)] {
            close(&add(a, b).unwrap(), &composed(Pairwise::Add, a, b).unwrap(), 0.);
            let inner = silu_mul(a, b).unwrap();
            close(&inner, &composed(Pairwise::SiluMul, a, b).unwrap(), 2e-6);
        }
        assert_eq!(add(&a_last, &b_last).unwrap().stride(), a_last.stride());
    }
}
