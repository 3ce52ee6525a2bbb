use candle_core::{CpuStorage, CudaStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};

use crate::cuda::launch::{self, Argument, Held, Queue, ROTARY};
use crate::ops::attention::ragged::CachedSequence;
use crate::ops::attention::ragged::cuda::{self, described, held, launches, of_launch};

pub(super) fn takes(x: &Tensor, sequences: &[CachedSequence<'_>], cos: &Tensor) -> bool {
    // Of a projection the rows are as wide as those of the caches.
    let typed = sequences[0].keys.dtype() == x.dtype() && cos.dtype() == x.dtype();
    typed && x.elem_count() > 0 && cuda::takes(sequences[0].keys, sequences)
}

/// By `place` of `cu/rotary.cu`. Like candle's `slice_set` it writes to memory that others may hold.
pub(super) fn place(
    product: &Tensor,
    bias: Option<&Tensor>,
    (cos, sin): (&Tensor, &Tensor),
    sequences: &[CachedSequence<'_>],
    cached: Option<&Tensor>,
) -> Result<Tensor> {
    let (_, n, width) = product.dims3()?;
    let d = sequences[0].keys.dims()[3];
    if cos.elem_count() != n * d / 2 || sin.elem_count() != n * d / 2 {
        candle_core::bail!("{n} keys of {d} by tables {:?}", cos.shape())
    }
    if bias.is_some_and(|bias| bias.dims() != [width]) {
        candle_core::bail!(
            "linear_rotated: a bias {:?} for {width} outputs",
            bias.map(Tensor::shape)
        )
    }
    let op = Place {
        bias: bias.map(Tensor::contiguous).transpose()?,
        tables: [cos.contiguous()?, sin.contiguous()?],
        sequences,
        cached,
    };
    product.apply_op1_no_bwd(&op)?.transpose(1, 2)
}

struct Place<'a, 'b> {
    bias: Option<Tensor>,
    tables: [Tensor; 2],
    sequences: &'b [CachedSequence<'a>],
    cached: Option<&'b Tensor>,
}

impl CustomOp1 for Place<'_, '_> {
    fn name(&self) -> &'static str {
        "linear_rotated"
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        candle_core::bail!("the CPU turns queries and keys apart")
    }

    /// (1, N, (H + 2 Hkv) d) to (1, N, H, d).
    fn cuda_fwd(&self, product: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (_, n, width) = layout.shape().dims3()?;
        let (_, kv_heads, _, d) = self.sequences[0].keys.dims4()?;
        let heads = width / d - 2 * kv_heads;
        let queue = Queue::of(product);
        let mut out = queue.output(n * heads * d)?;
        {
            let (from, to) = (queue.reads(product, layout)?, queue.writes(&mut out)?);
            let (bias, tables) = (
                self.bias.as_ref().map(Held::new),
                self.tables.each_ref().map(Held::new),
            );
            let bias = launch::optional(bias.as_ref(), &queue)?;
            let (cos, sin) = (tables[0].operand(&queue)?, tables[1].operand(&queue)?);
            let (words, counted) = (
                Queue::of(product).with_type(DType::U32),
                self.cached.map(Held::new),
            );
            let counted = launch::optional(counted.as_ref(), &words)?;
            for (i, (first, chunk)) in launches(self.sequences).enumerate() {
                let caches = held(chunk);
                let (all, _) = described(&queue, chunk, &caches, first)?;
                let most = chunk.iter().map(|s| s.new).max().unwrap_or(0);
                let blocks = (most * width / 2).div_ceil(256).clamp(1, 1 << 16) as u32;
                let arguments = [
                    from.at(),
                    launch::at(bias.as_ref()),
                    to.at(),
                    cos.at(),
                    sin.at(),
                    Argument::Sequences(&all),
                    of_launch(counted.as_ref(), i),
                    Argument::size(heads)?,
                    Argument::size(kv_heads)?,
                    Argument::size(d / 2)?,
                ];
                let grid = ((blocks, chunk.len() as u32), (256, 1));
                queue.launch(&ROTARY, "place", grid, &arguments)?;
            }
        }
        Ok((out, Shape::from((1, n, heads, d))))
    }
}
