use std::sync::PoisonError;

use candle_core::cuda_backend::{CudaStorage, CudaStorageSlice};
use candle_core::{DType, Device, Result, Tensor};

use super::{AllowedRow, TokenSet};
use crate::cuda::launch::{Argument, Held, Operand, Queue, SAMPLING};

/// Most blocks that share a row.
const BLOCKS: usize = 64;

pub(super) fn takes(rows: &[AllowedRow<'_>]) -> bool {
    let device = rows[0].logits.device();
    let of = |row: &AllowedRow<'_>| {
        row.logits.is_contiguous()
            && row.logits.device().same_device(device)
            && row.allowed.vocabulary == rows[0].allowed.vocabulary
    };
    let vocabulary = rows[0].allowed.vocabulary;
    vocabulary > 0 && i32::try_from(vocabulary).is_ok() && rows.len() <= 65_535 && rows.iter().all(of)
}

impl TokenSet {
    /// A bit a token on `device`.
    fn on(&self, device: &Device) -> Result<Tensor> {
        let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        match &*there {
            Some(words) if words.device().same_device(device) => Ok(words.clone()),
            _ => {
                let words = Tensor::from_slice(&self.words, self.words.len(), device)?;
                Ok(there.insert(words).clone())
            }
        }
    }
}

fn operands<'a>(held: &'a [Held<'_>], queue: &'a Queue) -> Result<Vec<Operand<'a>>> {
    held.iter().map(|held| held.operand(queue)).collect()
}

/// By `cu/sampling.cu`.
pub(super) fn best_tokens(rows: &[AllowedRow<'_>]) -> Result<Vec<Option<(u32, f64)>>> {
    let vocabulary = rows[0].allowed.vocabulary;
    let blocks = vocabulary.div_ceil(8 * 256).clamp(1, BLOCKS);
    let sets = rows.iter().map(|row| row.allowed.on(row.logits.device()));
    let sets = sets.collect::<Result<Vec<_>>>()?;
    let logits: Vec<Held<'_>> = rows.iter().map(|row| Held::new(row.logits)).collect();
    let sets: Vec<Held<'_>> = sets.iter().map(Held::new).collect();
    let storage = logits[0].storage()?;
    let (queue, words) = (Queue::of(storage), Queue::of(storage).with_type(DType::U32));
    let (operands, sets) = (operands(&logits, &queue)?, operands(&sets, &words)?);
    let places = operands.iter().zip(rows);
    let places =
        places.map(|(logits, row)| logits.address() + (row.row * vocabulary * size_of::<f32>()) as u64);
    let addresses: Vec<u32> = places
        .chain(sets.iter().map(|set| set.address()))
        .flat_map(|at| [at as u32, (at >> 32) as u32])
        .collect();
    let device = &storage.device;
    let addresses = CudaStorage::wrap_cuda_slice(device.clone_htod(&addresses)?, device.clone());
    // For each block the key of its best token and the bits of its sum.
    let mut parts = words.output(4 * rows.len() * blocks)?;
    {
        let (addresses, parts) = (words.reads_from(&addresses, 0)?, words.writes(&mut parts)?);
        let arguments = [
            addresses.at(),
            Argument::At(addresses.address() + (rows.len() * size_of::<u64>()) as u64),
            parts.at(),
            Argument::size(vocabulary)?,
        ];
        let threads = ((blocks as u32, rows.len() as u32), (256, 1));
        queue.launch(&SAMPLING, "best_tokens", threads, &arguments)?;
    }
    let CudaStorageSlice::U32(parts) = &parts.slice else {
        candle_core::bail!("words of 32 bits")
    };
    let parts = device.clone_dtoh(parts)?;
    Ok(parts.chunks_exact(4 * blocks).map(joined).collect())
}

/// Of the parts of a row: ~token and the largest logit's place in their order, then the bits of a sum.
fn joined(parts: &[u32]) -> Option<(u32, f64)> {
    let own = || parts.chunks_exact(4).filter(|part| part[..2] != [0, 0]);
    let logit = |order: u32| {
        let bits = if order >> 31 == 1 {
            order & 0x7fff_ffff
        } else {
            !order
        };
        f64::from(f32::from_bits(bits))
    };
    let best = own().max_by_key(|part| (part[1], part[0]))?;
    let total: f64 = own()
        .map(|part| {
            let sum = f64::from_bits(u64::from(part[3]) << 32 | u64::from(part[2]));
            sum * (logit(part[1]) - logit(best[1])).exp()
        })
        .sum();
    Some((!best[0], -total.ln()))
}
