use candle_core::cuda_backend::{CudaDevice, CudaStorage, CudaStorageSlice};
use candle_core::{DType, Result};

use super::{MaskAt, MaskBits, MaskGrid, MaskThresholds, WORD};
use crate::MaskFacts;
use crate::cuda::launch::{Argument, Held, MASKS, Queue};

/// Bits of masks at the picture's size that a call may hold.
const MOST_BYTES: usize = 64 << 20;

/// What a mask has in `facts`.
const FACTS: usize = 6;

pub(super) fn takes(masks: &[MaskAt], grid: &MaskGrid) -> bool {
    let of = |mask: &MaskAt| {
        let typed = matches!(mask.logits.dtype(), DType::F32 | DType::BF16 | DType::F16);
        let together = mask.logits.dtype() == masks[0].logits.dtype();
        typed
            && together
            && mask.logits.is_contiguous()
            && mask.logits.device().same_device(masks[0].logits.device())
    };
    i32::try_from(grid.width() * grid.height()).is_ok() && masks.iter().all(of)
}

/// By `cu/masks.cu`.
pub(super) fn draw_masks(
    masks: &[MaskAt],
    grid: &MaskGrid,
    thresholds: &MaskThresholds,
    mut keep: impl FnMut(usize, &MaskFacts) -> bool,
) -> Result<Vec<(MaskFacts, Option<MaskBits>)>> {
    let words = grid.width() * grid.height().div_ceil(WORD);
    let at_a_time = (MOST_BYTES / size_of::<u32>() / words).clamp(1, 65_535);
    let mut out = Vec::with_capacity(masks.len());
    for some in masks.chunks(at_a_time) {
        let first = out.len();
        out.extend(drawn(some, grid, thresholds, |i, facts| keep(first + i, facts))?);
    }
    Ok(out)
}

fn drawn(
    masks: &[MaskAt],
    grid: &MaskGrid,
    thresholds: &MaskThresholds,
    mut keep: impl FnMut(usize, &MaskFacts) -> bool,
) -> Result<Vec<(MaskFacts, Option<MaskBits>)>> {
    let held: Vec<Held<'_>> = masks.iter().map(|mask| Held::new(&mask.logits)).collect();
    let storage = held[0].storage()?;
    let (queue, whole) = (Queue::of(storage), Queue::of(storage).with_type(DType::U32));
    let (width, lines) = (grid.width(), grid.height().div_ceil(WORD));
    let mut bits = whole.output(masks.len() * lines * width)?;
    let facts = {
        let operands = held
            .iter()
            .map(|held| held.operand(&queue))
            .collect::<Result<Vec<_>>>()?;
        let bytes = grid.side * grid.side * queue.dtype().size_in_bytes();
        let addresses = operands
            .iter()
            .zip(masks)
            .map(|(logits, mask)| logits.address() + (mask.index * bytes) as u64);
        // One upload: addresses, columns, rows, weights.
        let (columns, column_weights) = grid.columns.table(0);
        let (rows, row_weights) = grid.rows.table(column_weights.len());
        let mut table: Vec<u32> = addresses.flat_map(|at| [at as u32, (at >> 32) as u32]).collect();
        let columns_at = table.len();
        table.extend(columns);
        let rows_at = table.len();
        table.extend(rows);
        let weights_at = table.len();
        table.extend(column_weights.iter().chain(row_weights).map(|w| w.to_bits()));
        let table = uploaded(&storage.device, &table)?;
        let table = whole.reads_from(&table, 0)?;
        let part = |first: usize| Argument::At(table.address() + (first * size_of::<u32>()) as u64);
        let mut facts = CudaStorage::wrap_cuda_slice(
            storage.device.alloc_zeros::<u32>(FACTS * masks.len())?,
            storage.device.clone(),
        );
        {
            let (facts, bits) = (whole.writes(&mut facts)?, whole.writes(&mut bits)?);
            let arguments = [
                table.at(),
                part(columns_at),
                part(rows_at),
                part(weights_at),
                bits.at(),
                facts.at(),
                Argument::size(grid.side)?,
                Argument::size(width)?,
                Argument::size(grid.height())?,
                Argument::Float(thresholds.mask),
                Argument::Float(thresholds.high),
                Argument::Float(thresholds.low),
                Argument::Float(thresholds.floor()),
            ];
            let blocks = width.div_ceil(32) * lines.div_ceil(8);
            let shape = ((blocks as u32, masks.len() as u32), (32, 8));
            queue.launch(&MASKS, "draw_masks", shape, &arguments)?;
        }
        downloaded(&facts)?
    };
    let facts = facts.chunks_exact(FACTS).map(|of| MaskFacts {
        above_high: of[0],
        above_low: of[1],
        bounds: (of[2] != 0).then_some([!of[2], of[3], !of[4], of[5]]),
    });
    let mut out: Vec<(MaskFacts, Option<MaskBits>)> = facts
        .enumerate()
        .map(|(i, facts)| (facts, keep(i, &facts).then(MaskBits::default)))
        .collect();
    crop(&whole, &bits, (width, lines), &mut out)?;
    Ok(out)
}

/// Fetches the bits of the masks that are kept, each in its box.
fn crop(
    queue: &Queue,
    bits: &CudaStorage,
    (width, lines): (usize, usize),
    out: &mut [(MaskFacts, Option<MaskBits>)],
) -> Result<()> {
    let (mut boxes, mut kept, mut total, mut largest) = (Vec::new(), Vec::new(), 0, 0);
    for (i, (facts, bits)) in out.iter_mut().enumerate() {
        let (Some(bits), Some(bounds)) = (bits, facts.bounds) else {
            continue;
        };
        let rows;
        (*bits, rows) = MaskBits::around(bounds);
        let n = bits.columns * rows;
        boxes.extend([i, bits.left, bits.columns, bits.top / WORD, rows, total].map(|v| v as u32));
        kept.push((bits, n));
        (total, largest) = (total + n, largest.max(n));
    }
    if kept.is_empty() {
        return Ok(());
    }
    let boxes = uploaded(&bits.device, &boxes)?;
    let mut cropped = queue.output(total)?;
    {
        let (from, boxes) = (queue.reads_from(bits, 0)?, queue.reads_from(&boxes, 0)?);
        let to = queue.writes(&mut cropped)?;
        let arguments = [
            from.at(),
            boxes.at(),
            to.at(),
            Argument::size(lines)?,
            Argument::size(width)?,
        ];
        let blocks = largest.div_ceil(256).min(1024) as u32;
        queue.launch(
            &MASKS,
            "crop_bits",
            ((blocks, kept.len() as u32), (256, 1)),
            &arguments,
        )?;
    }
    let words = downloaded(&cropped)?;
    let mut rest = words.as_slice();
    for (bits, n) in kept {
        let (own, others) = rest.split_at(n);
        bits.words = own.to_vec();
        rest = others;
    }
    Ok(())
}

fn uploaded(device: &CudaDevice, values: &[u32]) -> Result<CudaStorage> {
    let slice = device.clone_htod(values)?;
    Ok(CudaStorage::wrap_cuda_slice(slice, device.clone()))
}

fn downloaded(storage: &CudaStorage) -> Result<Vec<u32>> {
    match &storage.slice {
        CudaStorageSlice::U32(slice) => storage.device.clone_dtoh(slice),
        _ => candle_core::bail!("no words of 32 bits"),
    }
}
