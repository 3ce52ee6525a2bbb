use std::collections::BTreeSet;

use candle_core::cuda_backend::{CudaStorage, CudaStorageSlice};
use candle_core::{DType, Result, Tensor};

use super::TokenRules;
use crate::cuda::launch::{ARGMAX, Argument, Held, Queue};

/// Of a token that may not come, as in `cu/argmax.cu`.
const BARRED: u32 = 1 << 31;

pub(in crate::ops) fn takes(logits: &Tensor) -> bool {
    let (rows, vocabulary) = (logits.dims()[0], logits.dims()[1]);
    logits.is_contiguous() && i32::try_from(vocabulary).is_ok() && rows <= 65_535
}

/// By `cu/argmax.cu`; `logits` are changed where they lie.
pub(super) fn argmax_tokens(logits: &Tensor, rules: &[TokenRules<'_>], penalty: f32) -> Result<Vec<u32>> {
    let (rows, vocabulary) = logits.dims2()?;
    let held = Held::new(logits);
    penalise(&held, rules, penalty)?;
    let device = &held.storage()?.device;
    let (queue, words) = (
        Queue::of(held.storage()?),
        Queue::of(held.storage()?).with_type(DType::U32),
    );
    let operand = held.operand(&queue)?;
    // Two words a row: ~token, then the largest logit's place in their order.
    let mut best = CudaStorage::wrap_cuda_slice(device.alloc_zeros::<u32>(2 * rows)?, device.clone());
    {
        let best = words.writes(&mut best)?;
        let arguments = [operand.at(), best.at(), Argument::size(vocabulary)?];
        let blocks = vocabulary.div_ceil(4 * 256).clamp(1, 256) as u32;
        queue.launch(&ARGMAX, "argmax", ((blocks, rows as u32), (256, 1)), &arguments)?;
    }
    let CudaStorageSlice::U32(best) = &best.slice else {
        candle_core::bail!("words of 32 bits")
    };
    let best = device.clone_dtoh(best)?;
    let token = |key: &[u32]| if key == [0, 0] { 0 } else { !key[0] };
    Ok(best.chunks_exact(2).map(token).collect())
}

/// Changes `logits` (rows, vocabulary), where they lie, by what is held against their tokens. Whoever asks gives them up, and kernels
/// follow each other on one stream.
pub(in crate::ops) fn penalise(logits: &Held<'_>, rules: &[TokenRules<'_>], penalty: f32) -> Result<()> {
    let (rows, vocabulary) = logits.layout().shape().dims2()?;
    let (tokens, longest) = held_against(rules, vocabulary, penalty);
    let n = tokens.len() - rows;
    if n == 0 {
        return Ok(());
    }
    let device = &logits.storage()?.device;
    let tokens = CudaStorage::wrap_cuda_slice(device.clone_htod(&tokens)?, device.clone());
    let (queue, lists) = (Queue::of(logits.storage()?), Queue::of(&tokens));
    let (operand, tokens) = (logits.operand(&queue)?, lists.reads_from(&tokens, 0)?);
    let arguments = [
        operand.at(),
        tokens.at(),
        Argument::At(tokens.address() + (n * size_of::<u32>()) as u64),
        Argument::size(vocabulary)?,
        Argument::Float(penalty),
    ];
    let blocks = longest.div_ceil(256) as u32;
    queue.launch(&ARGMAX, "penalise", ((blocks, rows as u32), (256, 1)), &arguments)
}

/// Tokens of one row after the other, then where those of each end; and the most of a row.
fn held_against(rules: &[TokenRules<'_>], vocabulary: usize, penalty: f32) -> (Vec<u32>, usize) {
    let (mut tokens, mut ends, mut longest) = (Vec::new(), Vec::new(), 0);
    for rules in rules {
        let first = tokens.len();
        let inside = |token: &&u32| (**token as usize) < vocabulary;
        let barred: BTreeSet<u32> = rules.barred.iter().filter(inside).copied().collect();
        if penalty != 1. {
            let seen = rules.seen.iter().filter(inside).copied();
            tokens.extend(seen.filter(|token| !barred.contains(token)));
        }
        tokens.extend(barred.into_iter().map(|token| token | BARRED));
        longest = longest.max(tokens.len() - first);
        ends.push(tokens.len() as u32);
    }
    tokens.extend(ends);
    (tokens, longest)
}
