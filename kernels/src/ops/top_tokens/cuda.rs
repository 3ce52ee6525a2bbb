use candle_core::cuda_backend::{CudaStorage, CudaStorageSlice};
use candle_core::{DType, Result, Tensor};

use super::{cut, largest};
use crate::cuda::launch::{Argument, Held, Queue, SAMPLING};
use crate::ops::argmax::{self, TokenRules};

/// As in `cu/sampling.cu`.
const BINS: usize = 4096;

pub(super) fn takes(logits: &Tensor, k: usize) -> bool {
    8 * k < logits.dims()[1] && argmax::cuda::takes(logits)
}

/// By `cu/sampling.cu`; `logits` are changed where they lie.
pub(super) fn top_tokens(
    logits: &Tensor,
    rules: &[TokenRules<'_>],
    penalty: f32,
    k: usize,
) -> Result<Vec<Vec<(u32, f32)>>> {
    let (rows, vocabulary) = logits.dims2()?;
    // A bin holds more than the one looked for.
    let most = (4 * k).max(256);
    let held = Held::new(logits);
    argmax::cuda::penalise(&held, rules, penalty)?;
    let device = &held.storage()?.device;
    let queue = Queue::of(held.storage()?);
    let words = Queue::of(held.storage()?).with_type(DType::U32);
    let zeros = |n: usize| -> Result<CudaStorage> {
        Ok(CudaStorage::wrap_cuda_slice(
            device.alloc_zeros::<u32>(n)?,
            device.clone(),
        ))
    };
    let (mut bins, mut found) = (zeros(rows * BINS)?, zeros(rows * (1 + 2 * most))?);
    {
        let (operand, bins, found) = (
            held.operand(&queue)?,
            words.writes(&mut bins)?,
            words.writes(&mut found)?,
        );
        let threads = (
            (vocabulary.div_ceil(4 * 256).clamp(1, 256) as u32, rows as u32),
            (256, 1),
        );
        let sizes = [vocabulary, k, most].map(Argument::size);
        let [vocabulary, k, most] = sizes;
        let vocabulary = vocabulary?;
        let arguments = [operand.at(), bins.at(), vocabulary];
        queue.launch(&SAMPLING, "count_tokens", threads, &arguments)?;
        let arguments = [operand.at(), bins.at(), found.at(), vocabulary, k?, most?];
        queue.launch(&SAMPLING, "top_tokens", threads, &arguments)?;
    }
    let CudaStorageSlice::U32(found) = &found.slice else {
        candle_core::bail!("words of 32 bits")
    };
    let found = device.clone_dtoh(found)?;
    let rows = found.chunks_exact(1 + 2 * most).enumerate();
    rows.map(|(row, found)| {
        let n = found[0] as usize;
        if n > most {
            let all = logits.narrow(0, row, 1)?.force_contiguous()?;
            return Ok(largest(all.flatten_all()?.to_vec1()?, k));
        }
        let pairs = found[1..1 + 2 * n].chunks_exact(2);
        Ok(cut(
            pairs.map(|pair| (pair[0], f32::from_bits(pair[1]))).collect(),
            k,
        ))
    })
    .collect()
}
