use candle_core::{CpuStorage, Result, Shape};
use rayon::prelude::*;

use super::JoinRows;
use crate::cpu::element::{Element, by_type};
use crate::cpu::memory::unwritten;
use crate::cpu::parallel::CHUNK;
use crate::cpu::simd::{self, MapSlice};
use crate::cpu::storage::TensorInput;
use crate::ops::activation::Activation;

pub(super) fn forward(op: &JoinRows<'_>, x: &CpuStorage) -> Result<(CpuStorage, Shape)> {
    let mut dims = op.parts[0].dims().to_vec();
    dims[0] = op.parts.iter().map(|t| t.dims()[0]).sum();
    let inputs: Vec<TensorInput<'_>> = op.parts.iter().map(TensorInput::new).collect();
    let out = by_type!(x, T => {
        let parts = inputs.iter().map(TensorInput::elements::<T>).collect::<Result<Vec<_>>>()?;
        T::storage(joined(&parts, op.f))
    });
    Ok((out, Shape::from(dims)))
}

fn joined<T: Element>(parts: &[&[T]], f: Activation) -> Vec<T> {
    let mut out: Vec<T> = unwritten(parts.iter().map(|part| part.len()).sum());
    let mut rest = out.as_mut_slice();
    let mut pairs = Vec::new();
    for part in parts {
        let (now, later) = rest.split_at_mut(part.len());
        rest = later;
        pairs.extend(now.chunks_mut(CHUNK).zip(part.chunks(CHUNK)));
    }
    pairs.into_par_iter().for_each(|(dst, src)| match f {
        Activation::Identity => dst.copy_from_slice(src),
        _ => simd::dispatch(MapSlice { f, src, dst }),
    });
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::{DType, Device, Tensor};

    use crate::{Activation, activation, join_rows};

    #[test]
    fn as_candles_cat() {
        let random = |rows: usize| Tensor::randn(0f32, 1., (rows, 300, 7), &Device::Cpu).unwrap();
        let parts = [random(1), random(40), random(0), random(3)];
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let parts = parts.iter().map(|t| t.to_dtype(dtype).unwrap());
            // A part of a tensor, a tensor that is turned, and whole ones.
            let mut parts: Vec<Tensor> = parts.collect();
            parts.push(parts[1].narrow(0, 3, 5).unwrap());
            parts.push(Tensor::cat(&[&parts[1]; 2], 2).unwrap().narrow(2, 2, 7).unwrap());
            let whole = Tensor::cat(&parts, 0).unwrap();
            let wide = |t: &Tensor| {
                let t = t.flatten_all().unwrap().to_dtype(DType::F32).unwrap();
                t.to_vec1::<f32>().unwrap()
            };
            for f in [Activation::Identity, Activation::Gelu] {
                let found = join_rows(&parts, f).unwrap();
                assert_eq!(found.dims(), whole.dims());
                assert_eq!(wide(&found), wide(&activation(&whole, f).unwrap()));
            }
        }
    }

    #[test]
    fn parts_that_do_not_fit() {
        let zeros = |dims: (usize, usize), dtype| Tensor::zeros(dims, dtype, &Device::Cpu).unwrap();
        let x = zeros((2, 3), DType::F32);
        for other in [zeros((2, 4), DType::F32), zeros((2, 3), DType::BF16)] {
            assert!(join_rows(&[x.clone(), other], Activation::Identity).is_err());
        }
        assert!(join_rows(&[], Activation::Identity).is_err());
    }
}
