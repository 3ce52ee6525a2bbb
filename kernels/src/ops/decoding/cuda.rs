use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use super::{Choice, StepState};
use crate::cuda::launch::{Argument, DECODING, Held, Queue};

/// Inputs of a step, one behind the other.
pub(super) fn begin(steps: &StepState, embedding: &Tensor) -> Result<Tensor> {
    embedding.apply_op1_no_bwd(&Begin(steps))
}

struct Begin<'a>(&'a StepState);

impl CustomOp1 for Begin<'_> {
    fn name(&self) -> &'static str {
        "begin_step"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("the CPU has no graphs")
    }

    fn cuda_fwd(&self, embedding: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let (_, rows, half) = self.0.tables.0.dims3()?;
        let queue = Queue::of(embedding);
        let words = Queue::of(embedding).with_type(DType::U32);
        let n = rows * (width + 2 * half);
        let mut out = queue.output(n)?;
        let (cosines, sines) = (Held::new(&self.0.tables.0), Held::new(&self.0.tables.1));
        let (tokens, counts) = (Held::new(&self.0.tokens), Held::new(&self.0.counts));
        {
            let from = queue.reads(embedding, layout)?;
            let (cosines, sines) = (cosines.operand(&queue)?, sines.operand(&queue)?);
            let (tokens, counts) = (tokens.operand(&words)?, counts.operand(&words)?);
            let to = queue.writes(&mut out)?;
            let behind = |elements: usize| {
                Argument::At(to.address() + (elements * queue.dtype().size_in_bytes()) as u64)
            };
            let arguments = [
                from.at(),
                cosines.at(),
                sines.at(),
                tokens.at(),
                counts.at(),
                to.at(),
                behind(rows * width),
                behind(rows * (width + half)),
                Argument::size(width)?,
                Argument::size(half)?,
            ];
            let grid = (width.div_ceil(256) as u32, rows as u32);
            queue.launch(&DECODING, "begin_step", (grid, (256, 1)), &arguments)?;
        }
        Ok((out, Shape::from(n)))
    }
}

/// Like the caches, the state is written where it lies.
pub(super) fn end(steps: &StepState, logits: &Tensor) -> Result<()> {
    let (rows, vocabulary) = logits.dims2()?;
    let held = [logits, &steps.counts, &steps.tokens].map(Held::new);
    let queue = Queue::of(held[0].storage()?);
    let bytes = Queue::of(held[0].storage()?).with_type(DType::U8);
    let words = Queue::of(held[0].storage()?).with_type(DType::U32);
    let logits = held[0].operand(&queue)?;
    let (counts, tokens) = (held[1].operand(&words)?, held[2].operand(&words)?);
    let ended = |best, noted| {
        let arguments = [
            best,
            noted,
            tokens.at(),
            counts.at(),
            Argument::size(rows)?,
            Argument::size(vocabulary)?,
        ];
        let threads = rows.next_multiple_of(32) as u32;
        queue.launch(&DECODING, "end_step", ((1, 1), (threads, 1)), &arguments)
    };
    let Choice::Greedy(greedy) = &steps.choice else {
        return ended(Argument::At(0), Argument::At(0));
    };
    let (noted, best) = (Held::new(&greedy.noted), Held::new(&greedy.best));
    let (noted, best) = (noted.operand(&bytes)?, best.operand(&words)?);
    let arguments = [
        logits.at(),
        noted.at(),
        counts.at(),
        best.at(),
        Argument::size(vocabulary)?,
        Argument::Float(greedy.rules.penalty),
        Argument::size(greedy.rules.least)?,
    ];
    let grid = (vocabulary.div_ceil(4 * 256).clamp(1, 256) as u32, rows as u32);
    queue.launch(&DECODING, "likeliest", (grid, (256, 1)), &arguments)?;
    ended(best.at(), noted.at())
}
