use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use candle_core::{CudaStorage, Layout, Shape};

use super::Pairwise;
#[cfg(feature = "cuda")]
use crate::cuda::launch::{Argument, ELEMENTWISE, Queue};

/// Out of candle's own ops.
pub(super) fn composed(f: Pairwise, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    match f {
        Pairwise::Add => a + b,
        Pairwise::SiluMul => a.silu()? * b,
    }
}

/// By `cu/elementwise.cu`.
#[cfg(feature = "cuda")]
pub(super) fn silu_mul(
    (gate, gate_layout): (&CudaStorage, &Layout),
    (up, up_layout): (&CudaStorage, &Layout),
) -> Result<(CudaStorage, Shape)> {
    let queue = Queue::of(gate);
    let n = gate_layout.shape().elem_count();
    let mut out = queue.output(n)?;
    {
        let (gate, up) = (queue.reads(gate, gate_layout)?, queue.reads(up, up_layout)?);
        let y = queue.writes(&mut out)?;
        let blocks = n.div_ceil(256).min(65_535) as u32;
        let arguments = [gate.at(), up.at(), y.at(), Argument::Long(n as i64)];
        queue.launch(&ELEMENTWISE, "silu_mul", ((blocks, 1), (256, 1)), &arguments)?;
    }
    Ok((out, gate_layout.shape().clone()))
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
