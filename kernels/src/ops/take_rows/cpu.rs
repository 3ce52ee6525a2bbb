use candle_core::{CpuStorage, Layout, Result, Shape};
use rayon::prelude::*;

use crate::cpu::element::{Element, by_type};
use crate::cpu::memory::unwritten;
use crate::cpu::parallel::CHUNK;
use crate::cpu::storage::contiguous;

pub(super) fn forward(
    (x, xl): (&CpuStorage, &Layout),
    (index, il): (&CpuStorage, &Layout),
) -> Result<(CpuStorage, Shape)> {
    let (n, c) = xl.shape().dims2()?;
    let (Some((first, last)), CpuStorage::U32(index)) = (il.contiguous_offsets(), index) else {
        candle_core::bail!("take_rows: contiguous row numbers are needed, got {il:?}")
    };
    let index = &index[first..last];
    if let Some(row) = index.iter().find(|&&row| row as usize >= n) {
        candle_core::bail!("take_rows: row {row} of {n}")
    }
    let out = by_type!(x, T => T::storage(taken::<T>(contiguous(x, xl)?, c, index)));
    Ok((out, Shape::from((index.len(), c))))
}

/// Rows `index` of `x`, `c` numbers each.
fn taken<T: Element>(x: &[T], c: usize, index: &[u32]) -> Vec<T> {
    let mut out = unwritten(index.len() * c);
    if let Some(rows) = CHUNK.checked_div(c) {
        let rows = rows.max(1);
        out.par_chunks_mut(rows * c)
            .zip(index.par_chunks(rows))
            .for_each(|(out, index)| {
                for (out, &row) in out.chunks_exact_mut(c).zip(index) {
                    out.copy_from_slice(&x[row as usize * c..][..c]);
                }
            });
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use candle_core::{DType, Device, Tensor};

    use crate::take_rows;

    #[test]
    fn as_candles_index_select() {
        let device = Device::Cpu;
        let x = Tensor::randn(0f32, 1., (7, 5), &device).unwrap();
        let index = Tensor::new(&[6u32, 0, 0, 3], &device).unwrap();
        for dtype in [DType::F32, DType::BF16, DType::F16] {
            let x = x.to_dtype(dtype).unwrap();
            let transposed = x.t().unwrap();
            for (x, index) in [(&x, &index), (&transposed, &index.narrow(0, 1, 3).unwrap())] {
                let wide = |t: Tensor| t.to_dtype(DType::F32).unwrap().to_vec2::<f32>().unwrap();
                let wanted = x.contiguous().unwrap().index_select(index, 0).unwrap();
                assert_eq!(wide(take_rows(x, index).unwrap()), wide(wanted));
            }
        }
    }

    #[test]
    fn no_such_row() {
        let device = Device::Cpu;
        let x = Tensor::zeros((7, 5), DType::F32, &device).unwrap();
        let index = |rows: &[u32]| Tensor::new(rows, &device).unwrap();
        assert!(take_rows(&x, &index(&[1, 7])).is_err());
        assert!(take_rows(&x, &index(&[1]).to_dtype(DType::U8).unwrap()).is_err());
        assert_eq!(take_rows(&x, &index(&[6])).unwrap().dims(), [1, 5]);
    }
}
